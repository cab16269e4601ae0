//! The binary itself, as a script sees it: exit codes, streams, and a real daemon with real processes.
//!
//! Nothing here needs Node.js: what is started are shell scripts.

mod alone;
mod life;
mod place;
mod run;
