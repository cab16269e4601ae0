//! How a fake process behaves, decided at its birth.

use skep_core::{ExitStatus, Span};

/// A process's character. Times count from its birth unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// It comes to life at all.
    pub spawns: bool,
    /// It listens then.
    pub listens: Option<Span>,
    /// It says `ready` then.
    pub announces: Option<Span>,
    /// It ends by itself then.
    pub exits: Option<(Span, ExitStatus)>,
    /// It ends so long after the polite stop; none: it ignores it.
    pub stops: Option<Span>,
    /// What it does when asked to drain.
    pub drains: Draining,
    /// It handles the stop signal, and says so when it is asked to finish before a stop.
    pub stops_itself: bool,
    /// From then on its probes fail.
    pub sick: Option<Span>,
    /// It is gone so long after `SIGKILL` (a process that hangs in the kernel takes long).
    pub dies: Span,
}

/// What a process does when asked to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draining {
    /// Nothing.
    Ignores,
    /// It has nothing left to serve so long after, and lives on.
    Reports(Span),
    /// It ends so long after.
    Ends(Span),
}

// === impl Behaviour ===

impl Default for Behaviour {
    fn default() -> Self {
        Self::healthy()
    }
}

impl Behaviour {
    /// Listens and announces after 40 ms, lives until it is told to stop, and does what it is told.
    #[must_use]
    pub fn healthy() -> Self {
        Self {
            spawns: true,
            listens: Some(Span::from_millis(40)),
            announces: Some(Span::from_millis(40)),
            exits: None,
            stops: Some(Span::from_millis(5)),
            drains: Draining::Ends(Span::from_millis(20)),
            stops_itself: false,
            sick: None,
            dies: Span::from_millis(1),
        }
    }

    /// Cannot be executed.
    #[must_use]
    pub fn unspawnable() -> Self {
        Self { spawns: false, ..Self::healthy() }
    }

    /// Ends with `code` after `after`; if that is sooner than 40 ms, without ever having listened.
    #[must_use]
    pub fn exits_after(after: Span, code: i32) -> Self {
        let healthy = Self::healthy();
        let listens = healthy.listens.filter(|at| *at < after);
        Self { listens, announces: listens, exits: Some((after, ExitStatus::Code(code))), ..healthy }
    }

    /// Lives, but never listens or announces anything.
    #[must_use]
    pub fn silent() -> Self {
        Self { listens: None, announces: None, ..Self::healthy() }
    }

    /// Listens and announces only after `after`.
    #[must_use]
    pub fn slow(after: Span) -> Self {
        Self { listens: Some(after), announces: Some(after), ..Self::healthy() }
    }

    /// Listens, but its probes fail from that age on.
    #[must_use]
    pub fn sick(after: Span) -> Self {
        Self { sick: Some(after), ..Self::healthy() }
    }

    /// Only `SIGKILL` ends it.
    #[must_use]
    pub fn stubborn() -> Self {
        Self { stops: None, drains: Draining::Ignores, ..Self::healthy() }
    }

    /// Not even `SIGKILL` ends it, for so long.
    #[must_use]
    pub fn stuck(dies: Span) -> Self {
        Self { dies, ..Self::stubborn() }
    }
}
