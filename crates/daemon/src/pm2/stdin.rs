//! Lines for a worker's standard input (`send`, `attach`).

use std::io;
use std::os::fd::AsFd;

use skep_api::{ErrorBody, ErrorCode, Target as Named};

use crate::driver::Driver;

impl Driver {
    /// Writes `text` to the standard input of every worker that the targets mean; answers how many got it.
    ///
    /// # Errors
    /// When a worker is not there or does not read: a pipe that is full takes nothing, so nothing is written in part.
    pub(crate) fn send_text(&mut self, targets: &[Named], text: &str) -> Result<usize, ErrorBody> {
        let slots = self.picked_slots(targets)?;
        let mut sent = 0;
        for worker in self.workers.values().filter(|worker| slots.contains(&worker.slot) && !worker.exited) {
            let Some(stdin) = &worker.stdin else { continue };
            write_whole(stdin, text.as_bytes()).map_err(|error| {
                let place = format!("{}:{}", worker.spec.name, worker.identity.index);
                ErrorBody::new(ErrorCode::Conflict, format!("{place} takes no input: {error}"))
                    .with_hint("it does not read what was sent before, or has closed its standard input")
            })?;
            sent += 1;
        }
        if sent == 0 {
            return Err(ErrorBody::new(ErrorCode::Conflict, "no worker runs that could read it")
                .with_hint("`skep start` it first"));
        }
        Ok(sent)
    }
}

/// All or nothing for texts up to the pipe's atomic size (PIPE_BUF, pipe(7)); a longer one may be cut where the pipe
/// is full, which is reported.
fn write_whole(pipe: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(&pipe, rest) {
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
