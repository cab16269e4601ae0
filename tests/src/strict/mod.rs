//! The strict client: HTTP/1.1 written by hand over sockets, because a client library would retry, pool and forgive.
//!
//! A request counts as answered only if its whole response came and is what was expected. Everything else is a
//! [`Failure`] with its kind; also the one race that HTTP/1.1 itself allows (a request written on an idle keep-alive
//! connection at the moment at which the server closes it), because skep promises to avoid even that.

mod body;
mod client;
mod connection;
mod failure;
mod loads;
mod plan;
mod report;
mod response;
mod run;
mod tls;

pub use body::{Expect, pattern};
pub use failure::Failure;
pub use loads::{Counted, Loads, Mark, Named, all_kinds, usual};
pub use plan::{Mode, Plan, Target, Think};
pub use report::Report;
pub use run::{Running, start};
