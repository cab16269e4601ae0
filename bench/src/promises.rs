//! What skep promises in figures. The table of SPECIFICATION.md is written from it; a test keeps the two the same.

use serde::Serialize;

/// Which way a promise goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Limit::AtMost(limit) => value <= limit,
            Limit::AtLeast(limit) => value >= limit,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::AtMost(0.0) => f.write_str("exactly 0"),
            Limit::AtMost(limit) => write!(f, "at most {limit}"),
            Limit::AtLeast(limit) => write!(f, "at least {limit}"),
        }
    }
}

/// One promise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    /// `<benchmark>.<figure>`.
    pub(crate) key: &'static str,
    /// What is measured, with its unit.
    pub(crate) what: &'static str,
    /// The peer, where it is a ratio or a comparison.
    pub(crate) beside: &'static str,
    pub(crate) limit: Limit,
}

impl Promise {
    /// The benchmark that measures it.
    pub(crate) fn bench(&self) -> &'static str {
        self.key.split('.').next().unwrap_or(self.key)
    }
}

/// A promise without a peer.
const ALONE: &str = "–";

const fn most(key: &'static str, what: &'static str, beside: &'static str, limit: f64) -> Promise {
    Promise { key, what, beside, limit: Limit::AtMost(limit) }
}

const fn least(key: &'static str, what: &'static str, beside: &'static str, limit: f64) -> Promise {
    Promise { key, what, beside, limit: Limit::AtLeast(limit) }
}

/// All of them, by benchmark.
#[rustfmt::skip]
pub(crate) const PROMISES: &[Promise] = &[
    most("footprint.empty", "MB of memory (PSS) of keeper and daemon together, no app, at rest", ALONE, 6.0),
    most("footprint.worker", "KB of memory more for each worker, 200 workers", ALONE, 30.0),
    most("footprint.wakes", "wake-ups a second at rest", ALONE, 1.0),
    most("commands.cold", "first command, which starts the daemon: its wall time", "PM2 7", 0.1),
    most("commands.list", "`list`: its wall time", "PM2 7", 0.025),
    most("commands.start", "the first `start --no-wait` of a home (PM2's `start` does not wait either): its wall time", "PM2 7", 0.025),
    most("heal.spawn", "ms from a worker's death until its successor is spawned", ALONE, 2.0),
    most("crowd.seconds", "200 Node.js apps by one command: seconds until all of them run", "PM2 7", 0.5),
    most("crowd.peak", "200 apps: the supervisor's peak memory", "PM2 7", 0.4),
    most("drops.back", "ms from the daemon's SIGKILL until the next one answers", ALONE, 50.0),
    most("drops.reload", "requests that fail in a reload", "PM2 7, Node's cluster", 0.0),
    most("drops.scale", "requests that fail in scaling up and down", "PM2 7, Node's cluster", 0.0),
    most("drops.worker", "connections refused when a worker is SIGKILLed", "PM2 7, Node's cluster", 0.0),
    most("drops.daemon", "requests that fail when the daemon is SIGKILLed", "PM2 7, Node's cluster", 0.0),
    most("drops.stopped", "requests that fail while the daemon is stopped for a minute (SIGSTOP)", "PM2 7, Node's cluster", 0.0),
    most("drops.keeper", "requests that fail when the keeper is SIGKILLed", ALONE, 0.0),
    most("drops.upgrade", "requests that fail in an upgrade", "PM2 7", 0.0),
    most("reloads.failed", "requests that fail in rolling reloads: 5 kinds of apps, Node 18 to 26, 3 balances, every kind of request", ALONE, 0.0),
    most("reloads.reconnects", "keep-alive clients of plain HTTP that must connect again meanwhile", ALONE, 0.0),
    least("reloads.ready", "workers ready at any time meanwhile, of 2", ALONE, 2.0),
    least("throughput.short", "short connections a second, 2 workers", "Node's cluster", 1.8),
    most("throughput.cpu", "CPU a request, short connections", "Node's cluster", 0.45),
    least("throughput.keepalive", "keep-alive requests a second", "workers that bind the port themselves", 0.97),
    most("vitals.cpu", "CPU a request of a worker that is asked each second how it is", "one that nobody asks", 1.01),
    least("vitals.speed", "keep-alive requests a second of it", "one that nobody asks", 0.99),
    most("blocked.p999", "p99.9 of the others while one of four workers is blocked", "Node's cluster", 0.1),
    most("pool.p99", "ms p99 of `/` while 8 computations run in the pool, 2 workers", ALONE, 50.0),
    most("balance.10", "busiest worker over the mean, 10 long connections over 4", ALONE, 1.2),
    most("balance.100", "the same of 100", ALONE, 1.02),
    most("balance.1000", "the same of 1000", ALONE, 1.01),
    most("logs.lost", "bytes lost of 1,000,000 lines of 100 bytes, of a line of 10 MB and of a torrent", "PM2 7, `cat >file`", 0.0),
    most("once.calls", "upstream calls a round, 8 workers asking for one token at once, 1000 rounds", "Redis SETNX, redlock", 1.0),
    least("state.add", "`counter.add` a second, times", "Redis 7, ioredis over TCP", 1000.0),
    least("state.get", "`map.getSync` of 100 bytes a second, times", "Redis 7, ioredis over TCP", 40.0),
    least("state.set", "`map.setSync` of 100 bytes a second, times", "Redis 7, ioredis over TCP", 40.0),
    least("state.lock", "uncontended lock and unlock a second, times", "Redis 7, ioredis over TCP", 20.0),
    least("state.board", "`leaderboard.add` at 100,000 members a second, times", "Redis 7, ioredis over TCP", 20.0),
    most("state.message", "p50 of a channel message to another worker", "Redis 7 pub/sub, ioredis over TCP", 0.334),
    most("state.handover", "ms from a lock owner's SIGKILL to the next one's callback (p50)", ALONE, 10.0),
    most("state.late", "ms of a turn of the event loop (p99) at 10,000 contended acquisitions", ALONE, 1.0),
    most("state.memory", "memory of a million small keys", "Redis 7", 1.5),
    least("door.set", "the Redis door: SET a second, same client (`redis-benchmark`), Unix socket", "Redis 7", 1.0),
    least("door.get", "the same: GET", "Redis 7", 1.0),
    least("door.incr", "the same: INCR", "Redis 7", 1.0),
    least("door.set16", "the same: SET, 16 at once", "Redis 7", 1.0),
    least("door.get16", "the same: GET, 16 at once", "Redis 7", 1.0),
    least("door.suite", "the same: mean of the 16 usual tests of `redis-benchmark`", "Redis 7", 1.0),
    least("door.suite16", "the same, 16 at once", "Redis 7", 1.0),
    least("door.random16", "the same, 16 at once, of 100,000 keys by chance: mean of six tests", "Redis 7", 1.0),
    most("door.memory", "the door's memory of a million small keys", "Redis 7", 1.5),
];

/// A promise by its key.
///
/// # Panics
/// When there is none: a benchmark and this table disagree.
pub(crate) fn promise(key: &str) -> &'static Promise {
    let found = PROMISES.iter().find(|promise| promise.key == key);
    found.unwrap_or_else(|| panic!("there is no promise {key:?} in bench/src/promises.rs"))
}
