//! Which worker gets the next connection, where the primary accepts (`balance: ipc`).
//!
//! Pure: connections and workers are numbers. Unlike Node's own primary, which waits for each worker's answer and thereby
//! gives to "the first idle one", up to [`WINDOW`] connections are on their way to a worker at once: measured 1.4 times
//! the connections a second at two thirds of the CPU time.

use std::collections::{BTreeMap, VecDeque};

use crate::session::{ConnId, Why};

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
        // A server that was closed and opened again: what was sent before is still to be answered.
        let in_flight = self.sent.values().filter(|(to, _)| *to == worker).count();
        let fresh = Worker { weight, credit: 0, in_flight, open: 0 };
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

    /// The worker did not take it. A returned connection goes before those that arrived later. A worker that is gone
    /// has refused nothing; call [`Dispatcher::leave`] for it too, in any order.
    pub fn returned(&mut self, conn: ConnId, why: Why) -> Verdict {
        let Some((worker, mut refused)) = self.sent.remove(&conn) else { return Verdict::Again };
        if let Some(known) = self.workers.get_mut(&worker) {
            known.in_flight -= 1;
        }
        match why {
            Why::Refused | Why::NoDescriptor => refused.push(worker),
            Why::Gone => {}
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Who gets `count` connections that are all accepted at once.
    fn served(dispatcher: &mut Dispatcher, count: u64) -> Vec<u32> {
        let assigned = (0..count).map(|number| {
            dispatcher.arrived(ConnId(number));
            let next = dispatcher.next_assignment().expect("a worker has room");
            dispatcher.accepted(next.conn);
            next.worker
        });
        assigned.collect()
    }

    #[test]
    fn round_robin_is_exact_and_smooth_by_weight() {
        let mut dispatcher = Dispatcher::new(Policy::RoundRobin);
        for (worker, weight) in [(1, 5), (2, 1), (3, 1)] {
            dispatcher.join(worker, weight);
        }
        // nginx's own example of the algorithm.
        assert_eq!(served(&mut dispatcher, 7), [1, 1, 2, 1, 3, 1, 1]);
        assert_eq!(served(&mut dispatcher, 7), [1, 1, 2, 1, 3, 1, 1]);
    }

    #[test]
    fn least_connections_fills_the_emptiest_worker_first() {
        let mut dispatcher = Dispatcher::new(Policy::LeastConnections);
        dispatcher.join(1, 1);
        dispatcher.join(2, 1);
        dispatcher.set_open(1, 3);
        assert_eq!(served(&mut dispatcher, 3), [2, 2, 2]);
        let mut after = served(&mut dispatcher, 2);
        after.sort_unstable();
        assert_eq!(after, [1, 2]);
    }

    #[test]
    fn no_worker_gets_more_than_its_window_and_the_rest_waits() {
        let mut dispatcher = Dispatcher::new(Policy::RoundRobin);
        dispatcher.join(1, 1);
        for number in 0..WINDOW as u64 + 2 {
            dispatcher.arrived(ConnId(number));
        }
        let sent = std::iter::from_fn(|| dispatcher.next_assignment()).count();
        assert_eq!((sent, dispatcher.waiting()), (WINDOW, 2));
        dispatcher.accepted(ConnId(0));
        let next = Assignment { conn: ConnId(WINDOW as u64), worker: 1 };
        assert_eq!(dispatcher.next_assignment(), Some(next));
    }

    #[test]
    fn a_refused_connection_goes_to_each_other_worker_once_and_is_then_closed() {
        let mut dispatcher = Dispatcher::new(Policy::RoundRobin);
        dispatcher.join(1, 1);
        dispatcher.join(2, 1);
        dispatcher.arrived(ConnId(7));
        assert_eq!(dispatcher.next_assignment().map(|next| next.worker), Some(1));
        assert_eq!(dispatcher.returned(ConnId(7), Why::Refused), Verdict::Again);
        assert_eq!(dispatcher.next_assignment().map(|next| next.worker), Some(2));
        assert_eq!(dispatcher.returned(ConnId(7), Why::Refused), Verdict::Close);
    }

    #[test]
    fn without_workers_connections_wait_for_one() {
        let mut dispatcher = Dispatcher::new(Policy::RoundRobin);
        dispatcher.join(1, 1);
        dispatcher.arrived(ConnId(1));
        dispatcher.next_assignment().expect("worker 1");
        dispatcher.leave(1);
        assert_eq!(dispatcher.returned(ConnId(1), Why::Gone), Verdict::Again);
        assert_eq!(dispatcher.next_assignment(), None);
        dispatcher.join(2, 1);
        assert_eq!(dispatcher.next_assignment(), Some(Assignment { conn: ConnId(1), worker: 2 }));
    }

    proptest! {
        #[test]
        fn a_connection_is_at_one_place_at_a_time(steps in prop::collection::vec((0u8..6, 1u32..5), 0..200)) {
            let mut dispatcher = Dispatcher::new(Policy::RoundRobin);
            let (mut arrived, mut done) = (0u64, 0usize);
            let mut flying: Vec<Assignment> = Vec::new();
            for (step, worker) in steps {
                match step {
                    0 => {
                        dispatcher.arrived(ConnId(arrived));
                        arrived += 1;
                    }
                    1 => dispatcher.join(worker, worker),
                    2 => dispatcher.leave(worker),
                    3 => flying.extend(dispatcher.next_assignment()),
                    4 if !flying.is_empty() => {
                        dispatcher.accepted(flying.remove(0).conn);
                        done += 1;
                    }
                    5 if !flying.is_empty() => {
                        done += usize::from(dispatcher.returned(flying.remove(0).conn, Why::Refused) == Verdict::Close);
                    }
                    _ => {}
                }
                prop_assert_eq!(arrived, (dispatcher.waiting() + flying.len() + done) as u64);
                for worker in 1..5 {
                    prop_assert!(flying.iter().filter(|one| one.worker == worker).count() <= 2 * WINDOW);
                }
            }
        }
    }
}
