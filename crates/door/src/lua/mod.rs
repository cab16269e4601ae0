//! Scripts: Lua 5.1 as Redis embeds it, without what reaches outside.

mod bits;
mod convert;
mod json;
mod json_read;
mod machine;
mod pack;
mod sandbox;

pub(crate) use machine::{Scripts, sha1_hex};
