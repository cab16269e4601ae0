//! What was seen to happen, so that a test can tell whether its histories are worth anything.

use skep_core::{Effect, Leave, Notice, Outcome, ProbeKind, ReadyHow, Reason};
use std::collections::BTreeSet;

/// Kinds of things that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sights(BTreeSet<&'static str>);

/// Everything that can be seen: random histories must come across all of it.
pub(crate) const ALL: [&str; 43] = [
    "app created",
    "app deleted",
    "close slot",
    "drain",
    "drain before a stop",
    "attended again",
    "drain for a successor",
    "draining",
    "exited",
    "failed: dependency",
    "failed: unready",
    "failed: exited",
    "failed: gave up",
    "failed: not ready",
    "failed: spawn",
    "failed: unkillable",
    "finished",
    "gave up",
    "launched",
    "not ready",
    "op done",
    "op rejected",
    "op superseded",
    "persist",
    "probe: liveness",
    "probe: readiness",
    "ready: adopted",
    "ready: alive",
    "ready: announced",
    "ready: listening",
    "ready: probed",
    "rollout done",
    "rollout failed",
    "rollout started",
    "rollout step",
    "signalled",
    "spawn failed",
    "spawned",
    "waiting for another",
    "unattended",
    "unhealthy",
    "unready",
    "waiting restart",
];

// === impl Sights ===

impl Sights {
    /// Notes what an effect shows.
    pub fn note(&mut self, effect: &Effect) {
        let kind = match effect {
            Effect::Persist => "persist",
            Effect::Drain { leave: Leave::Stopped, .. } => "drain before a stop",
            Effect::Drain { successor: None, .. } => "drain",
            Effect::Drain { successor: Some(_), .. } => "drain for a successor",
            Effect::CloseSlot { .. } => "close slot",
            Effect::Probe { kind: ProbeKind::Readiness, .. } => "probe: readiness",
            Effect::Probe { kind: ProbeKind::Liveness, .. } => "probe: liveness",
            Effect::Attend { ready: true, .. } => "attended again",
            Effect::Attend { ready: false, .. } => "unattended",
            Effect::Notice(notice) => notice_kind(notice),
            Effect::OpDone { outcome, .. } => outcome_kind(outcome),
            Effect::Spawn { .. }
            | Effect::Signal { .. }
            | Effect::Discard { .. }
            | Effect::CloseApp { .. } => return,
        };
        self.0.insert(kind);
    }

    /// Adds what another history showed.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// What was never seen.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        ALL.into_iter().filter(|kind| !self.0.contains(kind)).collect()
    }
}

fn notice_kind(notice: &Notice) -> &'static str {
    match notice {
        Notice::AppCreated { .. } => "app created",
        Notice::WaitingFor { .. } => "waiting for another",
        Notice::AppDeleted { .. } => "app deleted",
        Notice::Spawned { .. } => "spawned",
        Notice::SpawnFailed { .. } => "spawn failed",
        Notice::Ready { how: ReadyHow::Listening, .. } => "ready: listening",
        Notice::Ready { how: ReadyHow::Announced, .. } => "ready: announced",
        Notice::Ready { how: ReadyHow::Alive, .. } => "ready: alive",
        Notice::Ready { how: ReadyHow::Adopted, .. } => "ready: adopted",
        Notice::Ready { how: ReadyHow::Probed, .. } => "ready: probed",
        Notice::Unready { .. } => "unready",
        Notice::Unhealthy { .. } => "unhealthy",
        Notice::NotReady { .. } => "not ready",
        Notice::Draining { .. } => "draining",
        Notice::Signalled { .. } => "signalled",
        Notice::Exited { .. } => "exited",
        Notice::WaitingRestart { .. } => "waiting restart",
        Notice::GaveUp { .. } => "gave up",
        Notice::Finished { .. } => "finished",
        Notice::Launched { .. } => "launched",
        Notice::RolloutStarted { .. } => "rollout started",
        Notice::RolloutStep { .. } => "rollout step",
        Notice::RolloutDone { .. } => "rollout done",
        Notice::RolloutFailed { .. } => "rollout failed",
    }
}

fn outcome_kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "op done",
        Outcome::Superseded { .. } => "op superseded",
        Outcome::Rejected(_) => "op rejected",
        Outcome::Failed(failure) => match failure.reason {
            Reason::Exited { .. } => "failed: exited",
            Reason::Unready { .. } => "failed: unready",
            Reason::Unwell { .. } => "failed: unwell",
            Reason::NotReady { .. } => "failed: not ready",
            Reason::SpawnFailed { .. } => "failed: spawn",
            Reason::GaveUp { .. } => "failed: gave up",
            Reason::Dependency { .. } => "failed: dependency",
            Reason::Unkillable => "failed: unkillable",
        },
    }
}
