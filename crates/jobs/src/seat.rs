//! Workers, as places where functions run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A worker that has registered functions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its id, never used again.
    pub worker: u32,
    /// Whose.
    pub app: String,
    /// Names of the jobs that it can run.
    pub functions: BTreeSet<String>,
    /// How much it has to do beside jobs; open connections, say. Only compared.
    pub load: u64,
    /// It is on its way out: it finishes what it has and gets nothing new.
    pub leaving: bool,
}
