//! Copies to the disk, where `skep state config save=30s` asks for them: written beside the loop, only when something
//! has changed, whole or not at all.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use skep_state::Store;

use super::{config, wall};
use crate::driver::{Driver, Shared};

/// What a store held when it was last copied: the number of its writes, and all counters (which write nothing).
type Seen = (u64, Vec<i64>);

fn seen(store: &Store) -> Seen {
    let used = store.counters(wall()).unwrap_or_default();
    (store.stats().writes, used.iter().map(|counter| counter.value).collect())
}

/// Begins a new store with the last copy, if there is one.
pub(super) fn load(store: &Store, home: &Path) {
    let file = config::copy(home);
    if !file.exists() {
        return;
    }
    match store.restore(&file, wall()) {
        Ok(()) => crate::diary::note(format_args!("the shared state begins with {}", file.display())),
        // It stays where it is, for `skep state restore` once the reason is gone.
        Err(error) => {
            crate::diary::note(format_args!("the shared state begins empty: {error}"));
            let _ = std::fs::rename(&file, file.with_extension("backup.unread"));
        }
    }
}

/// Copies as long as the daemon lives.
pub(super) async fn serve(driver: Shared, store: Store) {
    let mut last: Option<Seen> = None;
    let wake = Rc::clone(&driver.borrow().shared_state.save_wake);
    loop {
        let every = driver.borrow().shared_state.save_ms;
        if every == 0 {
            wake.notified().await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(every)) => {}
            () = wake.notified() => continue,
        }
        let now = seen(&store);
        if last.as_ref() != Some(&now) && copy(&driver, &store).await {
            // The copy itself is a write.
            last = Some(seen(&store)).filter(|after| after.1 == now.1);
        }
    }
}

async fn copy(driver: &Shared, store: &Store) -> bool {
    let (store, file) = (store.clone(), config::copy(&driver.borrow().site.home));
    let written = tokio::task::spawn_blocking(move || store.backup(&file, wall())).await;
    match written {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            crate::diary::note(format_args!("the shared state could not be copied: {error}"));
            false
        }
        Err(_) => false,
    }
}

impl Driver {
    /// The last copy, when skep ends: a reboot may follow.
    pub(crate) fn save_shared_state(&self) {
        if self.shared_state.save_ms == 0 {
            return;
        }
        let Some(supervisor) = &self.shared_state.open else { return };
        if let Err(error) = supervisor.backup(&config::copy(&self.site.home), wall()) {
            crate::diary::note(format_args!("the shared state could not be copied: {error}"));
        }
    }
}
