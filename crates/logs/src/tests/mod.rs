//! Whole-capture tests, by theme, on real pipes and files.

mod crash;
mod follow;
mod framing;
mod full;
mod interference;
mod random;
mod rig;
mod rotation;
