//! The supervisor of the torture: starts workers, kills them at random instants, gives back what they held.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep_state::{Client, Identity, Options, Owner, Popped, Supervisor};

use crate::history::{self, now};
use crate::judge;
use crate::worker::wall;
use crate::{Dice, number};

/// Nobody moved for this long: somebody waits for ever.
const STUCK_S: i64 = 60;
/// Every how many kills the supervisor "was dead", too: its successor learns of the end by looking around.
const SUPERVISOR_DIES_EVERY: u64 = 25;

struct Running {
    id: u64,
    child: Child,
    /// It is killed when it has told this many times that it works.
    lives: u64,
}

fn owner(id: u64) -> Owner {
    Owner { id: u32::try_from(id).expect("small"), generation: 1 }
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
    let store = dir.path().join("store");
    let options = Options { data_bytes: 1 << 20, ..Options::default() };
    let mut supervisor = Supervisor::open(&store, &options, wall()).expect("a store");
    let mut dice = Dice(number("TORTURE_SEED", 0x5eed));
    let mut deaths = Deaths::new();
    let mut next = count;
    let mut workers: Vec<Running> = (1..=count).map(|id| start(dir.path(), id, 1 + dice.below(20))).collect();
    let mut killed = 0;
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
        killed += 1;
        if killed % SUPERVISOR_DIES_EVERY == 0 {
            drop(supervisor);
            supervisor = Supervisor::open(&store, &options, wall()).expect("opened again");
            let alive: Vec<Owner> = workers.iter().map(|worker| owner(worker.id)).collect();
            supervisor.keep_only(&alive, wall()).expect("looked around");
        } else {
            supervisor.worker_ended(owner(dead.id), wall()).expect("given back");
        }
        next += 1;
        workers.push(start(dir.path(), next, 1 + dice.below(60)));
    }
    finish(&supervisor, workers);
    conclude(dir.path(), &supervisor, next, &deaths);
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

fn finish(supervisor: &Supervisor, workers: Vec<Running>) {
    supervisor.store().counter_add(b"stop", 1, wall()).expect("told to stop");
    for mut worker in workers {
        let mut rest = Vec::new();
        worker.child.stdout.take().expect("a pipe").read_to_end(&mut rest).expect("read");
        assert!(worker.child.wait().expect("reaped").success(), "worker {} failed", worker.id);
        supervisor.worker_ended(owner(worker.id), wall()).expect("given back");
    }
}

fn conclude(dir: &Path, supervisor: &Supervisor, last: u64, deaths: &Deaths) {
    let mut operations = Vec::new();
    for id in 1..=last {
        operations.extend(history::read(&dir.join(format!("notes-{id}")), id));
    }
    let store = supervisor.store();
    let locks = store.locks(wall()).expect("a list");
    assert!(locks.is_empty(), "locks stayed behind: {locks:?}");
    let identity = Identity::Worker(owner(last + 1));
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
    let stats = supervisor.stats();
    let done = operations.iter().filter(|operation| operation.end.is_some()).count();
    println!(
        "{} kills, {done} operations returned, {} under way when their worker was killed, {} died holding the \
         writer's lock, {} waits for it (longest {} us), {} growths: linearizable, nothing lost, torn or left behind",
        deaths.len(),
        operations.len() - done,
        stats.owner_deaths,
        stats.waits,
        stats.wait_us_max,
        stats.growths
    );
}
