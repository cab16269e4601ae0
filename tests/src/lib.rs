//! The harness of the end-to-end tests: skep's built binary in a home of its own, the runtimes and fixture apps, and
//! the strict client that counts every request that was not answered completely and correctly.
//!
//! It knows skep only from outside, as a user does: the command line, the API on the Unix socket, the ports and the
//! process table. It never sleeps and never asserts on time: it waits for events, for a process or for a socket, with
//! a limit that only a failure reaches.

mod deadline;
mod events;
pub mod http;
mod node_client;
mod notes;
mod ports;
pub mod process;
mod readiness;
mod service;
mod skep;
mod store;
pub mod strict;
mod tools;
mod view;

pub use deadline::{Deadline, LIMIT};
pub use events::Events;
pub use node_client::NodeClient;
pub use notes::Notes;
pub use ports::{Port, is_free};
pub use readiness::Readiness;
pub use service::Service;
pub use skep::{Outcome, Skep, Start, finish};
pub use store::SharedStore;
pub use tools::{Node, fixture, fixtures, node, nodes, root, skep_binary, tool};
pub use view::{App, Daemon, Event, Listener, Slot};

/// Tests on each supported Node, with the Node's number in their names.
#[macro_export]
macro_rules! on_each_node {
    ($($name:ident => $check:expr;)*) => {$(
        mod $name {
            use super::*;
            #[test]
            fn on_node_18() { $check(&$crate::node(18)); }
            #[test]
            fn on_node_20() { $check(&$crate::node(20)); }
            #[test]
            fn on_node_22() { $check(&$crate::node(22)); }
            #[test]
            fn on_node_24() { $check(&$crate::node(24)); }
            #[test]
            fn on_node_26() { $check(&$crate::node(26)); }
        }
    )*};
}
