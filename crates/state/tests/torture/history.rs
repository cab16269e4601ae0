//! What workers write down: lines of numbers, one before and one after each operation.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

/// An operation's kind and operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Register, value.
    Write(u64, u64),
    Read(u64),
    /// Register, expected value (0: missing), new value.
    Swap(u64, u64, u64),
    /// To the counter.
    Add(u64),
    /// Lock: from asking to having.
    Lock(u64),
    /// Lock, token.
    Unlock(u64, u64),
    /// Job.
    Push(u64),
    Work,
}

/// An operation: `end` and `result` are there if it returned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) worker: u64,
    pub(crate) deed: Deed,
    pub(crate) begin: u64,
    pub(crate) end: Option<u64>,
    pub(crate) result: u64,
}

/// Nanoseconds of a clock that all processes share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

pub(crate) struct Notes(File);

impl Notes {
    pub(crate) fn create(path: &Path) -> Self {
        Self(File::create(path).expect("a file for notes"))
    }

    pub(crate) fn begin(&mut self, deed: Deed) {
        let (kind, a, b, c) = match deed {
            Deed::Write(a, b) => (0, a, b, 0),
            Deed::Read(a) => (1, a, 0, 0),
            Deed::Swap(a, b, c) => (2, a, b, c),
            Deed::Add(a) => (3, a, 0, 0),
            Deed::Lock(a) => (4, a, 0, 0),
            Deed::Unlock(a, b) => (5, a, b, 0),
            Deed::Push(a) => (6, a, 0, 0),
            Deed::Work => (7, 0, 0, 0),
        };
        let line = format!("b {} {kind} {a} {b} {c}\n", now());
        self.0.write_all(line.as_bytes()).expect("a note");
    }

    pub(crate) fn end(&mut self, result: u64) {
        let line = format!("e {} {result}\n", now());
        self.0.write_all(line.as_bytes()).expect("a note");
    }
}

/// The notes of one worker. A last line may be cut short by its death.
pub(crate) fn read(path: &Path, worker: u64) -> Vec<Operation> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut operations: Vec<Operation> = Vec::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let mut words = line.split_whitespace();
        let first = words.next();
        let numbers: Vec<u64> = words.map(|word| word.parse().expect("a number")).collect();
        match (first, numbers.as_slice()) {
            (Some("b"), [begin, kind, a, b, c]) => {
                let deed = match kind {
                    0 => Deed::Write(*a, *b),
                    1 => Deed::Read(*a),
                    2 => Deed::Swap(*a, *b, *c),
                    3 => Deed::Add(*a),
                    4 => Deed::Lock(*a),
                    5 => Deed::Unlock(*a, *b),
                    6 => Deed::Push(*a),
                    _ => Deed::Work,
                };
                operations.push(Operation { worker, deed, begin: *begin, end: None, result: 0 });
            }
            (Some("e"), [end, result]) => {
                let last = operations.last_mut().expect("an end follows a beginning");
                (last.end, last.result) = (Some(*end), *result);
            }
            _ => panic!("a line that nobody wrote: {line:?}"),
        }
    }
    operations
}
