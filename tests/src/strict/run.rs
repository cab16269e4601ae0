//! Starting, watching and ending a load.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::client::Client;
use super::failure::Failure;
use super::plan::{Plan, Target};
use super::report::Report;
use super::tls;

/// What the clients and their owner share.
pub(crate) struct Shared {
    report: Mutex<Report>,
    changed: Condvar,
    stopping: AtomicBool,
    started: Instant,
}

impl Shared {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn tally(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report());
        self.changed.notify_all();
    }

    pub(crate) fn tally_failure(&self, failure: Failure, detail: &str, port: Option<u16>) {
        let at = self.started.elapsed();
        self.tally(|report| report.count_failure(failure, detail, at, port));
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().expect("nobody panics while counting")
    }
}

/// A load under way; dropping it without [`Running::stop`] ends it too.
#[must_use]
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("report", &self.shared.report()).finish_non_exhaustive()
    }
}

/// Starts a load on a thread of its own.
///
/// # Errors
/// When the certificate of a TLS target cannot be read or no thread can be had.
pub fn start(plan: Plan) -> io::Result<Running> {
    let tls = match &plan.target {
        Target::Tls(_, certificate) => Some(tls::connector(certificate)?),
        Target::Tcp(_) | Target::Unix(_) => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = Arc::new(Shared {
        report: Mutex::new(Report::default()),
        changed: Condvar::new(),
        stopping: AtomicBool::new(false),
        started: Instant::now(),
    });
    let plan = Arc::new(plan);
    let ours = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("strict-client".into()).spawn(move || {
        runtime.block_on(async {
            let mut clients = tokio::task::JoinSet::new();
            for number in 0..plan.clients {
                clients.spawn(Client::new(Arc::clone(&plan), Arc::clone(&ours), tls.clone(), number).run());
            }
            clients.join_all().await;
        });
    })?;
    Ok(Running { shared, thread: Some(thread) })
}

impl Running {
    /// The counts so far.
    pub fn report(&self) -> Report {
        self.shared.report().clone()
    }

    /// Waits until the counts satisfy `wanted`; the counts at that moment, or after `limit`, which only a failure
    /// reaches.
    pub fn wait(&self, limit: Duration, mut wanted: impl FnMut(&Report) -> bool) -> Report {
        let guard = self.shared.report();
        let (report, _) = self
            .shared
            .changed
            .wait_timeout_while(guard, limit, |report| !wanted(report))
            .expect("nobody panics while counting");
        report.clone()
    }

    /// Waits until `more` requests have been answered or have failed since this call.
    pub fn wait_for_more(&self, more: u64, limit: Duration) -> Report {
        let goal = self.report().count() + more;
        self.wait(limit, |report| report.count() >= goal)
    }

    /// Lets every request in flight finish, and ends.
    pub fn stop(mut self) -> Report {
        self.end();
        self.report()
    }

    fn end(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the clients do not panic");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
