//! How long a transaction of several commands may last.

use crate::call::Access;
use crate::limits::{BATCH_ALONE_NS, BATCH_NS};

/// Measures a transaction. What it costs to begin and end one, and to copy pages that several commands change, is the less
/// for each the more there are; but others wait for the writer's lock meanwhile, if there are any.
#[derive(Debug)]
pub(super) struct Patience {
    began_ns: u64,
}

/// Whether somebody else could go on if the transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Wait,
    No,
}

fn is_over(lasted_ns: u64, others: Others) -> bool {
    match others {
        Others::Wait => lasted_ns > BATCH_NS,
        Others::No => lasted_ns > BATCH_ALONE_NS,
    }
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { began_ns: skep_sys::clock::boottime_ns() }
    }

    /// Whether it should end now.
    pub(super) fn is_over(&self, access: &Access<'_, '_>) -> bool {
        let others = if access.is_waited_for() { Others::Wait } else { Others::No };
        is_over(skep_sys::clock::boottime_ns().saturating_sub(self.began_ns), others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_nobody_waits_for_may_last_longer() {
        let between = BATCH_NS + 1;
        assert!(is_over(between, Others::Wait) && !is_over(between, Others::No));
        assert!(!is_over(BATCH_NS, Others::Wait));
        assert!(is_over(BATCH_ALONE_NS + 1, Others::No));
    }
}
