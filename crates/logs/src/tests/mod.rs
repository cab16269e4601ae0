//! Whole-capture tests, by theme, on real pipes and files.

mod crash;
mod framing;
mod rig;
