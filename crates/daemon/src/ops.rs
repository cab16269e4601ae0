//! Commands under way, and who waits for them.

use std::collections::BTreeMap;

use skep_api::Event;
use skep_core::{AppId, OpId, Outcome};
use tokio::sync::mpsc;

/// News of one command.
#[derive(Debug)]
pub(crate) enum News {
    /// Something happened to its app.
    Notice(Box<Event>),
    /// All that it asked for has been set going.
    Launched,
    /// Its end.
    Done(Outcome),
}

/// Everything that somebody waits for.
#[derive(Debug)]
pub(crate) struct Ops {
    next: u64,
    waiting: BTreeMap<OpId, Waiting>,
    /// The same by app: a notice finds who waits for it among ten thousand.
    by_app: BTreeMap<AppId, Vec<OpId>>,
}

#[derive(Debug)]
struct Waiting {
    app: Option<AppId>,
    // Unbounded: one command causes a few events for each of its app's workers, and ends.
    sender: mpsc::UnboundedSender<News>,
}

impl Ops {
    /// Numbers begin anew with each daemon of a keeper, far from those of the daemon before.
    pub(crate) fn new(generation: u64) -> Ops {
        Ops { next: generation << 32, waiting: BTreeMap::new(), by_app: BTreeMap::new() }
    }

    /// A number for a new command, and its news.
    pub(crate) fn begin(&mut self, app: Option<AppId>) -> (OpId, mpsc::UnboundedReceiver<News>) {
        self.next += 1;
        let op = OpId(self.next);
        let (sender, receiver) = mpsc::unbounded_channel();
        self.waiting.insert(op, Waiting { app, sender });
        if let Some(app) = app {
            self.by_app.entry(app).or_default().push(op);
        }
        (op, receiver)
    }

    pub(crate) fn cancel(&mut self, op: OpId) {
        self.take(op);
    }

    fn take(&mut self, op: OpId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&op)?;
        if let Some(app) = waiting.app
            && let Some(ops) = self.by_app.get_mut(&app)
        {
            ops.retain(|known| *known != op);
            if ops.is_empty() {
                self.by_app.remove(&app);
            }
        }
        Some(waiting)
    }

    pub(crate) fn notice(&mut self, app: AppId, event: &Event) {
        let ops = self.by_app.get(&app).map(Vec::as_slice).unwrap_or_default();
        for waiting in ops.iter().filter_map(|op| self.waiting.get(op)) {
            // A client that went away is no reason to stop.
            let _ = waiting.sender.send(News::Notice(Box::new(event.clone())));
        }
    }

    pub(crate) fn launched(&mut self, op: OpId) {
        if let Some(waiting) = self.waiting.get(&op) {
            let _ = waiting.sender.send(News::Launched);
        }
    }

    pub(crate) fn done(&mut self, op: OpId, outcome: Outcome) {
        if let Some(waiting) = self.take(op) {
            let _ = waiting.sender.send(News::Done(outcome));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_api::EventKind;

    #[test]
    fn a_command_hears_of_its_own_app_until_it_ends() {
        let mut ops = Ops::new(3);
        let (op, mut news) = ops.begin(Some(AppId(1)));
        let (other, mut silence) = ops.begin(Some(AppId(2)));
        assert_eq!((op.0 >> 32, other.0 - op.0), (3, 1));
        ops.notice(AppId(1), &Event::new(1, 1, EventKind::Other, "x"));
        ops.launched(op);
        ops.done(op, Outcome::Done);
        assert!(matches!(news.try_recv(), Ok(News::Notice(_))));
        assert!(matches!(news.try_recv(), Ok(News::Launched)));
        assert!(matches!(news.try_recv(), Ok(News::Done(Outcome::Done))));
        assert!(news.try_recv().is_err() && silence.try_recv().is_err());
    }
}
