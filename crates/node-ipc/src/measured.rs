//! What a worker tells of itself: the answer of `npm/skep/metrics.cjs` to `measure`.

use serde::{Deserialize, Serialize};

/// One answer. Counters only grow while the worker is asked at least every ten minutes; times are milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// Time that the event loop waited, and time that it worked, since the process began.
    #[serde(rename = "loop")]
    pub event_loop: [f64; 2],
    /// How late the event loop was since the question before: mean, median, 99th percentile, most. `None` at first.
    pub delay: Option<[f64; 4]>,
    /// Bytes of the heap in use and in all, outside the heap, and in array buffers.
    pub heap: [f64; 4],
    /// HTTP responses from 1xx to 5xx.
    pub codes: [u64; 5],
    /// Upper bounds of the latency histogram.
    pub bounds: Vec<f64>,
    /// Responses in each bucket, not added up; the last one is beyond all bounds.
    pub buckets: Vec<u64>,
    /// All latencies together.
    pub latency: f64,
    /// Connections accepted by its servers.
    pub accepted: u64,
}

// === impl Measured ===

impl Measured {
    /// Whether its parts fit together: a program may say what it likes on its channel.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let numbers = self.event_loop.iter().chain(&self.heap).chain(&self.bounds);
        self.buckets.len() == self.bounds.len() + 1
            && self.bounds.len() <= 64
            && self.bounds.is_sorted()
            && numbers.chain([&self.latency]).all(|number| number.is_finite() && *number >= 0.0)
    }

    /// HTTP responses in all.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.codes.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_nonsense_is_not_believed() {
        let text = r#"{"loop":[1.5,2],"delay":null,"heap":[1,2,3,4],
            "codes":[0,7,0,0,1],"bounds":[1,5],"buckets":[6,1,1],"latency":12.5,"accepted":3}"#;
        let measured: Measured = serde_json::from_str(text).expect("an answer");
        assert!(measured.is_sound());
        assert_eq!(measured.requests(), 8);
        assert!(!Measured { buckets: vec![1], ..measured.clone() }.is_sound());
        assert!(!Measured { latency: f64::NAN, ..measured }.is_sound());
    }
}
