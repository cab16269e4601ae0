//! What a store lies on: memory, whose contents end with the machine's, or a disk, which a commit has reached before
//! it is acknowledged. All else is the same code.

use std::path::{Path, PathBuf};

use heed::EnvFlags;

use crate::error::{Error, Result};

/// The kernel makes up a new one at each start of the machine (proc_sys_kernel(5)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a store lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Nothing is written through: what memory holds a crash of the machine loses anyway, and a killed process loses
    /// nothing that it wrote to shared memory.
    Memory,
    /// Every commit is on the disk before it counts (LMDB's `fdatasync`, then the page that makes it valid). Pages go
    /// by write(2), not through the map: where a file system has no room for what was allocated (copy on write), that
    /// is an error and no SIGBUS.
    Disk,
}

impl Medium {
    pub(crate) fn flags(self) -> EnvFlags {
        match self {
            Self::Memory => EnvFlags::WRITE_MAP | EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC,
            Self::Disk => EnvFlags::empty(),
        }
    }

    /// The control file. On a disk it is of one boot only: the lock and the table of processes in it say nothing after
    /// a restart of the machine, and would say that a process holds the lock which is long gone.
    pub(crate) fn control(self, dir: &Path) -> Result<PathBuf> {
        match self {
            Self::Memory => Ok(dir.join("control")),
            Self::Disk => Ok(dir.join(format!("{DISK_CONTROL}{}", boot()?))),
        }
    }
}

/// How the names of control files on a disk begin.
pub(crate) const DISK_CONTROL: &str = "control-";

fn boot() -> Result<String> {
    let path = Path::new(BOOT_ID);
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("cannot read", path, e))?;
    Ok(text.trim().to_owned())
}
