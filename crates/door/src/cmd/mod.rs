//! What each command does, a file a family.

pub(crate) mod bits;
pub(crate) mod clients;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod expiry;
pub(crate) mod generic;
pub(crate) mod groups;
pub(crate) mod hashes;
pub(crate) mod hll;
pub(crate) mod incr;
pub(crate) mod info;
pub(crate) mod lists;
pub(crate) mod pops;
pub(crate) mod pubsub;
pub(crate) mod replies;
pub(crate) mod scan;
pub(crate) mod scripts;
pub(crate) mod sets;
pub(crate) mod sort;
pub(crate) mod streams;
pub(crate) mod strings;
pub(crate) mod transaction;
pub(crate) mod zalgebra;
pub(crate) mod zranges;
pub(crate) mod zsets;
