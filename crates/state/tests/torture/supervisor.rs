//! The supervisor of the torture, in a process of its own: it is killed as the workers are, in the middle of what it does.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skep_state::{Options, Owner, Supervisor};

use crate::Dice;
use crate::worker::wall;

/// Under this name it is told who lives: numbers with spaces between.
const ALIVE: &str = "TORTURE_ALIVE";
/// Longest, in turns of the scheduler, that a supervisor which is to be killed gets for its work.
const MERCY_TURNS: u64 = 12;

fn owner(id: u64) -> Owner {
    Owner { id: u32::try_from(id).expect("small"), generation: 1 }
}

/// What such a process does: opens the store, compares it with who lives, and gives back what the dead held whose numbers
/// come in. After each it answers with a byte.
pub(crate) fn run() {
    let dir = PathBuf::from(std::env::var_os("TORTURE_DIR").expect("a folder"));
    let options = Options { data_bytes: 1 << 20, ..Options::default() };
    let supervisor = Supervisor::open(&dir.join("store"), &options, wall()).expect("the store");
    let alive = std::env::var(ALIVE).expect("who lives");
    let alive: Vec<Owner> = alive.split_whitespace().map(|id| owner(id.parse().expect("a number"))).collect();
    supervisor.keep_only(&alive, wall()).expect("looked around");
    let mut out = std::io::stdout();
    let mut tell = || out.write_all(b".").and_then(|()| out.flush()).expect("the parent listens");
    tell();
    let mut orders = BufReader::new(std::io::stdin());
    loop {
        let next = supervisor.maintain(wall()).expect("looked after");
        let wait = next.map(|at| at.0.saturating_sub(wall().0).max(1).cast_signed());
        let wait = wait.map(|ms| Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 });
        let ordered = !orders.buffer().is_empty() || {
            let mut fds = [
                PollFd::from_borrowed_fd(orders.get_ref().as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(supervisor.wake_fd(), PollFlags::IN),
            ];
            poll(&mut fds, wait.as_ref()).expect("awake");
            !fds[0].revents().is_empty()
        };
        if ordered {
            let mut line = String::new();
            if orders.read_line(&mut line).expect("an order") == 0 {
                return;
            }
            supervisor
                .worker_ended(owner(line.trim().parse().expect("a number")), wall())
                .expect("given back");
            tell();
        }
    }
}

/// One that runs.
pub(crate) struct Running {
    child: Child,
    orders: ChildStdin,
    told: ChildStdout,
}

impl Running {
    /// Returns when it has looked around.
    pub(crate) fn start(dir: &Path, alive: &BTreeSet<u64>) -> Self {
        let alive: Vec<String> = alive.iter().map(u64::to_string).collect();
        let mut child = Command::new(std::env::current_exe().expect("ourselves"))
            .env("TORTURE_SUPERVISOR", "1")
            .env("TORTURE_DIR", dir)
            .env(ALIVE, alive.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a supervisor");
        let (orders, told) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut running = Self { child, orders, told };
        running.wait();
        running
    }

    fn wait(&mut self) {
        self.told.read_exact(&mut [0]).expect("the supervisor has ended by itself");
    }

    fn order(&mut self, dead: u64) {
        writeln!(self.orders, "{dead}").expect("it reads");
    }

    /// Returns when what a worker held is given back.
    pub(crate) fn worker_ended(&mut self, dead: u64) {
        self.order(dead);
        self.wait();
    }

    /// A worker ends, and while it gives back what that one held it is killed itself.
    pub(crate) fn killed_by(mut self, dead: u64, dice: &mut Dice) {
        self.order(dead);
        for _ in 0..dice.below(MERCY_TURNS) {
            std::thread::yield_now();
        }
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// No worker is left.
    pub(crate) fn finish(self) {
        let Self { mut child, orders, told } = self;
        drop((orders, told));
        assert!(child.wait().expect("reaped").success(), "the supervisor failed");
    }
}
