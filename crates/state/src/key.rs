//! Where everything lies: one ordered table, the first byte says what a row is. Numbers are big-endian, so that rows
//! sort by them.

use std::mem::MaybeUninit;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::limits::{INLINE_NAME_BYTES_MAX, KEY_BYTES_MAX, LONG_NAME_BYTES};

/// LMDB's longest key.
pub(crate) const LMDB_KEY_BYTES_MAX: usize = 511;

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    /// `space(4) name` -> record: a user's key (see `record`).
    Keys = b'k',
    /// `collection(8) sub-key` -> element of a hash, list, set, sorted set or stream.
    Elements = b's',
    /// `ms(6) kind(1) rest` -> nothing: when something expires.
    Timers = b't',
    /// `kind(1) name` -> id: spaces.
    Names = b'n',
    /// `collection(8)` -> nothing: a deleted collection whose elements are still to be removed.
    Garbage = b'g',
    /// `name` -> slot(4).
    Counters = b'c',
    /// `name` -> lock.
    Locks = b'l',
    /// `name` -> single flight.
    Flights = b'o',
    /// `id(8) ticket(8)` -> who waits for a lock or a flight, in the order of arrival.
    Waiters = b'w',
    /// `owner(8) kind(1) rest` -> what must be given back when the owner ends.
    Holdings = b'h',
    /// `owner(8) ticket(8)` -> event for that owner.
    Mail = b'm',
    /// `ticket(8)` -> channel message.
    Channel = b'b',
    /// `name` -> queue.
    Queues = b'q',
    /// `queue(8) part(1) ...` -> jobs and their order.
    Jobs = b'j',
    /// Nothing -> nothing, for a moment: see `Engine::recycle`.
    Recycled = b'r',
    /// Nothing -> layout(4), ticket base(8): of a store on a disk, which outlives its control file.
    Format = b'f',
    /// `slot(4)` -> value: counters in a backup.
    SavedCounters = b'C',
}

/// A key under construction, on the stack. Each step makes another one and copies what there is so far, some twenty
/// bytes: moving the whole, half a kilobyte, would cost more than finding its row.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    /// The first `length` ones are written.
    bytes: [MaybeUninit<u8>; LMDB_KEY_BYTES_MAX],
    length: usize,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Key").field(&self.as_slice()).finish()
    }
}

impl Key {
    #[inline(always)]
    pub(crate) fn new(table: Table) -> Self {
        let mut key = Self { bytes: [MaybeUninit::uninit(); LMDB_KEY_BYTES_MAX], length: 1 };
        key.bytes[0].write(table as u8);
        key
    }

    /// A row's whole key.
    pub(crate) fn copy(row: &[u8]) -> Self {
        Self { bytes: [MaybeUninit::uninit(); LMDB_KEY_BYTES_MAX], length: 0 }.push(row)
    }

    /// Appends bytes whose length the callers have bounded (`stored_name`).
    #[inline(always)]
    pub(crate) fn push(&self, bytes: &[u8]) -> Self {
        let end = self.length + bytes.len();
        assert!(end <= LMDB_KEY_BYTES_MAX, "names are shortened before they come here");
        let mut key = Self { bytes: [MaybeUninit::uninit(); LMDB_KEY_BYTES_MAX], length: end };
        key.bytes[..self.length].copy_from_slice(&self.bytes[..self.length]);
        key.bytes[self.length..end].write_copy_of_slice(bytes);
        key
    }

    #[inline(always)]
    pub(crate) fn u8(&self, value: u8) -> Self {
        self.push(&[value])
    }

    #[inline(always)]
    pub(crate) fn u32(&self, value: u32) -> Self {
        self.push(&value.to_be_bytes())
    }

    /// Milliseconds in six bytes: enough for the year 10,889.
    #[inline(always)]
    pub(crate) fn ms(&self, value: u64) -> Self {
        self.push(&value.min((1 << 48) - 1).to_be_bytes()[2..])
    }

    #[inline(always)]
    pub(crate) fn u64(&self, value: u64) -> Self {
        self.push(&value.to_be_bytes())
    }

    #[inline(always)]
    pub(crate) fn name(&self, name: &StoredName<'_>) -> Self {
        self.push(name.as_slice())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: every way to make a key writes its first `length` bytes.
        unsafe { self.bytes[..self.length].assume_init_ref() }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// A name as it lies in a key: itself, or shortened by a hash when it is long (then the row's value keeps it whole).
#[derive(Debug, Clone)]
pub(crate) enum StoredName<'a> {
    Short(&'a [u8]),
    Long { stored: Box<[u8; LONG_NAME_BYTES]>, whole: &'a [u8] },
}

impl<'a> StoredName<'a> {
    /// Any bytes are a name; only the length is bounded.
    pub(crate) fn check(what: &'static str, name: &[u8]) -> Result<()> {
        if name.len() <= KEY_BYTES_MAX {
            return Ok(());
        }
        Err(Error::KeyTooLong { what, bytes: name.len(), max: KEY_BYTES_MAX })
    }

    pub(crate) fn new(what: &'static str, name: &'a [u8]) -> Result<Self> {
        if name.len() <= INLINE_NAME_BYTES_MAX {
            return Ok(Self::Short(name));
        }
        Self::check(what, name)?;
        let mut stored = Box::new([0; LONG_NAME_BYTES]);
        let (front, hash) = stored.split_at_mut(LONG_NAME_BYTES - 32);
        front.copy_from_slice(&name[..front.len()]);
        hash.copy_from_slice(&Sha256::digest(name));
        Ok(Self::Long { stored, whole: name })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short(name) => name,
            Self::Long { stored, .. } => &stored[..],
        }
    }

    /// The whole name when the key does not tell it.
    pub(crate) fn long(&self) -> Option<&'a [u8]> {
        match self {
            Self::Short(_) => None,
            Self::Long { whole, .. } => Some(whole),
        }
    }

    /// Whether the stored form of a name is a shortened one.
    pub(crate) fn is_long(stored: &[u8]) -> bool {
        stored.len() == LONG_NAME_BYTES
    }
}

/// Takes fixed-width numbers off the front of a row's key or value. Rows are written by this library alone, so a short
/// one is damage; it reads as zeros rather than as a panic in somebody's web server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        front
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub(crate) fn ms(&mut self) -> u64 {
        let six: [u8; 6] = self.array();
        six.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    /// A number of seven bits a byte, lowest first.
    pub(crate) fn varint(&mut self) -> u64 {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    /// A length, then that many bytes.
    pub(crate) fn text(&mut self) -> &'a [u8] {
        let length = self.varint();
        self.bytes(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

/// The counterparts of [`Take`] for values.
pub(crate) trait Put {
    fn put_varint(&mut self, value: u64);
    fn put_text(&mut self, bytes: &[u8]);
    fn put_u64(&mut self, value: u64);
    fn put_u32(&mut self, value: u32);
    fn put_ms(&mut self, value: u64);
}

impl Put for Vec<u8> {
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.push(value.to_le_bytes()[0]);
    }

    fn put_text(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_ms(&mut self, value: u64) {
        self.extend_from_slice(&value.min((1 << 48) - 1).to_be_bytes()[2..]);
    }
}
