//! Writing a file so that there is either the old content or the new one, also after a power cut where that matters.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD};

/// Replaces `path` by a file that holds `bytes`, with these permission bits: a temporary file beside it, fsync,
/// rename, fsync of the directory. When this returns `Ok` the new content survives a power cut; when it fails
/// the old content is untouched and the temporary file is removed.
///
/// Two writers at once must be kept apart by a lock of their own; the last rename wins.
///
/// # Errors
/// Whatever the file system says (`ENOSPC`, `EACCES`, `EROFS`, `EIO`…).
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    place(path, bytes, mode)?;
    sync_directory_of(path)
}

/// The first part of [`replace`]: from now on the file is the new one, and whole, also after a power cut; but after
/// that it may be the old one, until [`sync_directory_of`] has returned. For who has something to do meanwhile.
///
/// # Errors
/// As [`replace`].
pub fn place(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    rename_whole(path, bytes, mode, File::sync_all)
}

/// A file that has no name yet. To make a file takes a file system several times as long as to write it and to name it: with
/// one at hand that was made while nobody waited, the rest is done soon. It is gone with the process if it is not needed.
#[derive(Debug)]
pub struct Spare {
    file: File,
    mode: u32,
}

impl Spare {
    /// Makes one in this directory, with these permission bits.
    ///
    /// # Errors
    /// Some file systems know no files without a name (`O_TMPFILE`, open(2)).
    pub fn within(directory: &Path, mode: u32) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.write(true).custom_flags(libc::O_TMPFILE).mode(mode).open(directory)?;
        Ok(Self { file, mode })
    }

    /// As [`place`].
    ///
    /// # Errors
    /// As [`place`].
    pub fn place(self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mode = self.mode;
        // Whatever is the matter with this one (no `/proc`, say): with a file that has a name all is as ever, or says why.
        self.try_place(path, bytes).or_else(|_| place(path, bytes, mode))
    }

    fn try_place(mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        let temporary = beside(path)?;
        remove_left_over(&temporary)?;
        self.name(&temporary)?;
        std::fs::rename(&temporary, path)
    }

    /// Makes it a new file with these bytes, without waiting for the disk.
    ///
    /// # Errors
    /// `EEXIST` if there is such a file; it is as it was then.
    pub fn become_new(mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.name(path)
    }

    fn name(&self, path: &Path) -> io::Result<()> {
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }
}

/// The same as [`replace`] for what means nothing after a reboot, without waiting for the disk: whoever reads meanwhile, or after the
/// writer was killed, finds the old content or the new one; after a power cut it may be neither.
///
/// # Errors
/// As [`replace`].
pub fn swap(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    rename_whole(path, bytes, mode, |_| Ok(()))
}

fn rename_whole(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    settle: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = beside(path)?;
    let file = write_whole(&temporary, bytes, mode);
    let renamed = file.and_then(|file| settle(&file)).and_then(|()| std::fs::rename(&temporary, path));
    if renamed.is_err() {
        // The reason that counts is the first one; a left-over is overwritten next time.
        let _ = std::fs::remove_file(&temporary);
    }
    renamed
}

/// Makes the directory entry of `path` (a rename, a removal) survive a power cut.
///
/// # Errors
/// Whatever opening or `fsync` says, but `EINVAL`: some file systems know no fsync of directories.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    match File::open(directory_of(path))?.sync_all() {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A left-over of a crashed writer may have other permissions; start afresh.
fn remove_left_over(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    remove_left_over(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_new_content_replaces_the_old_and_nothing_is_left_over() {
        let directory = tempfile::tempdir().expect("dir");
        let path = directory.path().join("state.json");
        let by_spare = |path: &Path, bytes: &[u8], mode: u32| {
            Spare::within(directory_of(path), mode)?.place(path, bytes)?;
            sync_directory_of(path)
        };
        for write in [replace, swap, by_spare] {
            write(&path, b"one", 0o600).expect("first");
            std::fs::write(directory.path().join(".state.json.new"), "left over").expect("write");
            write(&path, b"two", 0o600).expect("second");
            assert_eq!(std::fs::read(&path).expect("read"), b"two");
        }
        assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_spare_that_cannot_be_used_is_done_without() {
        let directory = tempfile::tempdir().expect("dir");
        let path = directory.path().join("state.json");
        // A file that cannot be written.
        let spare = Spare { file: File::open("/dev/null").expect("open"), mode: 0o600 };
        spare.place(&path, b"x").expect("place");
        assert_eq!(std::fs::read(&path).expect("read"), b"x");
        let nowhere = directory.path().join("a").join("state.json");
        let spare = Spare::within(directory.path(), 0o600).expect("spare");
        assert_eq!(spare.place(&nowhere, b"x").expect_err("no dir").kind(), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_spare_becomes_a_new_file_but_never_takes_the_place_of_one() {
        let directory = tempfile::tempdir().expect("dir");
        let path = directory.path().join("app.pid");
        let spare = || Spare::within(directory.path(), 0o640).expect("spare");
        spare().become_new(&path, b"one").expect("new");
        let error = spare().become_new(&path, b"two").expect_err("it is there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).expect("read"), b"one");
        assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_content() {
        let directory = tempfile::tempdir().expect("dir");
        let path = directory.path().join("a").join("state.json");
        assert_eq!(replace(&path, b"x", 0o600).expect_err("no dir").kind(), io::ErrorKind::NotFound);
        // A directory in the way of the rename.
        let path = directory.path().join("b");
        std::fs::create_dir(&path).expect("mkdir");
        assert!(replace(&path, b"x", 0o600).is_err());
        assert!(path.is_dir());
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1);
    }
}
