//! Which worker gets the next connection, where the primary accepts (`balance: ipc`).
//!
//! Pure: connections and workers are numbers. Unlike Node's own primary, which waits for each worker's answer and thereby
//! gives to "the first idle one", up to [`WINDOW`] connections are on their way to a worker at once: measured 1.4 times
//! the connections a second at two thirds of the CPU time.

use std::collections::{BTreeMap, VecDeque};

use crate::session::ConnId;

/// Connections that may be on their way to one worker. 16 gave 10,289 short connections a second beside 8,573 with 4
/// and 8,159 with 1; more only moves the queue from the primary to the worker's channel.
pub const WINDOW: usize = 16;

/// Connections that wait for a worker, after which [`Dispatcher::wants_more`] says to stop accepting. The kernel's
/// queue, 511 by default, holds the rest.
pub const WAITING_MAX: usize = 512;

/// How to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Smooth weighted round robin (nginx's): exact, and interleaved as evenly as the weights allow.
    #[default]
    RoundRobin,
    /// The fewest open connections in proportion to the weight; needs [`Dispatcher::set_open`].
    LeastConnections,
}

/// A connection and its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// Which connection.
    pub conn: ConnId,
    /// To which worker.
    pub worker: u32,
}

/// What becomes of a connection that a worker gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It waits for another worker.
    Again,
    /// Every worker has refused it: close it, as a single process with `maxConnections` reached would.
    Close,
}

#[derive(Debug, Clone)]
struct Worker {
    weight: u32,
    /// nginx's `current_weight`.
    credit: i64,
    in_flight: usize,
    open: u64,
}

#[derive(Debug, Clone)]
struct Conn {
    id: ConnId,
    /// Workers that refused it.
    refused: Vec<u32>,
}

/// The choice for one server (key) of an app.
#[derive(Debug, Clone, Default)]
pub struct Dispatcher {
    policy: Policy,
    workers: BTreeMap<u32, Worker>,
    waiting: VecDeque<Conn>,
    /// On their way, by number.
    sent: BTreeMap<ConnId, (u32, Vec<u32>)>,
}

impl Dispatcher {
    /// Without workers; connections wait.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// A worker can take connections. `weight` 0 counts as 1.
    pub fn join(&mut self, worker: u32, weight: u32) {
        let weight = weight.max(1);
        let fresh = Worker { weight, credit: 0, in_flight: 0, open: 0 };
        self.workers.entry(worker).and_modify(|known| known.weight = weight).or_insert(fresh);
    }

    /// A worker takes no more: drained, or gone. What it had accepted stays with it; connections on their way come back
    /// one by one through [`Dispatcher::returned`].
    pub fn leave(&mut self, worker: u32) {
        self.workers.remove(&worker);
    }

    /// The worker's number of open connections, as last measured.
    pub fn set_open(&mut self, worker: u32, open: u64) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.open = open;
        }
    }

    /// A connection was accepted from the kernel.
    pub fn arrived(&mut self, conn: ConnId) {
        self.waiting.push_back(Conn { id: conn, refused: Vec::new() });
    }

    /// False when enough connections wait here.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// Connections that wait for a worker.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next connection to send, if a worker has room.
    pub fn next_assignment(&mut self) -> Option<Assignment> {
        let (at, worker) =
            self.waiting.iter().enumerate().find_map(|(at, conn)| Some((at, self.choose(&conn.refused)?)))?;
        let conn = self.waiting.remove(at).expect("enumerate() gave its place");
        self.charge(worker, &conn.refused);
        if let Some(chosen) = self.workers.get_mut(&worker) {
            chosen.in_flight += 1;
        }
        self.sent.insert(conn.id, (worker, conn.refused));
        Some(Assignment { conn: conn.id, worker })
    }

    /// The worker took it.
    pub fn accepted(&mut self, conn: ConnId) {
        let Some((worker, _)) = self.sent.remove(&conn) else { return };
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.in_flight -= 1;
            worker.open += 1;
        }
    }

    /// The worker did not take it: refused, out of descriptors, or gone. A returned connection goes before those that
    /// arrived later.
    pub fn returned(&mut self, conn: ConnId) -> Verdict {
        let Some((worker, mut refused)) = self.sent.remove(&conn) else { return Verdict::Again };
        if let Some(known) = self.workers.get_mut(&worker) {
            known.in_flight -= 1;
            refused.push(worker);
        }
        if !self.workers.is_empty() && self.workers.keys().all(|worker| refused.contains(worker)) {
            return Verdict::Close;
        }
        self.waiting.push_front(Conn { id: conn, refused });
        Verdict::Again
    }

    fn eligible<'a>(&'a self, refused: &'a [u32]) -> impl Iterator<Item = (u32, &'a Worker)> + 'a {
        let eligible =
            self.workers.iter().filter(|(id, worker)| worker.in_flight < WINDOW && !refused.contains(id));
        eligible.map(|(id, worker)| (*id, worker))
    }

    fn choose(&self, refused: &[u32]) -> Option<u32> {
        match self.policy {
            Policy::RoundRobin => {
                let credits =
                    self.eligible(refused).map(|(id, worker)| (worker.credit + i64::from(worker.weight), id));
                credits.max_by_key(|(credit, id)| (*credit, std::cmp::Reverse(*id))).map(|(_, id)| id)
            }
            Policy::LeastConnections => {
                let loads = self.eligible(refused).map(|(id, worker)| {
                    let load = (worker.open + worker.in_flight as u64) * 1_000 / u64::from(worker.weight);
                    (load, -worker.credit - i64::from(worker.weight), id)
                });
                loads.min().map(|(_, _, id)| id)
            }
        }
    }

    /// nginx's bookkeeping: everyone who could have been chosen earns its weight, the chosen pays the sum.
    fn charge(&mut self, chosen: u32, refused: &[u32]) {
        let mut total = 0;
        for (id, worker) in &mut self.workers {
            if worker.in_flight < WINDOW && !refused.contains(id) {
                worker.credit += i64::from(worker.weight);
                total += i64::from(worker.weight);
            }
        }
        if let Some(worker) = self.workers.get_mut(&chosen) {
            worker.credit -= total;
        }
    }
}
