//! How an app's log files are kept from growing for ever.

use crate::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a log file is put aside and how many old ones are kept. Nothing is rotated unless `max_size`
/// says so: without being asked, skep throws no log line away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// Put the file aside when it would grow beyond this size (`10M`). Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<Bytes>,
    /// How many old files are kept beside the current one. Default: 30.
    pub retain: u32,
    /// Compress old files with gzip. Default: false.
    pub compress: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_size: None, retain: 30, compress: false }
    }
}
