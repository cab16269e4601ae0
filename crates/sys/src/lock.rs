//! A lock on a file that the kernel releases when its last holder is gone, however that ended.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;

/// An exclusive `flock(2)`. It belongs to the open file: duplicates and inherited copies hold it too.
#[derive(Debug)]
pub struct FileLock(OwnedFd);

impl FileLock {
    /// Takes the lock on `path` (made with mode 0600 if absent), or `None` when another open file holds it.
    ///
    /// # Errors
    /// Whatever opening says (`EACCES`, `ENOSPC`, `EROFS`…); `ENOLCK` on file systems without locks.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(FileLock(file.into()))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the lock, waiting (blocking) for its holder.
    ///
    /// # Errors
    /// As [`FileLock::try_take`].
    pub fn take(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))?;
        Ok(FileLock(file.into()))
    }

    /// A lock that was inherited.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        FileLock(fd)
    }
}

impl From<FileLock> for OwnedFd {
    /// The descriptor, which goes on holding the lock.
    fn from(lock: FileLock) -> Self {
        lock.0
    }
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it_and_a_duplicate_keeps_it() {
        let directory = tempfile::tempdir().expect("dir");
        let path = directory.path().join("lock");
        let first = FileLock::try_take(&path).expect("open").expect("free");
        assert!(FileLock::try_take(&path).expect("open").is_none());
        let duplicate = first.as_fd().try_clone_to_owned().expect("dup");
        drop(first);
        assert!(FileLock::try_take(&path).expect("open").is_none());
        drop(FileLock::from_fd(duplicate));
        assert!(FileLock::try_take(&path).expect("open").is_some());
        FileLock::take(&path).expect("free again");
    }
}
