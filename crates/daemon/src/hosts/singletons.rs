//! Apps of which there may be only one over several hosts: a lease in the store decides whose it is.
//!
//! The holder renews its lease long before it ends. It counts from the moment of asking, on its own boot clock, so its
//! idea of the end is never later than the store's. Without a renewal the app's permission is taken away early enough for
//! its workers to end in peace; the keeper, who is not concerned with stores and outlives the daemon, has orders to kill
//! them a moment before the lease can be another's. Where lease and clocks end, fencing tokens begin: a machine that
//! stands still as a whole keeps no time.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skep_api::{EventKind, SingletonView};
use skep_core::{AppId, Event, Now, Permit, Singleton, Span, WorkerId};
use skep_keeper::wire::Request;
use tokio::task::AbortHandle;

use super::Link;
use super::store::{Lease, LeaseRequest};
use crate::driver::{Driver, Shared, now};
use crate::patrol::until;
use crate::worker::Worker;

/// The keeper's notes begin with this; the app's number follows.
pub(crate) const NOTE_KEY: &str = "lease:";
/// Before the end of the lease the keeper kills what is left: clocks of two machines may differ in pace by a percent.
const EARLY_PERCENT: u64 = 2;
/// Who has the lease renews it so many times in its span.
const RENEWALS: u64 = 5;
/// Who waits for a lease asks so often, and so often a store is asked that did not answer.
const ASKED_EACH: Span = Span::from_millis(1_000);
/// So long the end of skep waits for a store to take leases back.
const LEAVING: Duration = Duration::from_secs(1);
/// An app whose store has not answered for so long does not keep whoever started it waiting.
const PATIENCE: Span = Span::from_secs(10);

/// What is known of such apps.
#[derive(Debug, Default)]
pub(crate) struct Singletons {
    /// Those whose lease is held or asked for.
    asked: BTreeMap<AppId, Asked>,
    /// What daemons before this one held.
    noted: BTreeMap<AppId, Held>,
}

#[derive(Debug)]
struct Asked {
    task: AbortHandle,
    link: Rc<Link>,
    lease_name: String,
    held: Option<Held>,
    /// Who has it else.
    holder: Option<String>,
}

/// A lease that is ours; a note of it lies with the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) token: u64,
    /// Unless it is renewed, workers are asked to stop then (boot clock, nanoseconds).
    stop_ns: u64,
    /// And killed then.
    kill_ns: u64,
}

/// How long a lease is asked for, and what of it is for running.
#[derive(Debug, Clone, Copy)]
struct Spans {
    run: Span,
    /// With time for workers to end.
    whole: Span,
    kill: Span,
}

impl Spans {
    fn of(run: Span, farewell: Span) -> Self {
        // A second for everything that is not counted: a signal's way, a process that dies.
        let kill = Span(run.0 + farewell.0 + Span::from_secs(1).0);
        Self { run, kill, whole: Span(kill.0 + kill.0 * EARLY_PERCENT / 100) }
    }
}

impl Driver {
    /// At the start: what daemons before this one held.
    pub(crate) fn take_back_leases(&mut self, notes: Vec<(AppId, Held)>) {
        self.hosts.singletons.noted = notes.into_iter().collect();
    }

    /// Asks for what is needed, lets go of what is not. Without a store every host is the only one.
    pub(crate) fn sync_singletons(&mut self) {
        let apps = self.fleet.singletons();
        if apps.is_empty() && self.hosts.singletons.is_idle() {
            return;
        }
        for app in &apps {
            let asked = self.hosts.singletons.asked.contains_key(&app.app);
            match self.hosts.link.clone() {
                None if !self.hosts.are_several() => self.permit(app, Permit::Granted),
                // The store is configured and cannot be read: nobody knows.
                None => self.permit(app, Permit::Refused),
                Some(link) if app.needed && !asked => self.begin_asking(app, link),
                Some(_) => {}
            }
        }
        let needed: BTreeSet<AppId> = apps.iter().filter(|app| app.needed).map(|app| app.app).collect();
        let done = |app: &&AppId| !needed.contains(app);
        let asked: Vec<AppId> = self.hosts.singletons.asked.keys().filter(done).copied().collect();
        for app in asked {
            self.let_go(app);
        }
    }

    fn permit(&mut self, app: &Singleton, permit: Permit) {
        if app.permit != permit {
            self.handle(Event::Permit { app: app.app, permit });
        }
    }

    fn begin_asking(&mut self, app: &Singleton, link: Rc<Link>) {
        let noted = self.hosts.singletons.noted.remove(&app.app).filter(|held| now().0 < held.stop_ns);
        let asker = Asker {
            driver: self.me.upgrade().expect("the driver is alive while it works"),
            link: Rc::clone(&link),
            app: app.app,
            lease_name: lease_name(&app.name),
            spans: Spans::of(link.lease, app.farewell),
        };
        let task = tokio::task::spawn_local(asker.run(noted)).abort_handle();
        let lease_name = lease_name(&app.name);
        let asked = Asked { task, link, lease_name, held: noted, holder: None };
        self.hosts.singletons.asked.insert(app.app, asked);
        match noted {
            Some(held) => self.guard(app.app, held),
            None if app.permit != Permit::Unknown => {
                self.handle(Event::Permit { app: app.app, permit: Permit::Unknown });
            }
            None => {}
        }
    }

    /// Nothing of it runs here, and nothing shall: another host need not wait.
    fn let_go(&mut self, app: AppId) {
        let Some(asked) = self.hosts.singletons.asked.remove(&app) else { return };
        asked.task.abort();
        self.ask(&Request::Drop { key: note_key(app) });
        if let Some(held) = asked.held {
            tokio::task::spawn_local(async move {
                // An end that nobody hears of comes by itself.
                drop(asked.link.store.release(&asked.link.asker, &asked.lease_name, held.token).await);
            });
        }
        self.handle(Event::Permit { app, permit: Permit::Unknown });
    }

    /// Another store, name or time: everything is asked anew, and until then nothing runs.
    pub(super) fn ask_all_anew(&mut self) {
        let all: Vec<AppId> = self.hosts.singletons.asked.keys().copied().collect();
        for app in all {
            if let Some(asked) = self.hosts.singletons.asked.remove(&app) {
                asked.task.abort();
            }
        }
        self.sync_singletons();
    }

    /// The lease is ours, until then.
    fn lease_is_ours(&mut self, app: AppId, held: Held) {
        let Some(asked) = self.hosts.singletons.asked.get_mut(&app) else { return };
        let new = asked.held.is_none_or(|before| before.token != held.token);
        (asked.held, asked.holder) = (Some(held), None);
        self.guard(app, held);
        if new {
            let text = |place: &str| format!("{place} is this host's, with token {}", held.token);
            let event =
                skep_api::Event::new(0, crate::driver::unix_ms(), EventKind::SingletonHere, String::new());
            self.publish(event, Some(app), None, text);
            self.handle(Event::Permit { app, permit: Permit::Granted });
        }
    }

    /// The lease is not ours (any more).
    fn lease_is_not_ours(&mut self, app: AppId, holder: Option<String>, permit: Permit) {
        let Some(asked) = self.hosts.singletons.asked.get_mut(&app) else { return };
        let news = asked.held.is_some() || (holder.is_some() && asked.holder != holder);
        (asked.held, asked.holder) = (None, holder.or(asked.holder.take()));
        if news {
            let holder = asked.holder.clone();
            self.ask(&Request::Drop { key: note_key(app) });
            let text = |place: &str| match holder {
                Some(holder) => format!("{place} runs on another host: {holder}"),
                None => format!("{place} is stopped here: its lease was not renewed in time"),
            };
            let kind = EventKind::SingletonElsewhere;
            let event = skep_api::Event::new(0, crate::driver::unix_ms(), kind, String::new());
            self.publish(event, Some(app), None, text);
        }
        let known = self.fleet.singletons().into_iter().find(|known| known.app == app);
        if known.is_some_and(|known| known.permit != permit) {
            self.handle(Event::Permit { app, permit });
        }
    }

    /// The keeper kills its workers when the lease ends, whatever becomes of us.
    fn guard(&mut self, app: AppId, held: Held) {
        let note = serde_json::to_vec(&held).expect("numbers");
        self.ask(&Request::Store { key: note_key(app), note });
        let of_app = self.workers.values().filter(|worker| worker.app == app);
        let workers: Vec<WorkerId> = of_app.map(Worker::id).collect();
        for worker in workers {
            self.ask(&Request::Expire { child: u64::from(worker.0), at_ns: held.kill_ns });
        }
    }

    /// A worker of a singleton is about to be started: what it is told, and until when it may live.
    pub(crate) fn lease_of(&self, app: AppId) -> Option<(u64, u64)> {
        let singletons = &self.hosts.singletons;
        let asked = singletons.asked.get(&app).and_then(|asked| asked.held);
        let held = asked.or(singletons.noted.get(&app).copied()).filter(|held| now().0 < held.stop_ns)?;
        Some((held.token, held.kill_ns))
    }

    /// Singletons for whoever looks.
    pub(crate) fn singleton_views(&self) -> Vec<SingletonView> {
        let view = |app: Singleton| {
            let asked = self.hosts.singletons.asked.get(&app.app);
            SingletonView {
                ours: app.permit == Permit::Granted,
                needed: app.needed,
                holder: asked.and_then(|asked| asked.holder.clone()),
                token: asked.and_then(|asked| asked.held).map(|held| held.token),
                app: app.name,
            }
        };
        self.fleet.singletons().into_iter().map(view).collect()
    }

    /// One of them.
    pub(crate) fn singleton_view(&self, app: AppId) -> Option<SingletonView> {
        let at = self.fleet.singletons().iter().position(|known| known.app == app)?;
        self.singleton_views().into_iter().nth(at)
    }
}

/// Skep ends, and nothing of it runs any more: other hosts need not wait for leases to end.
pub(crate) async fn leave(driver: &Shared) {
    let asked = std::mem::take(&mut driver.borrow_mut().hosts.singletons.asked);
    let all = async {
        for asked in asked.into_values() {
            asked.task.abort();
            if let Some(held) = asked.held {
                // Those that cannot be let go end by themselves.
                drop(asked.link.store.release(&asked.link.asker, &asked.lease_name, held.token).await);
            }
        }
    };
    drop(tokio::time::timeout(LEAVING, all).await);
}

impl Singletons {
    fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }
}

/// The task that asks for one app's lease, again and again.
struct Asker {
    driver: Shared,
    link: Rc<Link>,
    app: AppId,
    lease_name: String,
    spans: Spans,
}

impl Asker {
    async fn run(self, noted: Option<Held>) {
        let mut held = noted;
        let began = now();
        loop {
            let asked_at = now();
            let end = held.map(|held| Now(held.stop_ns));
            let answer = tokio::select! {
                biased;
                () = until(end), if end.is_some() => None,
                answer = self.ask(held) => Some(answer),
            };
            let answered = matches!(answer, Some(Ok(_)));
            held = self.judge(asked_at, began, held, answer);
            let pause = if held.is_some() && answered { self.spans.run.0 / RENEWALS } else { ASKED_EACH.0 };
            let end = held.map(|held| Now(held.stop_ns));
            tokio::select! {
                () = tokio::time::sleep(Duration::from_nanos(pause)) => {}
                () = until(end), if end.is_some() => {}
            }
        }
    }

    async fn ask(&self, held: Option<Held>) -> Result<Lease, String> {
        let request = LeaseRequest {
            name: &self.lease_name,
            time: Duration::from_nanos(self.spans.whole.0),
            // What this host may have had before is another lease: its end may still be on its way to the store.
            renew: held.map(|held| held.token),
        };
        self.link.store.lease(&self.link.asker, &request).await
    }

    /// What follows from an answer, or from none before the end of what is held.
    fn judge(
        &self,
        asked_at: Now,
        began: Now,
        held: Option<Held>,
        answer: Option<Result<Lease, String>>,
    ) -> Option<Held> {
        let mut driver = self.driver.borrow_mut();
        let problem = match answer {
            Some(Ok(answer)) => {
                driver.hear_of_store(None);
                return self.judge_lease(&mut driver, asked_at, answer);
            }
            Some(Err(problem)) => problem,
            None => "no answer".to_owned(),
        };
        let over = held.is_some_and(|held| now().0 >= held.stop_ns);
        let patient = held.is_none() && now() < began + PATIENCE;
        if !patient {
            driver.hear_of_store(Some(problem));
        }
        if over || (held.is_none() && !patient) {
            driver.lease_is_not_ours(self.app, None, Permit::Refused);
        }
        held.filter(|_| !over)
    }

    fn judge_lease(&self, driver: &mut Driver, asked_at: Now, answer: Lease) -> Option<Held> {
        let (stop_ns, kill_ns) = ((asked_at + self.spans.run).0, (asked_at + self.spans.kill).0);
        match answer {
            // It took so long that it is as good as over.
            Lease::Ours { .. } if now().0 >= stop_ns => {
                driver.lease_is_not_ours(self.app, None, Permit::Unknown);
                None
            }
            Lease::Ours { token } => {
                let held = Held { token, stop_ns, kill_ns };
                driver.lease_is_ours(self.app, held);
                Some(held)
            }
            Lease::Theirs { holder } => {
                driver.lease_is_not_ours(self.app, Some(holder), Permit::Refused);
                None
            }
        }
    }
}

fn lease_name(app: &str) -> String {
    format!("app/{app}")
}

fn note_key(app: AppId) -> Vec<u8> {
    format!("{NOTE_KEY}{}", app.0).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_asked_to_stop_then_killed_and_only_then_the_lease_ends() {
        for (run_ms, farewell_ms) in [(3_000, 200), (15_000, 3_200), (15_000, 120_000)] {
            let spans = Spans::of(Span::from_millis(run_ms), Span::from_millis(farewell_ms));
            assert!(spans.run.0 + Span::from_millis(farewell_ms).0 < spans.kill.0, "{spans:?}");
            assert!(spans.kill.0 + Span::from_millis(50).0 < spans.whole.0, "{spans:?}");
        }
    }
}
