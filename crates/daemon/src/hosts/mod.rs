//! Several hosts that share jobs and singletons: whose a fire time is, and where an app runs, is decided in a store that
//! all of them reach.
//!
//! A daemon whose home says nothing of a store connects to nothing. The store is asked beside the loop; what it says comes
//! back as an event.

mod address;
mod config;
mod postgres;
mod redis;
mod singletons;
mod store;

use std::rc::Rc;
use std::time::Duration;

use skep_api::{ErrorBody, ErrorCode, EventKind, HostsChange, HostsView};
use skep_core::Span;
use skep_jobs::{Claim, Event, RunId};

use crate::driver::{Driver, Shared, now};
use config::Config;
use singletons::Singletons;
pub(crate) use singletons::{Held, NOTE_KEY, leave};
use store::{Answer, Asker, Question, Store};

/// A fire time is asked for so long before the store counts as unreachable. What was asked for in vain may be ours
/// all the same: its answer got lost.
const PATIENCE: Span = Span::from_secs(10);
/// Between two questions, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What this host knows of the others.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    /// Read when it is first needed.
    config: Option<Config>,
    link: Option<Rc<Link>>,
    pub(crate) singletons: Singletons,
    /// Why the store could not be asked last time.
    problem: Option<String>,
}

/// A store, and as whom it is asked.
#[derive(Debug)]
struct Link {
    store: Store,
    asker: Asker,
    /// For people.
    place: String,
    /// So long a singleton runs without its lease being renewed.
    lease: Span,
}

impl Hosts {
    /// A store is configured.
    pub(crate) fn are_several(&self) -> bool {
        self.config.as_ref().is_some_and(|config| !config.store.is_empty())
    }

    /// Whether the store answered the last question; none without a store.
    pub(crate) fn is_reachable(&self) -> Option<bool> {
        self.are_several().then_some(self.problem.is_none())
    }

    fn take_on(&mut self, config: Config) {
        self.link = match config.store.parse::<address::Address>() {
            Ok(address) => Some(Rc::new(Link {
                place: address.to_string(),
                lease: config.lease(),
                store: Store::new(address),
                asker: Asker { prefix: config.prefix().to_owned(), host: config.host() },
            })),
            Err(problem) => {
                self.problem = Some(problem).filter(|_| !config.store.is_empty());
                None
            }
        };
        self.config = Some(config);
    }
}

impl Driver {
    /// Reads the home's configuration, at the daemon's start.
    pub(crate) fn read_hosts(&mut self) {
        match config::load(&self.site.home) {
            Ok(config) => self.hosts.take_on(config),
            Err(problem) => {
                // Jobs that hosts share must not run everywhere because of a broken file.
                self.hosts.take_on(Config::unknown());
                self.tell(
                    EventKind::Other,
                    None,
                    format!("the store that hosts share is unknown: {problem}"),
                );
                self.hosts.problem = Some(problem);
            }
        }
    }

    /// Changes how this host takes part.
    pub(crate) fn configure_hosts(&mut self, change: HostsChange) -> Result<(), ErrorBody> {
        if self.site.foreground {
            return Err(ErrorBody::new(ErrorCode::BadRequest, "a store that hosts share needs a home"));
        }
        let config = config::change(&self.site.home, change)?;
        self.hosts.problem = None;
        self.hosts.take_on(config);
        self.sync_jobs();
        self.ask_all_anew();
        Ok(())
    }

    /// The store answered, or did not: told once when that changes.
    fn hear_of_store(&mut self, problem: Option<String>) {
        let before = std::mem::replace(&mut self.hosts.problem, problem);
        match (&self.hosts.problem, before) {
            (Some(problem), None) => {
                let text = format!(
                    "the store that hosts share cannot be reached: {problem}; jobs that they share are skipped"
                );
                crate::diary::note(format_args!("{text}"));
                self.tell(EventKind::StoreUnreachable, None, text);
            }
            (None, Some(_)) => {
                self.tell(EventKind::StoreReachable, None, "the store that hosts share answers again".into());
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Asks whose a fire time is; the answer comes as an event.
    pub(crate) fn claim_fire_time(&mut self, run: &RunId, above: u64) {
        let run = run.clone();
        let Some(link) = self.hosts.link.clone() else {
            let text = format!(
                "job {} is shared by hosts, but this home knows no store: `skep hosts store=redis://…` names one",
                run.job
            );
            self.tell(EventKind::StoreUnreachable, None, text);
            return self.job_event(Event::Claimed { run, claim: Claim::Unknown });
        };
        let driver = self.me.upgrade().expect("the driver is alive while it works");
        tokio::task::spawn_local(async move {
            let claim = claim(&driver, &link, &run, above).await;
            driver.borrow_mut().job_event(Event::Claimed { run, claim });
        });
    }
}

/// Asks until there is an answer, or patience is at its end.
async fn claim(driver: &Shared, link: &Link, run: &RunId, above: u64) -> Claim {
    // Who retries has had it already, and nobody else has an attempt to retry.
    let until_unix_ms = match run.attempt {
        1 => run.scheduled.plus(skep_jobs::CLAIM_AGE_MAX_MS).0,
        _ => i64::MAX,
    };
    let kept = Duration::from_millis(skep_jobs::CLAIM_KEPT_MS.unsigned_abs());
    let question = Question { name: run.to_string(), above, kept, until_unix_ms };
    // A store that is known to be away is asked once: else fire times would pile up.
    let away = driver.borrow().hosts.problem.is_some();
    let end = now() + if away { Span::ZERO } else { PATIENCE };
    let mut pause = PAUSE;
    loop {
        let problem = match link.store.claim(&link.asker, &question).await {
            Ok(answer) => {
                driver.borrow_mut().hear_of_store(None);
                return judged(driver, run, answer);
            }
            Err(problem) => problem,
        };
        if now() >= end {
            driver.borrow_mut().hear_of_store(Some(problem));
            return Claim::Unknown;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn judged(driver: &Shared, run: &RunId, answer: Answer) -> Claim {
    match answer {
        Answer::Ours { token } => Claim::Ours { token },
        Answer::Theirs => Claim::Theirs,
        Answer::TooLate => {
            let text = format!(
                "the store that hosts share refuses to say whose {run} is: its clock is far ahead of this host's"
            );
            driver.borrow_mut().tell(EventKind::StoreUnreachable, None, text);
            Claim::Unknown
        }
    }
}

/// How this host takes part, and whether the store answers.
pub(crate) async fn view(driver: &Shared) -> HostsView {
    let link = driver.borrow().hosts.link.clone();
    let mut problem = driver.borrow().hosts.problem.clone();
    let mut reachable = None;
    if let Some(link) = &link {
        let answer = link.store.ping().await;
        reachable = Some(answer.is_ok());
        problem = answer.err();
        driver.borrow_mut().hear_of_store(problem.clone());
    }
    let driver = driver.borrow();
    let config = driver.hosts.config.clone().unwrap_or_default();
    HostsView {
        store: link.map(|link| link.place.clone()),
        prefix: config.prefix().to_owned(),
        host: config.host(),
        reachable,
        problem,
        lease_ms: config.lease().as_millis(),
        singletons: driver.singleton_views(),
    }
}
