//! What a store is made with.

use crate::limits::{
    COUNTER_SLOTS, DATA_BYTES_INITIAL, DATA_BYTES_MAX, DATA_BYTES_MIN, VALUE_BYTES_MAX, WORKERS_MAX,
};

/// How large a store is. Sizes of an existing store may only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// First size of the data, in bytes; taken from the file system at once. Default 2 MiB.
    pub data_bytes: u64,
    /// Largest size of the data, in bytes. Default 1 GiB.
    pub data_bytes_max: u64,
    /// Largest value, in bytes. Default 16 MiB.
    pub value_bytes_max: u64,
    /// Number of counters; fixed when the store is made. Default 16,384.
    pub counters: u32,
    /// Processes attached at one time; fixed when the store is made. Default 1,024.
    pub workers: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_bytes: DATA_BYTES_INITIAL,
            data_bytes_max: DATA_BYTES_MAX,
            value_bytes_max: VALUE_BYTES_MAX,
            counters: COUNTER_SLOTS,
            workers: WORKERS_MAX,
        }
    }
}

impl Options {
    /// Whole pages, at least what LMDB needs, and a maximum not below the first size.
    pub(crate) fn rounded(&self) -> Self {
        let data_bytes = self.data_bytes.max(DATA_BYTES_MIN).next_multiple_of(4096);
        Self {
            data_bytes,
            data_bytes_max: self.data_bytes_max.max(data_bytes).next_multiple_of(4096),
            value_bytes_max: self.value_bytes_max.max(1),
            counters: self.counters.clamp(8, 1 << 24).next_multiple_of(8),
            workers: self.workers.clamp(8, 1 << 16),
        }
    }
}
