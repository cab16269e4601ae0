//! What workers use, read when somebody asks: nothing is sampled in the background.

use skep_core::Now;

/// Processor time used up to a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CpuSample {
    pub(crate) at: Now,
    /// Nanoseconds on a processor since the process began.
    pub(crate) busy_ns: u64,
}

/// What a process uses now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu: CpuSample,
}

/// Reads /proc, one file: a list of two hundred workers waits for this. None of a process that has gone.
pub(crate) fn of(pid: u32, at: Now) -> Option<Usage> {
    let stat = skep_sys::proc::stat(pid as i32).ok()?;
    let cpu = CpuSample { at, busy_ns: busy_ns(stat.cpu_ticks()) };
    Some(Usage { memory_bytes: stat.resident_bytes(), cpu })
}

fn busy_ns(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000) / skep_sys::proc::ticks_per_second()
}

/// The share of one processor between two samples, as a percentage.
pub(crate) fn percent(before: CpuSample, after: CpuSample) -> Option<f32> {
    let span = after.at.since(before.at).0;
    (span > 0).then(|| after.busy_ns.saturating_sub(before.busy_ns) as f32 / span as f32 * 100.0)
}

/// How many descriptors a process has open.
pub(crate) fn open_descriptors(pid: u32) -> Option<u64> {
    skep_sys::proc::descriptor_count(pid as i32).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_processor_is_fifty_percent_and_no_time_is_no_answer() {
        let sample = |at, busy_ns| CpuSample { at: Now(at), busy_ns };
        assert_eq!(percent(sample(0, 0), sample(1_000, 500)), Some(50.0));
        assert_eq!(percent(sample(5, 0), sample(5, 0)), None);
    }
}
