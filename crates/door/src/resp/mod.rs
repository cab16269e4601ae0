//! The Redis protocol, without sockets: bytes to commands, answers to bytes.

mod inline;
mod reply;
mod request;

pub(crate) use reply::Reply;
pub(crate) use request::{Bounds, Garbage, Request};
