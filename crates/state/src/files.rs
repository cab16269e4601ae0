//! The store's folder and files: made for their owner alone, fully allocated, and checked before they are trusted.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Makes the folder, or checks that it is ours and closed to others.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => check_folder(path),
        Err(e) => Err(Error::io("cannot make", path, e)),
    }
}

/// Checks that a folder is a real one (no link), ours, and closed to others.
pub(crate) fn check_folder(path: &Path) -> Result<()> {
    let stat = match rustix::fs::lstat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Err(Error::NoStore { path: path.to_path_buf() }),
        Err(e) => return Err(Error::io("cannot look at", path, e)),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Error::Foreign { path: path.to_path_buf(), why: "it is not a folder".to_owned() });
    }
    check_owner(path, &stat, 0o700)
}

fn check_owner(path: &Path, stat: &rustix::fs::Stat, mode: u32) -> Result<()> {
    let uid = rustix::process::geteuid().as_raw();
    let found_mode = stat.st_mode & 0o777;
    if stat.st_uid == uid && found_mode & !mode == 0 {
        return Ok(());
    }
    Err(Error::NotOurs { path: path.to_path_buf(), uid, mode, found_uid: stat.st_uid, found_mode })
}

/// Makes a file of exactly `bytes`, every byte allocated, so that a full file system is an error now and never a
/// SIGBUS later.
pub(crate) fn create(path: &Path, bytes: u64) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|e| Error::io("cannot create", path, e))?;
    if bytes > 0 {
        allocate(path, &fd, 0, bytes)?;
    }
    Ok(File::from(fd))
}

/// Makes an empty file (length 0) for which `bytes` bytes are set aside.
pub(crate) fn reserve(path: &Path, bytes: u64) -> Result<()> {
    let file = create(path, 0)?;
    match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        // Where space cannot be set aside, the caller's allocation afterwards tells.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
        Err(errno) => {
            let path = path.parent().unwrap_or(path).to_path_buf();
            Err(Error::NoSpace { path, bytes, errno: errno.into() })
        }
    }
}

/// Allocates all of a file that has its length already.
pub(crate) fn fill(path: &Path, bytes: u64) -> Result<()> {
    let (file, _) = open(path)?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(|errno| Error::NoSpace {
        path: path.parent().unwrap_or(path).to_path_buf(),
        bytes,
        errno: errno.into(),
    })
}

/// Makes a file longer, allocated; false when it is longer already.
pub(crate) fn extend(path: &Path, to_bytes: u64) -> Result<()> {
    let (file, length) = open(path)?;
    if length < to_bytes { allocate(path, &OwnedFd::from(file), length, to_bytes - length) } else { Ok(()) }
}

fn allocate(path: &Path, fd: &OwnedFd, offset: u64, bytes: u64) -> Result<()> {
    rustix::fs::fallocate(fd, FallocateFlags::empty(), offset, bytes).map_err(|errno| {
        // What was allocated before the failure is given back, so that a failed growth costs nothing.
        let _ = rustix::fs::ftruncate(fd, offset);
        match errno {
            Errno::NOSPC | Errno::FBIG | Errno::NOMEM | Errno::DQUOT => Error::NoSpace {
                path: path.parent().unwrap_or(path).to_path_buf(),
                bytes: offset + bytes,
                errno: errno.into(),
            },
            _ => Error::io("cannot allocate", path, errno),
        }
    })
}

/// Gives the space of a file back; whether there was one.
pub(crate) fn spend(path: &Path) -> bool {
    rustix::fs::unlink(path).is_ok()
}

/// Opens a file that must be a plain one of ours; its length comes with it.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Err(Error::NoStore { path: path.to_path_buf() }),
        Err(e) => return Err(Error::io("cannot open", path, e)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|e| Error::io("cannot look at", path, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::Foreign { path: path.to_path_buf(), why: "it is not a plain file".to_owned() });
    }
    check_owner(path, &stat, 0o600)?;
    Ok((File::from(fd), stat.st_size.unsigned_abs()))
}

/// Has the disk have a file, or a folder's names.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("cannot sync", path, e);
    File::open(path).and_then(|file| file.sync_all()).map_err(failed)
}

/// Waits until nobody else is at work in a folder; until the answer is dropped.
pub(crate) fn lock_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io("cannot open", path, e))?;
    rustix::fs::flock(&fd, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|e| Error::io("cannot lock", path, e))?;
    Ok(fd)
}
