//! Locks, queues and figures of the store, for `skep state locks`, `queues` and `stats`.

use std::collections::BTreeMap;

use skep_api::{ErrorBody, StateHolder, StateLock, StateQueue, StateStats};
use skep_core::WorkerId;
use skep_state::{LockMode, Owner, Store, WallMs};

use super::{Stores, failure};
use crate::driver::Driver;

/// What workers are called: `web:0`, by their numbers.
pub(crate) type Names = BTreeMap<u32, String>;

impl Driver {
    /// What the workers are called.
    pub(crate) fn worker_names(&self) -> Names {
        let name = |(id, worker): (&WorkerId, &crate::worker::Worker)| {
            (id.0, format!("{}:{}", worker.spec.name, worker.identity.index))
        };
        self.workers.iter().map(name).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Locks that are held or waited for.
pub(crate) fn locks(store: &Store, names: &Names, now: WallMs) -> Result<Vec<StateLock>, ErrorBody> {
    let attached = store.stats().workers;
    let one = |owner: Owner, mode: LockMode, since: WallMs, token: Option<u64>| {
        let process = attached.iter().find(|worker| worker.owner == owner).map(|worker| worker.pid);
        StateHolder {
            worker: owner.id,
            app: names.get(&owner.id).cloned(),
            pid: process,
            shared: mode == LockMode::Shared,
            since_unix_ms: since.0,
            token,
        }
    };
    let locks = store.locks(now).map_err(failure)?;
    Ok(locks
        .iter()
        .map(|lock| StateLock {
            name: text(&lock.name),
            held: lock.holders.iter().map(|h| one(h.owner, h.mode, h.since, Some(h.token))).collect(),
            waiting: lock.waiters.iter().map(|w| one(w.owner, w.mode, w.since, None)).collect(),
        })
        .collect())
}

/// Queues.
pub(crate) fn queues(store: &Store, now: WallMs) -> Result<Vec<StateQueue>, ErrorBody> {
    let queues = store.queues(now).map_err(failure)?;
    let view = |queue: &skep_state::QueueView| StateQueue {
        name: text(&queue.name),
        ready: queue.ready,
        delayed: queue.delayed,
        active: queue.active,
        dead: queue.dead,
        paused: queue.paused,
        durable: false,
    };
    Ok(queues.iter().map(view).collect())
}

/// Figures of both stores.
pub(crate) fn stats(stores: &Stores) -> StateStats {
    let durable = stores.durable.as_ref().map(|store| Box::new(stats_of(store)));
    StateStats { durable, ..stats_of(&stores.memory) }
}

fn stats_of(store: &Store) -> StateStats {
    let stats = store.stats();
    StateStats {
        dir: store.dir().display().to_string(),
        data_bytes: stats.data_bytes,
        data_bytes_max: stats.data_bytes_max,
        used_bytes: stats.used_bytes,
        rows: stats.rows,
        counters: stats.counters,
        writes: stats.writes,
        waits: stats.waits,
        wait_us: stats.wait_us,
        wait_us_max: stats.wait_us_max,
        owner_deaths: stats.owner_deaths,
        growths: stats.growths,
        grants: stats.grants,
        messages: stats.messages,
        wakes: stats.wakes,
        attached: u32::try_from(stats.workers.len()).unwrap_or(u32::MAX),
        durable: None,
    }
}
