//! What the kernel knows of a file without asking a disk or another machine.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};
use rustix::io::Errno;

/// Type and permission bits of the file at `path`, as far as that is in the kernel's caches; `None` when somebody would
/// have to be waited for, or the kernel cannot tell (`RESOLVE_CACHED`, Linux 5.12, openat2(2)).
///
/// # Errors
/// Inside: whatever the path is wrong about, `NotFound` for one that is known to be nowhere.
#[must_use]
pub fn mode(path: &Path) -> Option<io::Result<u32>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).and_then(|file| {
        // A file of another machine is not asked for how it is by now.
        let how = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        statx(&file, c"", how, StatxFlags::TYPE | StatxFlags::MODE)
    });
    match found {
        Ok(found) => Some(Ok(u32::from(found.stx_mode))),
        Err(Errno::AGAIN | Errno::NOSYS | Errno::INVAL | Errno::PERM) => None,
        Err(errno) => Some(Err(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_was_just_looked_at_is_known_and_what_is_told_is_true() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("app.js");
        std::fs::write(&file, "").expect("a file");
        for path in [file.as_path(), directory.path()] {
            let metadata = std::fs::metadata(path).expect("it is there");
            // None where the kernel has no such flag.
            assert!(mode(path).is_none_or(|found| found.expect("it is there") == metadata.mode()));
        }
        let nowhere = directory.path().join("nowhere");
        assert!(
            mode(&nowhere)
                .is_none_or(|found| found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound))
        );
    }
}
