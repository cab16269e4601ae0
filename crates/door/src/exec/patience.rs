//! How long a transaction of several commands may last.

use crate::call::Access;
use crate::limits::{BATCH_ALONE_NS, BATCH_NS};

/// Commands between two looks at the clock, which cost a tenth of a command each.
const LOOK_EVERY: u32 = 8;

/// Measures a transaction. What it costs to begin and end one, and to copy pages that several commands change, is the less
/// for each the more there are; but others wait for the writer's lock meanwhile, if there are any.
#[derive(Debug)]
pub(super) struct Patience {
    began_ns: u64,
    /// Commands since the clock was looked at.
    unseen: u32,
}

/// Whether somebody else could go on if the transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Wait,
    /// For transactions before this one, too, which all are one.
    WaitForLong,
    No,
}

/// What a look at the transaction shows: now, in nanoseconds, and the others.
type Seen = (u64, Others);

impl Patience {
    pub(super) fn new() -> Self {
        Self { began_ns: skep_sys::clock::boottime_ns(), unseen: 0 }
    }

    /// After a command: whether the transaction should end now.
    pub(super) fn is_over(&mut self, access: &Access<'_, '_>) -> bool {
        self.ends(|| {
            let others = match (access.is_waited_for(), access.is_of_group()) {
                (false, _) => Others::No,
                (true, false) => Others::Wait,
                (true, true) => Others::WaitForLong,
            };
            (skep_sys::clock::boottime_ns(), others)
        })
    }

    fn ends(&mut self, look: impl FnOnce() -> Seen) -> bool {
        self.unseen += 1;
        if self.unseen < LOOK_EVERY {
            return false;
        }
        self.unseen = 0;
        let (now_ns, others) = look();
        let most = match others {
            Others::WaitForLong => return true,
            Others::Wait => BATCH_NS,
            Others::No => BATCH_ALONE_NS,
        };
        now_ns.saturating_sub(self.began_ns) > most
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A transaction of commands that take so long each: how many there were when it ended, and how many of them began
    /// after somebody had come to wait (`wanted_ns`).
    fn ended(command_ns: u64, wanted_ns: u64, wait: Others) -> (u64, u64) {
        let mut patience = Patience { began_ns: 7, unseen: 0 };
        let (mut lasted_ns, mut commands, mut late) = (0, 0, 0);
        loop {
            late += u64::from(lasted_ns >= wanted_ns);
            lasted_ns += command_ns;
            commands += 1;
            let others = if lasted_ns >= wanted_ns { wait } else { Others::No };
            if patience.ends(|| (7 + lasted_ns, others)) {
                return (commands, late);
            }
        }
    }

    #[test]
    fn a_transaction_that_nobody_waits_for_may_last_longer() {
        assert_eq!(ended(1_000, 0, Others::Wait).0, 1_008);
        assert_eq!(ended(1_000, u64::MAX, Others::Wait).0, 4_008);
    }

    #[test]
    fn of_slow_commands_there_are_no_more_than_between_two_looks() {
        assert_eq!(ended(BATCH_ALONE_NS + 1, u64::MAX, Others::Wait).0, u64::from(LOOK_EVERY));
    }

    #[test]
    fn who_may_have_waited_for_earlier_transactions_waits_for_a_few_commands() {
        for wanted_ns in (0..3_000_000).step_by(100_000) {
            let (commands, late) = ended(1_000, wanted_ns, Others::WaitForLong);
            assert!(
                late <= u64::from(LOOK_EVERY),
                "{commands} commands, {late} of them while somebody waited"
            );
        }
    }

    proptest! {
        /// The bound that workers are promised.
        #[test]
        fn who_waits_sees_it_end_after_a_millisecond_or_a_few_commands(
            command_ns in 100_u64..10_000_000,
            wanted_ns in 0_u64..5_000_000,
        ) {
            let few = u64::from(LOOK_EVERY);
            let (commands, late) = ended(command_ns, wanted_ns, Others::Wait);
            let still_short = commands * command_ns <= BATCH_NS + few * command_ns;
            prop_assert!(late <= few || still_short, "{commands} commands, {late} of them while somebody waited");
            prop_assert!(commands * command_ns <= BATCH_ALONE_NS + few * command_ns, "{commands} commands");
        }
    }
}
