//! What becomes of a job's runs when another daemon takes over.

use super::Job;
use super::runs::ended_by;
use crate::machine::Turn;
use crate::run::{Phase, Place, Under};
use crate::{CANCEL_GRACE_MS, Effect, RunId, Start};

impl Job {
    /// Waits were measured with a boot clock that may be another one now.
    pub(crate) fn restore_clocks(&mut self, turn: &Turn<'_>) {
        let most = self.record.definition.as_ref().map_or(0, |definition| {
            definition.jitter_ms.max(definition.backoff.most_ms).max(definition.backoff.first_ms)
        });
        for run in &mut self.record.runs {
            if let Phase::Waiting { from, from_boot_ms, seatless_since_boot_ms } = &mut run.phase {
                let wait = u64::try_from(from.since(turn.now.wall)).unwrap_or(0).min(most);
                *from_boot_ms = turn.now.boot_ms.saturating_add(wait);
                *seatless_since_boot_ms = None;
            }
        }
    }

    /// What was under way goes on where somebody still knows of it, and is lost where nobody does.
    pub(crate) fn begin(&mut self, turn: &mut Turn<'_>, same_keeper: bool) {
        let mut index = 0;
        while index < self.record.runs.len() {
            let run = self.record.runs[index].clone();
            let run_id = self.run_id(&run);
            let known = match run.under().map(|under| under.place) {
                None => true,
                Some(Place::Worker(worker)) => turn.seats.has(worker),
                Some(Place::Process) => same_keeper,
                Some(Place::Request) => false,
            };
            if !known {
                let many = self.record.runs.len();
                match run.phase {
                    Phase::Ending { why, .. } => self.finish(turn, index, ended_by(why), Some(why), None),
                    Phase::Waiting { .. } | Phase::Claiming | Phase::Running(_) => self.lose(turn, index),
                }
                index += usize::from(self.record.runs.len() == many);
                continue;
            }
            match run.phase {
                Phase::Waiting { .. } => {}
                Phase::Claiming => {
                    self.out.push(Effect::Claim { run: run_id, above: turn.last_token() });
                }
                Phase::Running(under) => self.start_again(turn, run_id, &under, run.by_hand),
                Phase::Ending { under, why, .. } => {
                    self.start_again(turn, run_id, &under, run.by_hand);
                    self.ask_to_end(index, &under, why, false);
                    // Whether it was ever begun is not known: it has its full time to answer.
                    let until_boot_ms = turn.now.boot_ms.saturating_add(CANCEL_GRACE_MS);
                    self.record.runs[index].phase = Phase::Ending { under, why, until_boot_ms };
                }
            }
            index += 1;
        }
    }

    fn start_again(&mut self, turn: &mut Turn<'_>, run: RunId, under: &Under, by_hand: bool) {
        if let Place::Worker(worker) = under.place {
            turn.seats.take(worker);
        }
        self.out.push(Effect::Start(Start { run, token: under.token, place: under.place, by_hand }));
    }
}
