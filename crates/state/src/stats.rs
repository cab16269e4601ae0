//! Figures for `skep state stats` and metrics.

use std::sync::atomic::Ordering::Relaxed;

use crate::engine::Engine;
use crate::{Owner, WallMs};

/// How large the store is and what has happened in it since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of the data file.
    pub data_bytes: u64,
    /// Bytes that it may have.
    pub data_bytes_max: u64,
    /// Bytes of it that were ever used (freed pages are used again).
    pub used_bytes: u64,
    /// Rows of all kinds.
    pub rows: u64,
    /// Committed write transactions.
    pub writes: u64,
    /// Writers that had to sleep for another.
    pub waits: u64,
    /// Their waiting, in microseconds, added up.
    pub wait_us: u64,
    /// The longest of it, in microseconds.
    pub wait_us_max: u64,
    /// Writers killed while they held the writer's lock.
    pub owner_deaths: u64,
    /// Times that the file grew.
    pub growths: u64,
    /// Locks granted.
    pub grants: u64,
    /// Channel messages.
    pub messages: u64,
    /// Bytes of them that not everybody has read.
    pub channel_bytes: u64,
    /// Wake-ups sent between processes.
    pub wakes: u64,
    /// Counters in use.
    pub counters: u32,
    /// Processes attached.
    pub workers: Vec<WorkerView>,
}

/// An attached process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerView {
    /// Who.
    pub owner: Owner,
    /// Its process.
    pub pid: u32,
    /// Since when.
    pub since: WallMs,
}

pub(crate) fn read(engine: &Engine) -> Stats {
    // What fails here fails whoever reads, and says so there. Of others' what was committed is enough.
    let _ = engine.end_group();
    let header = engine.control.header();
    let totals = &header.stats;
    let stat = engine.env().unnamed_database_stat();
    let slots = engine.control.slots_used().iter().skip(1);
    let attached = slots.filter(|slot| slot.owner.load(Relaxed) != 0);
    Stats {
        data_bytes: header.data_bytes.load(Relaxed),
        data_bytes_max: header.data_bytes_max.load(Relaxed),
        used_bytes: engine.used_bytes(),
        rows: stat.entries as u64,
        writes: totals.writes.load(Relaxed),
        waits: totals.waits.load(Relaxed),
        wait_us: totals.wait_us.load(Relaxed),
        wait_us_max: totals.wait_us_max.load(Relaxed),
        owner_deaths: totals.owner_deaths.load(Relaxed),
        growths: totals.growths.load(Relaxed),
        grants: totals.grants.load(Relaxed),
        messages: totals.messages.load(Relaxed),
        channel_bytes: header.channel_bytes.load(Relaxed),
        wakes: totals.wakes.load(Relaxed),
        counters: header.counters_used.load(Relaxed),
        workers: attached
            .map(|slot| WorkerView {
                owner: Owner::from_number(slot.owner.load(Relaxed)),
                pid: slot.pid.load(Relaxed),
                since: WallMs(slot.joined_ms.load(Relaxed)),
            })
            .collect(),
    }
}
