//! Starts workers and their supervisor, and kills both at random instants.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep_state::{Client, Identity, Owner, Popped, Store};

use crate::history::{self, now};
use crate::judge;
use crate::supervisor::Running as Supervisor;
use crate::worker::wall;
use crate::{Dice, number};

/// Nobody moved for this long: somebody waits for ever.
const STUCK_S: i64 = 60;
/// Every how many kills the supervisor is killed, too, over giving back what that worker held.
const SUPERVISOR_DIES_EVERY: u64 = 10;

/// Fewer operations for each kill say little: 100,000 in the usual run.
const OPERATIONS_A_KILL: u64 = 100;

struct Running {
    id: u64,
    child: Child,
    /// It is killed when it has told this many times that it works.
    lives: u64,
}

fn start(dir: &Path, id: u64, lives: u64) -> Running {
    let child = Command::new(std::env::current_exe().expect("ourselves"))
        .env("TORTURE_WORKER", id.to_string())
        .env("TORTURE_DIR", dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a worker");
    Running { id, child, lives }
}

/// When each worker's death was seen, before what it held was given back.
type Deaths = std::collections::HashMap<u64, u64>;

pub(crate) fn run() {
    let kills = number("TORTURE_KILLS", 1000);
    let count = number("TORTURE_WORKERS", 4);
    let dir = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let mut alive: BTreeSet<u64> = (1..=count).collect();
    let mut supervisor = Supervisor::start(dir.path(), &alive);
    let mut dice = Dice(number("TORTURE_SEED", 0x5eed));
    let mut deaths = Deaths::new();
    let mut next = count;
    let mut workers: Vec<Running> = (1..=count).map(|id| start(dir.path(), id, 1 + dice.below(20))).collect();
    let (mut killed, mut supervisors) = (0, 0);
    while killed < kills {
        let index = ready(&workers);
        let mut byte = [0];
        let told = workers[index].child.stdout.as_mut().expect("a pipe").read(&mut byte).expect("readable");
        assert!(told == 1, "worker {} ended by itself", workers[index].id);
        workers[index].lives -= 1;
        if workers[index].lives > 0 {
            continue;
        }
        let mut dead = workers.swap_remove(index);
        dead.child.kill().expect("killed");
        dead.child.wait().expect("reaped");
        deaths.insert(dead.id, now());
        alive.remove(&dead.id);
        killed += 1;
        if killed % SUPERVISOR_DIES_EVERY == 0 {
            supervisor.killed_by(dead.id, &mut dice);
            supervisor = Supervisor::start(dir.path(), &alive);
            supervisors += 1;
        } else {
            supervisor.worker_ended(dead.id);
        }
        next += 1;
        alive.insert(next);
        workers.push(start(dir.path(), next, 1 + dice.below(60)));
    }
    let store = Store::open(&dir.path().join("store")).expect("opened");
    finish(&store, supervisor, workers);
    conclude(dir.path(), store, next, &deaths, supervisors);
}

/// The index of a worker that has told something.
fn ready(workers: &[Running]) -> usize {
    let mut fds: Vec<PollFd<'_>> = workers
        .iter()
        .map(|worker| PollFd::new(worker.child.stdout.as_ref().expect("a pipe"), PollFlags::IN))
        .collect();
    let patience = Timespec { tv_sec: STUCK_S, tv_nsec: 0 };
    let moved = poll(&mut fds, Some(&patience)).expect("awake");
    assert!(moved > 0, "nobody has moved for {STUCK_S} s: a wake-up or a lock was lost");
    fds.iter().position(|fd| !fd.revents().is_empty()).expect("one moved")
}

fn finish(store: &Store, mut supervisor: Supervisor, workers: Vec<Running>) {
    store.counter_add(b"stop", 1, wall()).expect("told to stop");
    for mut worker in workers {
        let mut rest = Vec::new();
        worker.child.stdout.take().expect("a pipe").read_to_end(&mut rest).expect("read");
        assert!(worker.child.wait().expect("reaped").success(), "worker {} failed", worker.id);
        supervisor.worker_ended(worker.id);
    }
    supervisor.finish();
}

fn conclude(dir: &Path, store: Store, last: u64, deaths: &Deaths, supervisors: u64) {
    let mut operations = Vec::new();
    for id in 1..=last {
        operations.extend(history::read(&dir.join(format!("notes-{id}")), id));
    }
    let locks = store.locks(wall()).expect("a list");
    assert!(locks.is_empty(), "locks stayed behind: {locks:?}");
    let owner = Owner { id: u32::try_from(last + 1).expect("small"), generation: 1 };
    let identity = Identity::Worker(owner);
    let client = Client::attach_to(store.clone(), identity, wall()).expect("attached");
    let mut left = Vec::new();
    while let Popped::Job(job) = client.pop(b"jobs", 0, 3_600_000, wall()).expect("popped") {
        left.push(u64::from_be_bytes(job.data.as_slice().try_into().expect("eight bytes")));
    }
    let sum = store.counter_add(b"sum", 0, wall()).expect("read").unsigned_abs();
    judge::registers(&operations, deaths);
    judge::counter(&operations, sum);
    judge::locks(&operations, deaths);
    judge::jobs(&operations, &left);
    let stats = store.stats();
    let done = operations.iter().filter(|operation| operation.end.is_some()).count();
    assert!(
        done as u64 >= OPERATIONS_A_KILL * deaths.len() as u64,
        "only {done} operations: too few to judge by"
    );
    println!(
        "{} workers killed and {supervisors} supervisors, {done} operations returned, {} under way when their worker \
         was killed, {} died holding the writer's lock, {} waits for it (longest {} us), {} growths: linearizable, nothing lost, torn or left behind",
        deaths.len(),
        operations.len() - done,
        stats.owner_deaths,
        stats.waits,
        stats.wait_us_max,
        stats.growths
    );
}
