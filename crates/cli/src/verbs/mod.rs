//! One module a verb.

pub(crate) mod act;
pub(crate) mod completions;
pub(crate) mod daemon;
pub(crate) mod describe;
pub(crate) mod docs;
pub(crate) mod dump;
pub(crate) mod env;
pub(crate) mod events;
pub(crate) mod ids;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod openapi;
pub(crate) mod parity;
pub(crate) mod resurrect;
pub(crate) mod run;
pub(crate) mod scale;
pub(crate) mod settings;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod upgrade;
