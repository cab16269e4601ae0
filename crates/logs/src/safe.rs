//! The descriptors that must outlive the daemon.

use std::os::fd::OwnedFd;

use crate::LogsError;

/// The journal and the stage: three descriptors that the keeper holds duplicates of. With them a new daemon knows
/// exactly which bytes of which pipe are in a file already.
#[derive(Debug)]
pub struct Safe {
    /// A memfd: the redo record of the write under way, and whose unfinished line each file ends in.
    pub journal: OwnedFd,
    /// Read end of the stage, a pipe through which changed lines are consumed: what lies in it has been written.
    pub stage_out: OwnedFd,
    /// Write end of the stage.
    pub stage_in: OwnedFd,
}

impl Safe {
    /// Makes the three descriptors (close-on-exec).
    ///
    /// # Errors
    /// When the kernel refuses them (limits).
    pub fn create() -> Result<Self, LogsError> {
        let system = |doing| move |e: rustix::io::Errno| LogsError::System { doing, source: e.into() };
        let journal = rustix::fs::memfd_create("skep-logs-journal", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(system("create the log journal"))?;
        let (stage_out, stage_in) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK)
                .map_err(system("create the log stage"))?;
        Ok(Self { journal, stage_out, stage_in })
    }

    /// Duplicates for the keeper.
    ///
    /// # Errors
    /// When the limit on open files is reached.
    pub fn try_clone(&self) -> Result<Self, LogsError> {
        let system = |source| LogsError::System { doing: "duplicate the log journal", source };
        Ok(Self {
            journal: self.journal.try_clone().map_err(system)?,
            stage_out: self.stage_out.try_clone().map_err(system)?,
            stage_in: self.stage_in.try_clone().map_err(system)?,
        })
    }
}
