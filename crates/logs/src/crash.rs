//! A fuse for tests: dies at the n-th system call that matters.
//!
//! Every call that moves bytes between a pipe, a file and the journal passes [`point`] first, so a test can stop
//! the program between any two of them, which is all that a SIGKILL can do. Outside of tests it compiles to nothing.

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn point() {}

#[cfg(test)]
pub(crate) use armed::{Died, arm, point};

#[cfg(test)]
mod armed {
    use std::cell::Cell;

    thread_local! { static FUSE: Cell<Option<u32>> = const { Cell::new(None) }; }

    /// The panic payload of a burnt fuse.
    #[derive(Debug)]
    pub(crate) struct Died;

    /// Lets `calls` calls pass and dies at the next; `None` disarms. Answers what was left.
    pub(crate) fn arm(calls: Option<u32>) -> Option<u32> {
        FUSE.with(|fuse| fuse.replace(calls))
    }

    pub(crate) fn point() {
        let dead = FUSE.with(|fuse| match fuse.get() {
            None => false,
            Some(0) => true,
            Some(left) => {
                fuse.set(Some(left - 1));
                false
            }
        });
        if dead {
            arm(None);
            std::panic::resume_unwind(Box::new(Died));
        }
    }
}
