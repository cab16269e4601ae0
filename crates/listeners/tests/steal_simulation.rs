//! The steal rule against simulated workers that block, with the tails it leaves. No sockets, no clock: a
//! seeded world of events in nanoseconds. `cargo test -p skep-listeners --test steal_simulation -- --nocapture`
//! prints the table of docs/decisions/0002-stealing.md.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use skep_core::Now;
use skep_listeners::steal::{Arm, Observation, Occupant, PlaceId, Power, Rule};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Time of a worker for one request.
const SERVICE: u64 = 200 * US;
/// From a connection's arrival until an idle worker has accepted it.
const WAKE: u64 = 50 * US;
/// From an order until the keeper takes the connection out of its queue.
const KEEPERS_TURN: u64 = 50 * US;
/// From there until it is in the other worker's hands.
const HAND_OVER: u64 = 100 * US;
/// Time of a worker to take a connection that is handed over (measured: 60 us).
const GIVEN: u64 = 60 * US;
/// How long a bad request blocks its worker, and how long until the next one on average.
const BLOCK: u64 = 300 * MS;

/// How the kernel chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// eBPF: in turn, can be steered, counts arrivals.
    Turn,
    /// Classic BPF: at random, can be steered.
    Random,
    /// Kernel's hash: at random, cannot be steered.
    Hash,
    /// eBPF that reads the accept queues: the shortest, among equals in turn.
    Shortest,
    /// One queue for all.
    Shared,
}

#[derive(Debug, Clone, Copy)]
struct World {
    workers: usize,
    choice: Choice,
    rule: bool,
    clients: usize,
    /// Mean time between a client's requests.
    think: u64,
    blocking: bool,
    /// Timers fire on a grid of this: a timerfd is exact, tokio's wheel has steps of a millisecond.
    timer_grid: u64,
    /// From an order until the keeper carries it out, and from there until its answer is heard.
    keepers_turn: u64,
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive {
        client: usize,
    },
    /// The worker is free to take the next connection.
    Free {
        worker: usize,
    },
    /// The keeper takes a connection out of a queue.
    Take {
        from: usize,
        worker: usize,
    },
    /// The rule hears that it did.
    Taken {
        from: usize,
    },
    HandedOver {
        worker: usize,
        request: Request,
    },
    Patrol {
        generation: u64,
    },
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    client: usize,
    since: u64,
    takes: u64,
}

#[derive(Debug, Default)]
struct Worker {
    queue: VecDeque<Request>,
    given: VecDeque<Request>,
    busy: bool,
    arrivals: u64,
    /// Handed over and not yet taken.
    pending: u32,
    /// To be taken out of the queue, or nobody has said yet that it was.
    ordered: u32,
}

#[derive(Debug, Clone, Copy)]
struct Outcome {
    requests: usize,
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
    wakes_per_second: u64,
    moved: usize,
}

struct Sim {
    world: World,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    serial: u64,
    workers: Vec<Worker>,
    rule: Rule,
    avoid: Vec<usize>,
    armed: Arm,
    generation: u64,
    turn: usize,
    random: u64,
    latencies: Vec<u64>,
    wakes: u64,
    moved: usize,
}

impl Sim {
    /// The tail of three worlds, the middle one of each figure: which connections wait behind the blocked worker's, and
    /// so what one in a thousand feels, is chance.
    fn usual(world: World, seconds: u64) -> Outcome {
        let worlds = [1, 2, 3].map(|seed| Sim::run(World { seed, ..world }, seconds));
        let middle = |figure: fn(&Outcome) -> u64| {
            let mut figures = worlds.each_ref().map(figure);
            figures.sort_unstable();
            figures[1]
        };
        Outcome {
            p99: middle(|world| world.p99),
            p999: middle(|world| world.p999),
            wakes_per_second: middle(|world| world.wakes_per_second),
            ..worlds[0]
        }
    }

    fn run(world: World, seconds: u64) -> Outcome {
        let workers = (0..world.workers).map(|_| Worker::default()).collect();
        let mut sim = Self {
            world,
            now: SECOND,
            events: BinaryHeap::new(),
            serial: 0,
            workers,
            rule: Rule::new(Power::Move),
            avoid: Vec::new(),
            armed: if world.rule { Arm::All } else { Arm::Nothing },
            generation: 0,
            turn: 0,
            random: 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(2 * world.seed + 1),
            latencies: Vec::new(),
            wakes: 0,
            moved: 0,
        };
        for client in 0..world.clients {
            sim.at(SECOND + client as u64 * 100 * US, Event::Arrive { client });
        }
        if world.blocking {
            sim.at(SECOND + 50 * MS, Event::Arrive { client: world.clients });
        }
        sim.at((1 + seconds) * SECOND, Event::End);
        while let Some(Reverse((time, _, event))) = sim.events.pop() {
            sim.now = time;
            if event == Event::End {
                break;
            }
            sim.step(event);
        }
        sim.outcome(seconds)
    }

    fn at(&mut self, time: u64, event: Event) {
        self.serial += 1;
        self.events.push(Reverse((time, self.serial, event)));
    }

    fn chance(&mut self) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    /// Exponentially distributed around `mean`.
    fn around(&mut self, mean: u64) -> u64 {
        let uniform = (self.chance() + 1) as f64 / (1u64 << 53) as f64;
        (-(uniform.ln()) * mean as f64) as u64
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Arrive { client } => self.arrive(client),
            Event::Free { worker } => {
                self.workers[worker].busy = false;
                self.take(worker);
            }
            Event::Take { from, worker } => {
                self.at(self.now + self.world.keepers_turn, Event::Taken { from });
                match self.workers[from].queue.pop_front() {
                    Some(request) => {
                        self.moved += 1;
                        self.at(self.now + HAND_OVER, Event::HandedOver { worker, request });
                    }
                    None => self.workers[worker].pending -= 1,
                }
            }
            Event::Taken { from } => self.workers[from].ordered -= 1,
            Event::HandedOver { worker, request } => {
                let request = Request { takes: request.takes + GIVEN, ..request };
                self.workers[worker].given.push_back(request);
                self.take(worker);
            }
            Event::Patrol { generation } if generation == self.generation => self.patrol(),
            Event::Patrol { .. } | Event::End => {}
        }
    }

    fn arrive(&mut self, client: usize) {
        let bad = client == self.world.clients;
        let takes = if bad { BLOCK } else { SERVICE };
        let request = Request { client, since: self.now, takes };
        let to = self.choose();
        self.workers[to].queue.push_back(request);
        self.workers[to].arrivals += 1;
        if self.world.choice == Choice::Shared {
            if let Some(idle) = (0..self.workers.len()).find(|w| !self.workers[*w].busy) {
                self.wake(idle);
            }
        } else {
            self.wake(to);
        }
        let fires = match &self.armed {
            Arm::Nothing => false,
            Arm::All => true,
            Arm::Only(places) => places.contains(&PlaceId(to as u32)),
        };
        if fires {
            self.armed = Arm::Nothing;
            self.generation += 1;
            self.at(self.now + WAKE, Event::Patrol { generation: self.generation });
        }
    }

    fn choose(&mut self) -> usize {
        let n = self.workers.len();
        let open: Vec<usize> = (0..n).filter(|w| !self.avoid.contains(w)).collect();
        let open = if open.is_empty() { (0..n).collect() } else { open };
        self.turn += 1;
        match self.world.choice {
            Choice::Shared => 0,
            Choice::Turn => open[self.turn % open.len()],
            Choice::Random => open[self.chance() as usize % open.len()],
            Choice::Hash => self.chance() as usize % n,
            Choice::Shortest => {
                let start = self.turn % open.len();
                let order = (0..open.len()).map(|i| open[(start + i) % open.len()]);
                order.min_by_key(|w| self.workers[*w].queue.len()).expect("not empty")
            }
        }
    }

    fn wake(&mut self, worker: usize) {
        if !self.workers[worker].busy {
            self.workers[worker].busy = true;
            self.at(self.now + WAKE, Event::Free { worker });
        }
    }

    fn take(&mut self, worker: usize) {
        let from = if self.world.choice == Choice::Shared { 0 } else { worker };
        if self.workers[worker].busy {
            return;
        }
        let given = self.workers[worker].given.pop_front().inspect(|_| self.workers[worker].pending -= 1);
        let next = given.or_else(|| self.workers[from].queue.pop_front());
        let Some(request) = next else { return };
        self.workers[worker].busy = true;
        let done = self.now + request.takes;
        self.at(done, Event::Free { worker });
        let bad = request.client == self.world.clients;
        if !bad {
            self.latencies.push(done - request.since);
        }
        let think = if bad { self.around(BLOCK) } else { self.around(self.world.think) };
        self.at(done + think, Event::Arrive { client: request.client });
    }

    fn patrol(&mut self) {
        self.wakes += 1;
        let seen: Vec<Observation> = (0..self.workers.len())
            .map(|w| Observation {
                place: PlaceId(w as u32),
                occupant: Occupant::Live,
                queue: self.workers[w].queue.len() as u32,
                arrivals: matches!(self.world.choice, Choice::Turn | Choice::Shortest)
                    .then_some(self.workers[w].arrivals),
                pending: self.workers[w].pending,
                ordered: self.workers[w].ordered,
            })
            .collect();
        let orders = self.rule.observe(Now(self.now), &seen);
        if self.world.choice != Choice::Hash {
            self.avoid = orders.avoid.iter().map(|place| place.0 as usize).collect();
        }
        let mut to = orders.to.iter().cycle();
        for (from, at_most) in &orders.steal {
            for _ in 0..*at_most {
                let (from, worker) = (from.0 as usize, to.next().expect("thefts have targets").0 as usize);
                self.workers[from].ordered += 1;
                self.workers[worker].pending += 1;
                self.at(self.now + self.world.keepers_turn, Event::Take { from, worker });
            }
        }
        self.generation += 1;
        let waiting = |place: &PlaceId| !self.workers[place.0 as usize].queue.is_empty();
        let ready = match &orders.again.arm {
            Arm::Nothing => false,
            Arm::All => (0..self.workers.len() as u32).map(PlaceId).any(|place| waiting(&place)),
            Arm::Only(places) => places.iter().any(waiting),
        };
        self.armed = orders.again.arm;
        if ready {
            self.armed = Arm::Nothing;
            self.at(self.now + WAKE, Event::Patrol { generation: self.generation });
        } else if let Some(at) = orders.again.at {
            let at = at.0.max(self.now + US).next_multiple_of(self.world.timer_grid);
            self.at(at + WAKE, Event::Patrol { generation: self.generation });
        }
    }

    fn outcome(mut self, seconds: u64) -> Outcome {
        self.latencies.sort_unstable();
        let n = self.latencies.len();
        let at = |part: f64| self.latencies[((n as f64 * part) as usize).min(n - 1)];
        Outcome {
            requests: n,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: self.latencies[n - 1],
            wakes_per_second: self.wakes / seconds,
            moved: self.moved,
        }
    }
}

fn show(name: &str, world: &World, outcome: &Outcome) {
    let ms = |ns: u64| ns as f64 / MS as f64;
    println!(
        "{name:<9} {:<9} rule {:<5} think {:>4} ms  requests {:>7}  p50 {:>6.2}  p99 {:>7.2}  p99.9 {:>7.2}  max {:>7.2} ms  wakes/s {:>4}  moved {:>6}",
        format!("{:?}", world.choice),
        world.rule,
        world.think / MS,
        outcome.requests,
        ms(outcome.p50),
        ms(outcome.p99),
        ms(outcome.p999),
        ms(outcome.max),
        outcome.wakes_per_second,
        outcome.moved,
    );
}

/// Simulated time of each run of the experiment.
const SECONDS: u64 = 20;

/// The experiment of the design: 4 workers, 8 clients, one blocked half of the time.
fn blocked(choice: Choice, rule: bool, think: u64) -> World {
    World {
        workers: 4,
        choice,
        rule,
        clients: 8,
        think,
        blocking: true,
        timer_grid: 50 * US,
        keepers_turn: KEEPERS_TURN,
        seed: 0,
    }
}

#[test]
fn the_tail_is_as_good_as_that_of_one_shared_queue() {
    for think in [7 * MS, MS] {
        let shared = Sim::run(blocked(Choice::Shared, false, think), SECONDS);
        show("blocked", &blocked(Choice::Shared, false, think), &shared);
        for choice in [Choice::Shortest, Choice::Turn, Choice::Random, Choice::Hash] {
            let without = Sim::run(blocked(choice, false, think), SECONDS);
            show("blocked", &blocked(choice, false, think), &without);
            let with = Sim::usual(blocked(choice, true, think), SECONDS);
            show("blocked", &blocked(choice, true, think), &with);
            assert!(with.wakes_per_second <= 205, "{choice:?} {with:?}");
            assert!(without.max > 200 * MS, "the disease: {without:?}");
            // Node's own round robin has 3.9 ms, one shared socket 2.2 ms in the same experiment with real
            // processes; both have about 6 (shared) and 297 (round robin) at 99.9 %.
            // (In turn about one in a hundred is moved, so that p99 is one of these or is not, as chance has it.)
            let (p99, p999) = match choice {
                Choice::Shortest => (MS, 7 * MS),
                Choice::Turn => (3 * MS, 7 * MS),
                Choice::Random => (3 * MS, 15 * MS),
                Choice::Hash | Choice::Shared => (7 * MS, 12 * MS),
            };
            assert!(with.p99 < p99 && with.p999 < p999, "{choice:?} {with:?}");
        }
    }
}

#[test]
fn a_keeper_that_has_to_wait_for_a_processor_costs_the_blocked_workers_clients_little_more() {
    for think in [7 * MS, MS] {
        for choice in [Choice::Shortest, Choice::Turn] {
            let world = World { keepers_turn: 4 * MS, ..blocked(choice, true, think) };
            let outcome = Sim::usual(world, SECONDS);
            show("starved", &world, &outcome);
            // Four milliseconds more, and as many again where somebody waited behind it. Who takes the keeper's thefts for
            // the blocked worker's work has 18 ms.
            assert!(outcome.p999 < 13 * MS, "{choice:?} {outcome:?}");
        }
    }
}

#[test]
fn an_idle_group_is_never_looked_at() {
    // One connection, then a minute of nothing.
    let quiet =
        World { clients: 1, think: 3600 * SECOND, blocking: false, ..blocked(Choice::Turn, true, MS) };
    let outcome = Sim::run(quiet, 60);
    assert_eq!((outcome.requests, outcome.wakes_per_second), (1, 0));
}

#[test]
fn healthy_workers_lose_nothing_by_being_watched() {
    for (clients, think) in [(8, MS), (64, MS), (64, 0), (16, 100 * US)] {
        for choice in [Choice::Turn, Choice::Random] {
            let world = World { clients, blocking: false, ..blocked(choice, false, think) };
            let without = Sim::run(world, 10);
            show("healthy", &world, &without);
            let world = World { rule: true, ..world };
            let with = Sim::run(world, 10);
            show("healthy", &world, &with);
            assert!(with.wakes_per_second <= 205, "{with:?}");
            assert!(with.requests * 100 >= without.requests * 96, "{with:?} against {without:?}");
            assert!(with.p99 <= without.p99 * 115 / 100, "{with:?} against {without:?}");
        }
    }
}
