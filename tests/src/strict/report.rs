//! What the strict client counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::failure::Failure;

/// Failures that are told in full; more of the same kind teach nothing.
const EXAMPLES_MAX: usize = 8;
/// Failures whose connection is remembered.
const LOST_MAX: usize = 10_000;

/// Counts since the start.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Requests answered completely and correctly.
    pub ok: u64,
    /// Failed requests by the name of their [`Failure`].
    pub failed: BTreeMap<&'static str, u64>,
    /// Connections made.
    pub connects: u64,
    /// Keep-alive connections that the server ended by saying so in a response (`Connection: close`).
    pub polite_closes: u64,
    /// Keep-alive connections that the server closed between two requests, seen before the next one was written.
    pub idle_closes: u64,
    /// Whoever answered: the `"pid":…` of the answers.
    pub pids: BTreeSet<u64>,
    /// The slowest answer, in milliseconds.
    pub slowest_ms: u64,
    /// For each failed request our TCP port of the connection that it was lost on; none when it had no connection yet.
    #[serde(skip)]
    pub lost_on: Vec<Option<u16>>,
    /// The first failures, each as a sentence with its time since the start.
    pub examples: Vec<String>,
}

impl Report {
    /// Requests that ended, well or not.
    pub fn count(&self) -> u64 {
        self.ok + self.failures()
    }

    /// Requests that were not answered completely and correctly.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Failures of one kind.
    pub fn failures_of(&self, kind: Failure) -> u64 {
        self.failed.get(kind.name()).copied().unwrap_or(0)
    }

    /// How often a keep-alive client had to connect again for whatever reason, beyond its first connection.
    pub fn reconnects(&self, clients: usize) -> u64 {
        self.connects.saturating_sub(clients as u64)
    }

    pub(crate) fn count_ok(&mut self, body: &[u8], took: Duration) {
        self.ok += 1;
        self.slowest_ms = self.slowest_ms.max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.pids.extend(pid_in(body));
    }

    pub(crate) fn count_failure(&mut self, failure: Failure, detail: &str, at: Duration, port: Option<u16>) {
        *self.failed.entry(failure.name()).or_default() += 1;
        if self.lost_on.len() < LOST_MAX {
            self.lost_on.push(port);
        }
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("{:.3} s: {failure}: {detail}", at.as_secs_f64()));
        }
    }
}

/// The number after `"pid":`, which every fixture app answers.
fn pid_in(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("\"pid\":")?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ok, {} failed, {} connections, {} closed politely, {} closed when idle, {} workers, slowest {} ms",
            self.ok,
            self.failures(),
            self.connects,
            self.polite_closes,
            self.idle_closes,
            self.pids.len(),
            self.slowest_ms
        )?;
        for (kind, count) in &self.failed {
            write!(f, "\n  {kind}: {count}")?;
        }
        for example in &self.examples {
            write!(f, "\n  {example}")?;
        }
        Ok(())
    }
}
