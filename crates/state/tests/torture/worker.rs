//! A worker: random operations until it is killed or told to stop.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Acquire;

use rustix::event::{PollFd, PollFlags, poll};
use skep_state::strings::{self, Expiry, If};
use skep_state::{
    Ask, Client, Event, Granted, Identity, IfBusy, LockMode, Owner, Popped, PushOptions, Space, WallMs,
};

use crate::history::{Deed, Notes};
use crate::{Dice, number};

pub(crate) const REGISTERS: u64 = 16;
pub(crate) const LOCKS: u64 = 3;
/// Every how many operations the parent is told.
const TELL_EVERY: u64 = 8;
/// Most operations of a group.
const GROUP: u64 = 12;
/// Longest value of a register.
const VALUE_BYTES_MAX: u64 = 6000;

pub(crate) fn wall() -> WallMs {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    WallMs(time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000)
}

/// A register's value: its number, again and again, so that a torn one shows.
fn pattern(value: u64) -> Vec<u8> {
    let times = 1 + value.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (VALUE_BYTES_MAX / 8);
    value.to_be_bytes().repeat(usize::try_from(times).expect("small"))
}

fn unpattern(bytes: Option<&[u8]>) -> u64 {
    let Some(bytes) = bytes else { return 0 };
    let value = u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
    assert!(bytes == pattern(value), "a torn value");
    value
}

struct Worker {
    client: Client,
    notes: Notes,
    dice: Dice,
    unique: u64,
    request: u32,
}

pub(crate) fn run() {
    let id = number("TORTURE_WORKER", 1);
    let dir = PathBuf::from(std::env::var_os("TORTURE_DIR").expect("a folder"));
    let owner = Owner { id: u32::try_from(id).expect("small"), generation: 1 };
    let client = Client::attach(&dir.join("store"), Identity::Worker(owner), wall()).expect("attached");
    let notes = Notes::create(&dir.join(format!("notes-{id}")));
    let seed = (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut worker = Worker { client, notes, dice: Dice(seed), unique: id << 32, request: 0 };
    let stop = worker.client.store().counter_place(b"stop", wall()).expect("a counter");
    let mut out = std::io::stdout();
    let mut count = 0;
    while worker.client.store().counter_page()[stop].load(Acquire) == 0 {
        worker.step();
        count += 1;
        if count % TELL_EVERY == 0 {
            out.write_all(b".").and_then(|()| out.flush()).expect("the parent listens");
        }
    }
}

impl Worker {
    fn step(&mut self) {
        let register = self.dice.below(REGISTERS);
        match self.dice.below(13) {
            0..3 => self.write(register),
            3..6 => drop(self.read(register)),
            6..8 => self.swap(register),
            8 => self.add(),
            9 => self.locked(),
            10 => self.push(),
            11 => self.group(),
            _ => self.work(),
        }
    }

    fn value(&mut self) -> u64 {
        self.unique += 1;
        self.unique
    }

    fn set(&self, register: u64, value: u64, condition: If<'_>) -> bool {
        let key = register.to_be_bytes();
        let bytes = pattern(value);
        let set = |tx: &mut skep_state::Tx<'_>| {
            strings::set(tx, Space::database(0), &key, &bytes, Expiry::Never, condition)
        };
        self.client.store().write(wall(), set).expect("written")
    }

    fn write(&mut self, register: u64) {
        let value = self.value();
        self.notes.begin(Deed::Write(register, value));
        self.set(register, value, If::Always);
        self.notes.end(0);
    }

    /// Several writes and reads that become one commit, as the Redis door makes them.
    fn group(&mut self) {
        for _ in 0..1 + self.dice.below(GROUP) {
            let register = self.dice.below(REGISTERS);
            let key = register.to_be_bytes();
            if self.dice.below(3) == 0 {
                self.notes.begin(Deed::Read(register));
                let read = |view: &skep_state::View<'_>| {
                    Ok(unpattern(strings::get(view, Space::database(0), &key)?))
                };
                let value = self.client.store().read_in_group(wall(), read).expect("read");
                self.notes.end(value);
            } else {
                let value = self.value();
                let bytes = pattern(value);
                self.notes.begin(Deed::Write(register, value));
                let set = |tx: &mut skep_state::Tx<'_>| {
                    strings::set(tx, Space::database(0), &key, &bytes, Expiry::Never, If::Always)
                };
                self.client.store().write_in_group(wall(), set).expect("written");
                self.notes.end(0);
            }
        }
        self.client.store().end_group().expect("ended");
    }

    fn read(&mut self, register: u64) -> u64 {
        self.notes.begin(Deed::Read(register));
        let key = register.to_be_bytes();
        let read = |view: &skep_state::View<'_>| Ok(unpattern(strings::get(view, Space::database(0), &key)?));
        let value = self.client.store().read(wall(), read).expect("read");
        self.notes.end(value);
        value
    }

    fn swap(&mut self, register: u64) {
        let before = self.read(register);
        let value = self.value();
        self.notes.begin(Deed::Swap(register, before, value));
        let expected = pattern(before);
        let condition = if before == 0 { If::Missing } else { If::Equals(&expected) };
        let done = self.set(register, value, condition);
        self.notes.end(u64::from(done));
    }

    fn add(&mut self) {
        let by = 1 + self.dice.below(9);
        self.notes.begin(Deed::Add(by));
        let sum = self.client.store().counter_add(b"sum", by.cast_signed(), wall()).expect("added");
        self.notes.end(sum.unsigned_abs());
    }

    /// Sleeps until the one event that it waits for comes.
    fn granted(&self, wanted: u32) -> u64 {
        loop {
            let mut fds = [PollFd::new(self, PollFlags::IN)];
            poll(&mut fds, None).expect("awake");
            let mut bytes = [0; 64];
            let _ = rustix::io::read(self.client.wake_fd(), &mut bytes);
            let (events, _) = self.client.poll(wall()).expect("events");
            for event in events {
                match event {
                    Event::LockGranted { request, token } if request == wanted => return token,
                    _ => {}
                }
            }
        }
    }

    fn locked(&mut self) {
        let lock = self.dice.below(LOCKS);
        let name = lock.to_be_bytes();
        self.request += 1;
        let request = self.request;
        self.notes.begin(Deed::Lock(lock));
        let ask = Ask { name: &name, request, mode: LockMode::Exclusive, if_busy: IfBusy::Wait, ttl_ms: 0 };
        let token = match self.client.lock(&ask, wall()).expect("an answer") {
            Granted::Yes(token) => token,
            Granted::Later => self.granted(request),
            Granted::No => unreachable!("it was to wait"),
        };
        self.notes.end(token);
        let register = self.dice.below(REGISTERS);
        self.read(register);
        self.notes.begin(Deed::Unlock(lock, token));
        assert!(self.client.unlock(&name, request, wall()).expect("let go"), "it was ours");
        self.notes.end(0);
    }

    fn push(&mut self) {
        let job = self.value();
        self.notes.begin(Deed::Push(job));
        let options = PushOptions { retries: u32::MAX - 1, ..PushOptions::default() };
        self.client.push(b"jobs", &job.to_be_bytes(), &options, wall()).expect("pushed");
        self.notes.end(0);
    }

    fn work(&mut self) {
        self.notes.begin(Deed::Work);
        let popped = self.client.pop(b"jobs", 0, 3_600_000, wall()).expect("popped");
        let Popped::Job(job) = popped else { return self.notes.end(0) };
        let number = u64::from_be_bytes(job.data.as_slice().try_into().expect("eight bytes"));
        assert!(self.client.job_done(b"jobs", job.id, job.attempt, wall()).expect("settled"), "it was ours");
        self.notes.end(number);
    }
}

impl std::os::fd::AsFd for Worker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.client.wake_fd()
    }
}
