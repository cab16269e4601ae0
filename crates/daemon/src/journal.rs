//! The fleet's snapshot in memory that outlives the daemon.
//!
//! A memfd which the keeper holds receives the whole snapshot before any effect is carried out, so a daemon that is
//! SIGKILLed between two effects is followed by one that knows what was decided. Two halves are written in turn,
//! each with a sequence number, a length and a checksum: a write cut by SIGKILL leaves the other half whole.
//!
//! This module does not know what a snapshot says; it keeps bytes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{pread, pwrite};

/// Bytes before the payload of a half: sequence (8), length (8), CRC-32 (4), reserved (4).
const HEADER_BYTES: usize = 24;
/// A half never starts smaller than this; 64 KiB holds about 100 workers.
const HALF_BYTES_MIN: usize = 64 * 1024;

/// A double-buffered record in a memfd.
#[derive(Debug)]
pub(crate) struct Journal {
    fd: OwnedFd,
    half_bytes: usize,
    seq: u64,
}

/// Whether a record still fits, or the journal had to move to a larger memfd that the keeper must be given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Written in place.
    InPlace,
    /// Written to a new memfd: store it with the keeper before acting.
    Moved,
}

impl Journal {
    /// An empty journal.
    pub(crate) fn create() -> io::Result<Journal> {
        Journal::with_half(HALF_BYTES_MIN, 0)
    }

    fn with_half(half_bytes: usize, seq: u64) -> io::Result<Journal> {
        let fd = memfd_create("skep-fleet", MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, 2 * half_bytes as u64)?;
        Ok(Journal { fd, half_bytes, seq })
    }

    /// Takes over the memfd of an earlier daemon, with the newest whole record in it, if there is one.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<(Journal, Option<Vec<u8>>)> {
        let bytes = rustix::fs::fstat(&fd)?.st_size as usize;
        let half_bytes = bytes / 2;
        let mut newest: Option<(u64, Vec<u8>)> = None;
        for half in 0..2 {
            if let Some((seq, payload)) = read_half(fd.as_fd(), half * half_bytes, half_bytes)?
                && newest.as_ref().is_none_or(|(best, _)| seq > *best)
            {
                newest = Some((seq, payload));
            }
        }
        let seq = newest.as_ref().map_or(0, |(seq, _)| *seq);
        Ok((Journal { fd, half_bytes, seq }, newest.map(|(_, payload)| payload)))
    }

    /// Replaces the record.
    pub(crate) fn write(&mut self, payload: &[u8]) -> io::Result<Written> {
        let mut written = Written::InPlace;
        if HEADER_BYTES + payload.len() > self.half_bytes {
            // Twice what is needed now, so that a growing fleet moves only now and then.
            *self = Journal::with_half((HEADER_BYTES + payload.len()) * 2, self.seq)?;
            written = Written::Moved;
        }
        self.seq += 1;
        let offset = (self.seq % 2) as usize * self.half_bytes;
        let mut header = [0u8; HEADER_BYTES];
        header[..8].copy_from_slice(&self.seq.to_le_bytes());
        header[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        header[16..20].copy_from_slice(&checksum(self.seq, payload).to_le_bytes());
        write_all_at(self.fd.as_fd(), payload, offset + HEADER_BYTES)?;
        write_all_at(self.fd.as_fd(), &header, offset)?;
        Ok(written)
    }
}

impl AsFd for Journal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn checksum(seq: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seq.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn write_all_at(fd: BorrowedFd<'_>, mut bytes: &[u8], mut offset: usize) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = pwrite(fd, bytes, offset as u64)?;
        bytes = &bytes[n..];
        offset += n;
    }
    Ok(())
}

fn read_half(fd: BorrowedFd<'_>, offset: usize, half_bytes: usize) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut header = [0u8; HEADER_BYTES];
    if half_bytes < HEADER_BYTES || pread(fd, &mut header[..], offset as u64)? < HEADER_BYTES {
        return Ok(None);
    }
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let (seq, len) = (word(0), word(8) as usize);
    if seq == 0 || len > half_bytes - HEADER_BYTES {
        return Ok(None);
    }
    let mut payload = vec![0u8; len];
    let mut read = 0;
    while read < len {
        match pread(fd, &mut payload[read..], (offset + HEADER_BYTES + read) as u64)? {
            0 => return Ok(None),
            n => read += n,
        }
    }
    let crc = u32::from_le_bytes(header[16..20].try_into().expect("four bytes"));
    Ok((checksum(seq, &payload) == crc).then_some((seq, payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopened(journal: &Journal) -> Option<Vec<u8>> {
        Journal::adopt(journal.fd.try_clone().unwrap()).unwrap().1
    }

    #[test]
    fn a_new_journal_holds_nothing() {
        assert_eq!(reopened(&Journal::create().unwrap()), None);
    }

    #[test]
    fn the_last_record_is_read_back_by_the_next_daemon() {
        let mut journal = Journal::create().unwrap();
        for n in 0..5u8 {
            assert_eq!(journal.write(&[n; 10]).unwrap(), Written::InPlace);
            assert_eq!(reopened(&journal), Some(vec![n; 10]));
        }
    }

    #[test]
    fn a_record_cut_in_half_leaves_the_one_before() {
        let mut journal = Journal::create().unwrap();
        journal.write(b"first").unwrap();
        journal.write(b"second").unwrap();
        let torn = (journal.seq % 2) as usize * journal.half_bytes + HEADER_BYTES;
        write_all_at(journal.fd.as_fd(), b"X", torn).unwrap();
        assert_eq!(reopened(&journal), Some(b"first".to_vec()));
    }

    #[test]
    fn a_record_that_outgrows_the_memfd_moves_to_a_larger_one() {
        let mut journal = Journal::create().unwrap();
        let big = vec![7u8; HALF_BYTES_MIN];
        assert_eq!(journal.write(&big).unwrap(), Written::Moved);
        assert_eq!(reopened(&journal), Some(big));
        assert_eq!(journal.write(b"small").unwrap(), Written::InPlace);
        assert_eq!(reopened(&journal), Some(b"small".to_vec()));
    }
}
