//! Random histories: children come and go, descriptors are stored and dropped, daemons are killed and keepers
//! upgraded in any order; what the daemon is told must always be what a simple model says.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};

use skep_keeper::wire::{ChildState, FdSource, Reply, Request, Scope};
use skep_sys::wait::ExitStatus;

use crate::Test;
use crate::rig::{Daemon, Inventory, Rig, shell, wait_for_end};

pub(crate) const TESTS: &[Test] = &[("random_histories_tell_exactly_what_happened", run_all)];

const STEPS: u32 = 120;

/// How many histories are run; `SKEP_HISTORIES=1000` runs more.
const SEEDS: u64 = 6;

fn run_all() {
    let count = std::env::var("SKEP_HISTORIES").ok().and_then(|count| count.parse().ok());
    for seed in 1..=count.unwrap_or(SEEDS) {
        History::new(seed).run();
    }
}

/// A child as the model knows it.
struct Child {
    /// Closing this lets it exit with its own number as code.
    release: Option<OwnedFd>,
    expected: ExitStatus,
    told_spawned: bool,
    told_exit: bool,
}

struct History {
    rig: Rig,
    daemon: Daemon,
    random: u64,
    children: BTreeMap<u64, Child>,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    next_child: u64,
    upgrades: u32,
    seed: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let rig = Rig::start();
        let daemon = rig.fresh_daemon();
        History {
            rig,
            daemon,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            children: BTreeMap::new(),
            stored: BTreeMap::new(),
            next_child: 1,
            upgrades: 0,
            seed,
        }
    }

    /// xorshift64.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            match self.below(20) {
                0..=6 => self.start(),
                7..=9 => self.release(),
                10 => self.kill_child(),
                11..=13 => self.store(),
                14 => self.drop_key(),
                15..=16 => self.forget(),
                17..=18 => self.new_daemon(),
                _ => self.upgrade(),
            }
            while let Some(delivery) = self.daemon.link.receive().unwrap() {
                self.learn(delivery.reply);
            }
        }
        self.settle();
        println!("  seed {}: {} children, {} upgrades", self.seed, self.next_child - 1, self.upgrades);
    }

    fn start(&mut self) {
        let id = self.next_child;
        self.next_child += 1;
        let code = i32::try_from(id % 200).unwrap();
        let (read, write) = skep_sys::pipe::pipe().unwrap();
        let mut spawn = shell(id, &format!("read x; exit {code}"));
        spawn.note = id.to_string().into_bytes();
        spawn.fds = vec![(0, FdSource::Attached)];
        self.daemon.send_with(&Request::Spawn(Box::new(spawn)), &[read.as_fd()]);
        let expected = ExitStatus::Code(code);
        let child = Child { release: Some(write), expected, told_spawned: false, told_exit: false };
        self.children.insert(id, child);
    }

    /// A child that has not been let go yet.
    fn some_waiting(&mut self) -> Option<u64> {
        let waiting = |child: &Child| child.release.is_some() && child.told_spawned;
        let ids: Vec<_> =
            self.children.iter().filter(|(_, child)| waiting(child)).map(|(id, _)| *id).collect();
        let bound = u64::try_from(ids.len()).unwrap();
        (bound > 0).then(|| ids[usize::try_from(self.below(bound)).unwrap()])
    }

    fn release(&mut self) {
        if let Some(id) = self.some_waiting() {
            self.children.get_mut(&id).unwrap().release = None;
        }
    }

    fn kill_child(&mut self) {
        let Some(id) = self.some_waiting() else { return };
        self.daemon.send(&Request::Signal { child: id, signal: 9, scope: Scope::Tree });
        let child = self.children.get_mut(&id).unwrap();
        child.expected = ExitStatus::Signal { signal: 9, core_dumped: false };
        // Kept open: it must die of the signal.
        std::mem::forget(child.release.take());
    }

    fn store(&mut self) {
        let key = vec![u8::try_from(self.below(5)).unwrap()];
        let note = self.below(1000).to_string().into_bytes();
        let null = std::fs::File::open("/dev/null").unwrap();
        let request = Request::Store { key: key.clone(), note: note.clone() };
        self.daemon.send_with(&request, &[null.as_fd(), null.as_fd()]);
        self.stored.insert(key, note);
    }

    fn drop_key(&mut self) {
        let key = vec![u8::try_from(self.below(5)).unwrap()];
        self.daemon.send(&Request::Drop { key: key.clone() });
        self.stored.remove(&key);
    }

    fn forget(&mut self) {
        let told: Vec<_> =
            self.children.iter().filter(|(_, child)| child.told_exit).map(|(id, _)| *id).collect();
        for id in told {
            self.daemon.send(&Request::Forget { child: id });
            self.children.remove(&id);
        }
    }

    fn new_daemon(&mut self) {
        let next = |history: &Self| history.rig.daemon();
        let pid = self.daemon.pid;
        skep_sys::signal::send(pid, 9).unwrap();
        self.daemon = next(self);
        self.learn_inventory();
    }

    fn upgrade(&mut self) {
        if self.upgrades == 0 {
            std::fs::copy("/proc/self/exe", self.rig.path("newer")).unwrap();
        }
        self.upgrades += 1;
        let path = self.rig.path("newer").into_os_string().into_encoded_bytes();
        self.daemon.send(&Request::Upgrade { path });
        loop {
            match self.daemon.reply() {
                Reply::Upgraded { .. } => break,
                other => self.learn(other),
            }
        }
        self.new_daemon();
    }

    fn learn_inventory(&mut self) {
        for child in self.children.values_mut() {
            child.told_spawned = false;
        }
        let Inventory { children, stored, .. } = self.daemon.hello();
        let ids: BTreeSet<_> = children.keys().collect();
        assert_eq!(ids, self.children.keys().collect::<BTreeSet<_>>(), "seed {}", self.seed);
        for (id, (note, state, _)) in children {
            assert_eq!(note, id.to_string().into_bytes());
            let child = self.children.get_mut(&id).unwrap();
            match state {
                ChildState::Starting => {}
                ChildState::Running { .. } => {
                    assert!(!child.told_exit, "seed {}: {id} had ended", self.seed);
                    child.told_spawned = true;
                }
                ChildState::Exited { status, .. } => {
                    assert_eq!(status, child.expected, "seed {}: {id}", self.seed);
                    (child.told_spawned, child.told_exit) = (true, true);
                }
                ChildState::Failed { stage, errno } => panic!("{id} failed: {stage} {errno}"),
            }
        }
        let stored: BTreeMap<_, _> = stored
            .into_iter()
            .map(|(key, (note, fds))| {
                assert_eq!(fds.len(), 2);
                (key, note)
            })
            .collect();
        assert_eq!(stored, self.stored, "seed {}", self.seed);
    }

    fn learn(&mut self, reply: Reply) {
        match reply {
            Reply::Spawned { child, .. } => {
                let child = self.children.get_mut(&child).unwrap();
                assert!(!child.told_spawned, "told once");
                child.told_spawned = true;
            }
            Reply::Exited { child: id, status } => {
                let child = self.children.get_mut(&id).unwrap();
                assert!(child.told_spawned && !child.told_exit, "told once, after its start");
                assert_eq!(status, child.expected, "seed {}: {id}", self.seed);
                child.told_exit = true;
            }
            other => panic!("seed {}: {other:?}", self.seed),
        }
    }

    /// Lets everything end; everything must be told.
    fn settle(&mut self) {
        for child in self.children.values_mut() {
            child.release = None;
        }
        while !self.children.values().all(|child| child.told_exit) {
            let reply = self.daemon.reply();
            self.learn(reply);
        }
        self.new_daemon();
        let pid = self.daemon.pid;
        self.daemon.send(&Request::Shutdown);
        skep_sys::signal::send(pid, 9).unwrap();
        wait_for_end(self.rig.keeper);
    }
}
