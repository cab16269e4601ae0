//! Anonymous files in memory: payloads that outgrow a packet, and state that must survive a process but not the
//! machine.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::MemfdFlags;

/// Makes an empty memfd, close-on-exec. The name only shows in `/proc/PID/fd`.
///
/// # Errors
/// `EMFILE`/`ENFILE` when descriptors have run out, `ENOMEM`.
pub fn create(name: &str) -> io::Result<OwnedFd> {
    let with_no_exec = MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL;
    match rustix::fs::memfd_create(name, with_no_exec) {
        // Before Linux 6.3 the flag is unknown.
        Err(rustix::io::Errno::INVAL) => Ok(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?),
        other => Ok(other?),
    }
}

/// Makes a memfd that holds `bytes`, its position at the start.
///
/// # Errors
/// As [`create`], and `ENOSPC`/`ENOMEM` when memory has run out.
pub fn holding(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = File::from(create(name)?);
    file.write_all_at(bytes, 0)?;
    Ok(file.into())
}

/// Reads a whole memfd (or file) from its beginning, wherever its position is.
///
/// # Errors
/// `InvalidData` when it is longer than `bytes_max`; otherwise whatever reading says.
pub fn read_all(fd: impl AsFd, bytes_max: usize) -> io::Result<Vec<u8>> {
    let length = rustix::fs::fstat(&fd)?.st_size;
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
    if length > bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let offset = u64::try_from(filled).expect("a usize fits in 64 bits");
        let got = rustix::io::retry_on_intr(|| rustix::io::pread(&fd, &mut bytes[filled..], offset))?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += got;
    }
    Ok(bytes)
}

/// A shared writable mapping of a memfd.
#[derive(Debug)]
pub struct Map {
    start: *mut u8,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; access goes through &/&mut of this value only.
unsafe impl Send for Map {}

impl Map {
    /// Grows the memfd to `length` bytes (never shrinks it) and maps them.
    ///
    /// # Errors
    /// `InvalidInput` for 0 bytes, `ENOMEM`, `EACCES` when the descriptor is not writable.
    pub fn new(memfd: impl AsFd, length: usize) -> io::Result<Self> {
        if length == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let wanted = u64::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        let present = u64::try_from(rustix::fs::fstat(&memfd)?.st_size).unwrap_or(0);
        if present < wanted {
            rustix::fs::ftruncate(&memfd, wanted)?;
        }
        let (protection, flags) =
            (rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE, rustix::mm::MapFlags::SHARED);
        // SAFETY: the kernel chooses the address (null hint, no MAP_FIXED), so no existing mapping is replaced.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, protection, flags, memfd, 0) }?;
        Ok(Map { start: start.cast(), length })
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// `InvalidInput` when they would go past the end.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes.len())?;
        // SAFETY: check() says that offset + length is inside the mapping.
        let to = unsafe { self.start.add(offset) };
        // SAFETY: `to` has room for all bytes (checked), and a mapping never overlaps a Rust slice.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies from `offset` into `buffer`. Another process may be writing meanwhile: the bytes may be torn.
    ///
    /// # Errors
    /// `InvalidInput` when it would go past the end.
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) -> io::Result<()> {
        self.check(offset, buffer.len())?;
        // SAFETY: check() says that offset + length is inside the mapping.
        let from = unsafe { self.start.add(offset) };
        // SAFETY: all bytes from `from` on are mapped (checked), and the buffer is ours alone.
        unsafe { std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), buffer.len()) };
        Ok(())
    }

    /// How many bytes are mapped.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    fn check(&self, offset: usize, length: usize) -> io::Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: start and length are those of our own mapping, which nobody uses any more.
        let result = unsafe { rustix::mm::munmap(self.start.cast(), self.length) };
        debug_assert!(result.is_ok(), "unmapping our own mapping cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_written_are_read_back_whole() {
        let fd = holding("test", b"some bytes").expect("memfd");
        assert_eq!(read_all(&fd, 100).expect("read"), b"some bytes");
        assert_eq!(read_all(&fd, 100).expect("again"), b"some bytes");
        assert_eq!(read_all(&fd, 3).expect_err("too long").kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn two_mappings_of_one_memfd_are_the_same_memory() {
        let fd = create("test").expect("memfd");
        let mut one = Map::new(&fd, 4096).expect("map");
        let two = Map::new(&fd, 4096).expect("map");
        one.write_at(4090, b"end").expect("write");
        let mut seen = [0; 3];
        two.read_at(4090, &mut seen).expect("read");
        assert_eq!(&seen, b"end");
        assert_eq!(two.length(), 4096);
        assert!(one.write_at(4094, b"past").is_err());
        assert!(one.write_at(usize::MAX, b"past").is_err());
    }
}
