//! Starting a program without surprises: everything that can allocate or fail softly happens before the fork;
//! the child only makes system calls; a failure before `exec` comes back as a stage and an errno.

mod stage;

pub use stage::Stage;
