//! What every service must do, whatever it is written in and however it listens: the one check of the themes
//! `cluster` and `languages`.

use std::collections::BTreeSet;
use std::io;

use crate::deadline::Deadline;
use crate::process;
use crate::skep::{Skep, Start};
use crate::view::App;

/// An app that can be asked who answers.
pub struct Service<'a> {
    /// Where it runs.
    pub skep: &'a Skep,
    /// How it is started, without `-i`.
    pub start: Start,
    /// One request on a connection of its own; the pid that answered.
    pub ask: Box<dyn Fn() -> io::Result<u32> + 'a>,
    /// Whether its address is nobody's.
    pub is_free: Box<dyn Fn() -> bool + 'a>,
}

impl std::fmt::Debug for Service<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("start", &self.start).finish_non_exhaustive()
    }
}

impl Service<'_> {
    /// All workers serve; a crash is replaced; it scales up and down; after a stop the address is free; it starts
    /// again; after a delete nothing is left.
    #[track_caller]
    pub fn check_life(&self) {
        let name = self.start.name();
        let app = self.skep.start(&self.start.clone().instances(2));
        assert!(app.is_settled(2), "start returns when all is ready: {app:#?}");
        self.check_all_serve(&app);

        let crashed = self.skep.crash(name, 1);
        assert_eq!(crashed.slots[0].pid, app.slots[0].pid, "the sibling is left alone");
        self.check_all_serve(&crashed);

        self.skep.ok(["scale", name, "+1"]);
        self.check_all_serve(&self.skep.settled(name, 3));
        self.skep.ok(["scale", name, "1"]);
        self.check_all_serve(&self.skep.settled(name, 1));

        let workers = self.skep.app(name).pids();
        self.skep.ok(["stop", name]);
        let stopped = self.skep.app(name);
        assert_eq!((stopped.status.as_str(), stopped.pids()), ("stopped", vec![]), "{stopped:#?}");
        workers.into_iter().for_each(process::wait_gone);
        self.until_free();

        self.skep.ok(["start", name]);
        self.check_all_serve(&self.skep.settled(name, 1));
        self.skep.ok(["delete", name]);
        assert!(self.skep.apps().is_empty(), "a deleted app is forgotten");
        self.until_free();
    }

    /// Nobody holds the address any more. (The kernel lets go of a socket when its last holder has closed it, which the
    /// keeper does a moment after the daemon told it to.)
    #[track_caller]
    fn until_free(&self) {
        Deadline::until("the address is free", || (self.is_free)().then_some(()));
    }

    /// Every worker of the app answers, and nobody else does.
    #[track_caller]
    pub fn check_all_serve(&self, app: &App) {
        let pids = app.pids();
        let mut missing: BTreeSet<u32> = pids.iter().copied().collect();
        Deadline::until(&format!("each of the workers {pids:?} answers"), || {
            let answered =
                (self.ask)().unwrap_or_else(|error| panic!("a request of {} failed: {error}", app.name));
            let owner = owner(answered, &pids);
            missing.remove(&owner.unwrap_or_else(|| panic!("{answered} answered, no worker of {pids:?}")));
            missing.is_empty().then_some(())
        });
    }
}

/// The worker that a process is, or is a descendant of (gunicorn answers from a child of its own).
fn owner(mut pid: u32, workers: &[u32]) -> Option<u32> {
    while !workers.contains(&pid) {
        pid = process::parent(pid).filter(|parent| *parent > 1)?;
    }
    Some(pid)
}
