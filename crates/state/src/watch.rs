//! Whoever looks at the store for a change (`skep state watch`) is told of the next one instead of looking again and again.
//!
//! A flag in the control page says that somebody looks. Whoever has changed something takes the flag down and wakes the
//! supervisor, which has the lookers look once more: the flag goes up *before* the look, so that a change is either in
//! what they see or finds the flag up. While nobody looks, and between two looks, a change costs one load.
//!
//! Not promised, so that a looker has to look a second time soon after a change, and every few seconds in any case:
//! - that everybody tells: a process of an older version does not know the flag, and one may be killed just before;
//! - that a counter's change by JavaScript and its load of the flag come in this order on every processor: a fence would
//!   cost more than the counting.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use crate::engine::Engine;
use crate::wake::Urgency;
use crate::workers::SUPERVISOR_SLOT;

const NOBODY: u32 = 0;
const SOMEBODY: u32 = 1;

/// The next change will be told. All changes before this are seen by whoever looks afterwards.
pub(crate) fn raise(engine: &Engine) {
    let header = engine.control.header();
    header.watched.swap(SOMEBODY, SeqCst);
    // A writer counts its write before it loads the flag: who found the flag down is counted here.
    header.stats.writes.load(SeqCst);
}

/// Nobody looks any more.
pub(crate) fn lower(flag: &AtomicU32) {
    flag.store(NOBODY, SeqCst);
}

/// Something has changed, and is visible to everybody.
pub(crate) fn tell(engine: &Engine) {
    if engine.control.header().watched.load(SeqCst) != NOBODY {
        wake(engine);
    }
}

#[cold]
fn wake(engine: &Engine) {
    if engine.control.header().watched.swap(NOBODY, SeqCst) != NOBODY {
        // `Always`: a waker before may have died between its flag and its byte. One raising costs one byte at most.
        engine.wakers.wake(&engine.control, SUPERVISOR_SLOT, Urgency::Always);
    }
}
