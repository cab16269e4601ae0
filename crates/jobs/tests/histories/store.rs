//! The store that hosts share, as `crates/daemon/src/hosts` uses a real one.

use std::collections::BTreeMap;

use skep_jobs::{Claim, JobId, RunId, Start, UnixMs};

use crate::witness::Checked;

/// Whose each fire time is.
#[derive(Debug, Default)]
pub(crate) struct Store {
    held: BTreeMap<(JobId, UnixMs), u32>,
    last_token: u64,
    /// Tokens of runs that began.
    begun: BTreeMap<u64, (JobId, UnixMs, u32)>,
}

impl Store {
    /// A fire time that is a host's stays its own, with a higher token each time.
    pub(crate) fn claim(&mut self, run: &RunId, host: u32, above: u64) -> Claim {
        let holder = *self.held.entry((run.job.clone(), run.scheduled)).or_insert(host);
        if holder != host {
            return Claim::Theirs;
        }
        self.last_token = self.last_token.max(above) + 1;
        Claim::Ours { token: self.last_token }
    }

    /// A shared run really begins: only where the store said so, and with a token that no other one has.
    pub(crate) fn begins(&mut self, start: &Start, host: u32) -> Checked {
        let fire = (start.run.job.clone(), start.run.scheduled);
        if self.held.get(&fire) != Some(&host) {
            return Err(format!("{:?} begins on host {host}, and is not its own", start.run));
        }
        if start.token > self.last_token {
            return Err(format!(
                "{:?} begins with token {}, which the store never gave",
                start.run, start.token
            ));
        }
        match self.begun.insert(start.token, (fire.0, fire.1, start.run.attempt)) {
            Some(other) => Err(format!("{:?} begins with the token of {other:?}", start.run)),
            None => Ok(()),
        }
    }
}
