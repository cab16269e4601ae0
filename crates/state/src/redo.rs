//! What a group of transactions has written and not committed yet ([`crate::engine`]'s group commit), in shared memory: a
//! redo log. Whoever is told that something is done finds it there, should the process that did it be killed.
//!
//! A record is a row's new value, or that it is gone: `PUT key's length(2) value's length(4) key value`, or
//! `DELETE key's length(2) key`, numbers with the lowest byte first. Records are in the order of the changes, so that doing all
//! of them once more, whatever part of it was done before, leaves the same rows.
//!
//! Invariants: the control page says how many bytes count ([`Pending`]), whole records all of them; they count for as long as
//! the last commit is the one that the group began with, so a commit makes them void by itself.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::error::{Error, Result};
use crate::mapping::Mapping;

/// Its file's size at first, and at most: some 80,000 small rows.
const BYTES_MIN: usize = 256 * 1024;
const BYTES_MAX: usize = 4 * 1024 * 1024;

const PUT: u8 = b'p';
const DELETE: u8 = b'd';

/// What of the log counts. All 0 in stores of versions that did not know it.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The last commit before the group.
    base: AtomicU64,
    /// 0: nothing is pending.
    bytes: AtomicU64,
}

impl Pending {
    /// Whether something is done that no snapshot shows yet.
    pub(crate) fn is_some(&self) -> bool {
        self.bytes.load(Acquire) != 0
    }

    /// The first `bytes` of the log are done.
    pub(crate) fn set(&self, base: u64, bytes: usize) {
        self.base.store(base, Relaxed);
        self.bytes.store(bytes as u64, Release);
    }

    /// All of it is committed.
    pub(crate) fn clear(&self) {
        self.bytes.store(0, Release);
    }

    /// What a holder of the writer's lock finds: the bytes that count, if the last commit is not theirs or a later one.
    pub(crate) fn left(&self, last_commit: u64) -> Option<u64> {
        let bytes = self.bytes.load(Acquire);
        (bytes > 0 && self.base.load(Relaxed) == last_commit).then_some(bytes)
    }
}

/// The log of the process that has the group.
#[derive(Debug)]
pub(crate) struct Log {
    map: Mapping,
    bytes: usize,
    used: usize,
    records: u32,
    /// A record did not fit: the group has to be committed before anybody is told of it.
    is_short: bool,
}

impl Log {
    /// Maps the store's log; makes it, if there is none. For who holds the writer's lock.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let path = path(dir);
        let (file, bytes) = match crate::files::open(&path) {
            Ok((file, length)) if length >= BYTES_MIN as u64 => {
                (file, usize::try_from(length).unwrap_or(BYTES_MAX).min(BYTES_MAX))
            }
            Ok(_) | Err(Error::NoStore { .. }) => (crate::files::create(&path, BYTES_MIN as u64)?, BYTES_MIN),
            Err(error) => return Err(error),
        };
        let map = Mapping::shared(file.as_fd(), bytes).map_err(|e| Error::io("cannot map", &path, e))?;
        Ok(Self { map, bytes, used: 0, records: 0, is_short: false })
    }

    /// For the next group, which gets twice the room if the one before has had too little, and there is as much.
    pub(crate) fn begin(mut self, dir: &Path) -> Result<Self> {
        if self.is_short && self.bytes < BYTES_MAX {
            match crate::files::extend(&path(dir), 2 * self.bytes as u64) {
                Ok(()) => self = Self::open(dir)?,
                Err(Error::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        (self.used, self.records, self.is_short) = (0, 0, false);
        Ok(self)
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    pub(crate) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Something was done that records do not tell.
    pub(crate) fn fall_short(&mut self) {
        self.is_short = true;
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        let (Ok(name), Ok(length)) = (u16::try_from(key.len()), u32::try_from(value.len())) else {
            self.is_short = true;
            return;
        };
        let mut head = [PUT; 7];
        head[1..3].copy_from_slice(&name.to_le_bytes());
        head[3..].copy_from_slice(&length.to_le_bytes());
        self.write(&[&head, key, value]);
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        let Ok(name) = u16::try_from(key.len()) else {
            self.is_short = true;
            return;
        };
        let [low, high] = name.to_le_bytes();
        self.write(&[&[DELETE, low, high], key]);
    }

    fn write(&mut self, parts: &[&[u8]]) {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        self.is_short |= bytes > self.bytes - self.used;
        if self.is_short {
            return;
        }
        for part in parts {
            self.map.write_bytes(self.used, part);
            self.used += part.len();
        }
        self.records += 1;
    }
}

/// A row's new value, or that it is gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

/// Hands over the changes of a log, in order.
pub(crate) fn read(bytes: &[u8], mut f: impl FnMut(Change<'_>) -> Result<()>) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (change, after) = first(rest).ok_or_else(|| Error::Corrupt {
            path: PathBuf::from("redo"),
            why: format!("its record at {} is none", bytes.len() - rest.len()),
        })?;
        f(change)?;
        rest = after;
    }
    Ok(())
}

fn first(bytes: &[u8]) -> Option<(Change<'_>, &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_first_chunk::<2>()?;
    let name = usize::from(u16::from_le_bytes(*name));
    match kind {
        DELETE => {
            let (key, rest) = rest.split_at_checked(name)?;
            Some((Change { key, value: None }, rest))
        }
        PUT => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (key, rest) = rest.split_at_checked(name)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            Some((Change { key, value: Some(value) }, rest))
        }
        _ => None,
    }
}

/// The first `bytes` of a store's log, for who holds the writer's lock.
pub(crate) fn load(dir: &Path, bytes: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let path = path(dir);
    let (file, length) = crate::files::open(&path)?;
    if bytes > length {
        let why = format!("it has {length} bytes, {bytes} count");
        return Err(Error::Corrupt { path, why });
    }
    let mut log = Vec::new();
    file.take(bytes).read_to_end(&mut log).map_err(|e| Error::io("cannot read", &path, e))?;
    Ok(log)
}

fn path(dir: &Path) -> PathBuf {
    dir.join("redo")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (Vec<u8>, Option<Vec<u8>>);

    fn all(bytes: &[u8]) -> Result<Vec<Owned>> {
        let mut all = Vec::new();
        read(bytes, |change| {
            all.push((change.key.to_vec(), change.value.map(<[u8]>::to_vec)));
            Ok(())
        })?;
        Ok(all)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_by_whoever_opens_the_folder(
            changes in proptest::collection::vec(
                (
                    proptest::collection::vec(any::<u8>(), 1..40),
                    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
                ),
                1..40,
            ),
        ) {
            let dir = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
            let mut log = Log::open(dir.path()).expect("a log");
            for (key, value) in &changes {
                match value {
                    Some(value) => log.put(key, value),
                    None => log.delete(key),
                }
            }
            prop_assert!(!log.is_short());
            let bytes = load(dir.path(), log.used() as u64).expect("it is there");
            prop_assert_eq!(all(&bytes).expect("whole records"), changes);
            // Again from the beginning, as the next group does.
            let mut log = Log::open(dir.path()).expect("the same log");
            log.delete(b"x");
            let bytes = load(dir.path(), log.used() as u64).expect("it is there");
            prop_assert_eq!(all(&bytes).expect("whole records"), vec![(b"x".to_vec(), None)]);
        }

        #[test]
        fn no_bytes_whatever_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = all(&bytes);
            let cut = [&[PUT, 1, 0, 200, 0, 0, 0, b'k'], bytes.as_slice()].concat();
            prop_assert!(matches!(all(&cut), Err(Error::Corrupt { .. })), "a value that is cut short");
        }
    }

    #[test]
    fn what_does_not_fit_is_noticed_and_nothing_behind_it_is_written() {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let mut log = Log::open(dir.path()).expect("a log");
        let half = vec![7; BYTES_MIN / 2];
        log.put(b"a", &half);
        assert!(!log.is_short());
        let used = log.used();
        log.put(b"b", &half);
        log.put(b"c", b"");
        assert!(log.is_short() && log.used() == used && log.records() == 1);
        let mut log = log.begin(dir.path()).expect("room for twice as much");
        assert!(!log.is_short() && log.used() == 0);
        for key in [b"a", b"b", b"c"] {
            log.put(key, &half);
        }
        assert!(!log.is_short());
        while log.bytes < BYTES_MAX {
            log.fall_short();
            log = log.begin(dir.path()).expect("more room");
        }
        log.fall_short();
        let log = log.begin(dir.path()).expect("as much as before");
        assert_eq!((log.bytes, log.is_short()), (BYTES_MAX, false));
    }

    #[test]
    fn a_commit_makes_the_log_void() {
        let pending = Pending::default();
        assert!(!pending.is_some() && pending.left(0).is_none());
        pending.set(7, 100);
        assert!(pending.is_some());
        assert_eq!((pending.left(7), pending.left(8)), (Some(100), None));
        pending.clear();
        assert!(!pending.is_some() && pending.left(7).is_none());
    }
}
