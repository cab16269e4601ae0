//! How an app's log files are kept from growing for ever.

use crate::{Bytes, Compress};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a log file is put aside and how much of the old ones is kept. On by default: a log that grows for ever fills
/// the disk one night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// Put the file aside at the first line end beyond this size (`10M`); 0 never does. Default: 10 MiB.
    pub max_size: Bytes,
    /// How many old files of one log are kept. Default: 30.
    pub retain: u32,
    /// How many bytes all old files of the app may take together; the oldest go first. Default: 100 MiB.
    pub total_size: Bytes,
    /// Also put the file aside whenever so many seconds of local time have begun anew (86400: at midnight).
    /// Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<u32>,
    /// Compress old files: true (gzip), false, `gzip` or `zstd`. Default: true.
    pub compress: Compress,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_size: Bytes(10 << 20),
            retain: 30,
            total_size: Bytes(100 << 20),
            every_seconds: None,
            compress: Compress::Switch(true),
        }
    }
}
