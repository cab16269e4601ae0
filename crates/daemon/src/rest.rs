//! Rest: the code that only work needs leaves the memory when there is none.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

/// Without work for so long, the daemon rests. Long enough that a script of commands pays for it once.
const QUIET: Duration = Duration::from_secs(2);

/// Whether there is work.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Pieces of work so far.
    done: Cell<u64>,
    awake: Notify,
}

impl Rest {
    /// There is work: a client, or news of the fleet. Traffic and lines of logs are no work in this sense: they go on for
    /// as long as a service does, by few pages of code.
    pub(crate) fn disturb(&self) {
        self.done.set(self.done.get().wrapping_add(1));
        self.awake.notify_one();
    }
}

/// Lets go of code each time that there is nothing more to do; never wakes up while there is nothing at all.
pub(crate) async fn serve(rest: Rc<Rest>) {
    loop {
        rest.awake.notified().await;
        loop {
            let before = rest.done.get();
            tokio::time::sleep(QUIET).await;
            if rest.done.get() == before {
                break;
            }
        }
        // Without /proc the code stays, and that is all.
        let _ = skep_sys::code::let_go();
    }
}
