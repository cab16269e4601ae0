//! A worker at the edge: its descriptors and what is known of it beside the core's view.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skep_core::{AppId, Event, ProbeKind, Revision, SlotId, WorkerId};
use skep_keeper::wire::Request;
use skep_logs::{Progress, Source, Stream, StreamId};
use skep_node_ipc::{Generation, Session, SessionState};
use skep_spec::{AppSpec, Schedule};
use skep_sys::seccomp::Notifier;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use crate::channel::Channel;
use crate::driver::{Driver, Shared, moment};
use crate::spawn::{key, session_key};

/// Who a worker is; written into the keeper's notes, so that the next daemon knows it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) worker: WorkerId,
    pub(crate) app: AppId,
    pub(crate) slot: SlotId,
    pub(crate) index: u32,
    pub(crate) revision: Revision,
    /// The worker beside which it was started in a rollout.
    pub(crate) replaces: Option<WorkerId>,
}

/// How far a worker has come, for the next daemon.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Progressed {
    /// The state of the IPC session, for Node.js workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<SessionState>,
    /// Labels of the addresses that it listens on.
    pub(crate) listens: BTreeSet<String>,
    /// What it told of itself.
    pub(crate) told: crate::pm2::Told,
    /// Functions for jobs that it has registered, with their schedules.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) functions: BTreeMap<String, Option<Schedule>>,
}

/// The read ends of a worker's standard output and standard error.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    out: Arc<OwnedFd>,
    err: Arc<OwnedFd>,
}

impl Lines {
    pub(crate) fn new(out: OwnedFd, err: OwnedFd) -> Lines {
        Lines { out: Arc::new(out), err: Arc::new(err) }
    }
}

/// A worker that is gone, with lines that are still to be written.
#[derive(Debug)]
pub(crate) struct Unwritten {
    note: Vec<u8>,
    lines: Lines,
    /// In how many streams.
    streams: usize,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) identity: Identity,
    pub(crate) app: AppId,
    pub(crate) slot: SlotId,
    pub(crate) revision: Revision,
    pub(crate) spec: Rc<AppSpec>,
    pub(crate) pid: Option<u32>,
    /// When its process was started, in clock ticks since boot.
    pub(crate) start_time: u64,
    lines: Option<Lines>,
    /// The write end of its standard input.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) channel: Option<Channel>,
    /// What it told of itself by PM2's conventions.
    pub(crate) told: crate::pm2::Told,
    /// Answers the worker's `bind` calls, for `runtime: bindshare`.
    pub(crate) notifier: Option<Rc<Notifier>>,
    /// Labels of the addresses that it listens on.
    pub(crate) listens: BTreeSet<String>,
    /// Functions for jobs that it has registered, with their schedules.
    pub(crate) functions: BTreeMap<String, Option<Schedule>>,
    /// It was asked to go: no connection is given to it any more.
    pub(crate) leaving: bool,
    /// Its readiness probe says no: it is given connections only if nobody else is there.
    pub(crate) unready: bool,
    /// Questions under way.
    questions: BTreeMap<ProbeKind, AbortHandle>,
    /// Its process ended.
    pub(crate) exited: bool,
    /// Its own `listening` was passed on to the core.
    pub(crate) told_listening: bool,
    /// Processor time at the last look, for percentages.
    pub(crate) cpu_seen: Option<crate::usage::CpuSample>,
    /// What it told of its inside when it was asked.
    pub(crate) vitals: crate::metrics::Vitals,
    tasks: Vec<AbortHandle>,
}

impl Worker {
    pub(crate) fn new(
        identity: Identity,
        spec: Rc<AppSpec>,
        stdin: Option<OwnedFd>,
        channel: Option<OwnedFd>,
    ) -> Worker {
        Worker {
            identity,
            app: identity.app,
            slot: identity.slot,
            revision: identity.revision,
            spec,
            pid: None,
            start_time: 0,
            lines: None,
            stdin,
            channel: channel.map(Channel::new),
            told: crate::pm2::Told::default(),
            notifier: None,
            listens: BTreeSet::new(),
            functions: BTreeMap::new(),
            leaving: false,
            unready: false,
            questions: BTreeMap::new(),
            exited: false,
            told_listening: false,
            cpu_seen: None,
            vitals: crate::metrics::Vitals::default(),
            tasks: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> WorkerId {
        self.identity.worker
    }

    /// Who it is, for the keeper to give back.
    pub(crate) fn note(&self) -> Vec<u8> {
        serde_json::to_vec(&self.identity).expect("plain data with string keys is always JSON")
    }

    pub(crate) fn own(&mut self, task: AbortHandle) {
        self.tasks.push(task);
    }

    /// A probe's question under way, instead of the last one.
    pub(crate) fn asks(&mut self, kind: ProbeKind, task: AbortHandle) {
        if let Some(last) = self.questions.insert(kind, task) {
            last.abort();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for task in self.tasks.iter().chain(self.questions.values()) {
            task.abort();
        }
    }
}

impl Driver {
    /// Takes charge of a worker's descriptors: copies to the keeper, lines to their files, tasks that wait for more.
    pub(crate) fn install(&mut self, mut worker: Worker, lines: Lines) -> io::Result<()> {
        let id = worker.id();
        if let Some(channel) = &mut worker.channel {
            channel.begin(Session::new(Generation(self.generation())));
        }
        self.attend(worker, lines)?;
        self.keep_worker(id);
        self.keep_progress(id);
        debug_assert!(self.workers.contains_key(&id));
        Ok(())
    }

    /// Takes back a worker of the daemon before.
    pub(crate) fn readopt(
        &mut self,
        mut worker: Worker,
        lines: Lines,
        progress: Progressed,
    ) -> io::Result<()> {
        if !worker.exited {
            worker.listens = progress.listens;
            worker.functions = progress.functions;
        }
        worker.told = progress.told;
        if let Some(channel) = &mut worker.channel {
            let session = progress.session.unwrap_or_default();
            channel.begin(Session::restore(session, Generation(self.generation())));
        }
        self.attend(worker, lines)
    }

    fn attend(&mut self, mut worker: Worker, lines: Lines) -> io::Result<()> {
        let id = worker.id();
        let driver = self.me.upgrade().expect("the driver is alive while it works");
        for (stream, pipe) in [(Stream::Out, &lines.out), (Stream::Err, &lines.err)] {
            worker.own(self.follow(&driver, &worker, stream, Arc::clone(pipe))?);
        }
        worker.lines = Some(lines);
        if let Some(channel) = &worker.channel {
            let socket = crate::watch::watch(channel.socket(), Interest::READABLE | Interest::WRITABLE)?;
            let task = tokio::task::spawn_local(crate::channel::serve(driver, id, socket, channel.wake()));
            worker.own(task.abort_handle());
        }
        self.workers.insert(id, worker);
        Ok(())
    }

    /// Sends one stream to its files, from now until its end.
    fn follow(
        &mut self,
        driver: &Shared,
        worker: &Worker,
        stream: Stream,
        pipe: Arc<OwnedFd>,
    ) -> io::Result<AbortHandle> {
        let files = self.log_files(worker, stream);
        let source = Source {
            app: Arc::from(worker.spec.name.as_str()),
            slot: worker.slot.0,
            worker: worker.id().0,
            stream,
        };
        let id = self.capture.attach(source, Arc::clone(&pipe), &files).map_err(io::Error::other)?;
        self.unmade.extend(files);
        let pipe = crate::watch::watch(pipe, Interest::READABLE)?;
        Ok(tokio::task::spawn_local(pump(Rc::clone(driver), id, pipe)).abort_handle())
    }

    /// Gives the keeper copies of everything that must outlive this daemon.
    pub(crate) fn keep_worker(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let Some(lines) = &worker.lines else { return };
        let mut fds: Vec<BorrowedFd<'_>> = vec![lines.out.as_fd(), lines.err.as_fd()];
        fds.extend(worker.stdin.as_ref().map(AsFd::as_fd));
        fds.extend(worker.channel.as_ref().map(AsFd::as_fd));
        let request = Request::Store { key: key(id), note: worker.note() };
        if let Err(error) = self.link.send(&request, &fds) {
            crate::diary::note(format_args!("the keeper did not take a worker's descriptors: {error}"));
        }
        self.link_wake.notify_one();
    }

    /// Gives another keeper what is left of workers that are gone.
    pub(crate) fn hand_over_unwritten(&mut self) {
        for (id, rest) in &self.unwritten {
            let request = Request::Store { key: key(*id), note: rest.note.clone() };
            let fds = [rest.lines.out.as_fd(), rest.lines.err.as_fd()];
            if let Err(error) = self.link.send(&request, &fds) {
                crate::diary::note(format_args!("the keeper did not take a worker's last lines: {error}"));
            }
        }
    }

    /// Gives the keeper what the worker has come to: its session, and what it listens on.
    pub(crate) fn keep_progress(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let progress = Progressed {
            session: worker.channel.as_ref().map(|channel| channel.session().state().clone()),
            listens: worker.listens.clone(),
            told: worker.told.clone(),
            functions: worker.functions.clone(),
        };
        let note = serde_json::to_vec(&progress).expect("plain data with string keys is always JSON");
        self.ask(&Request::Store { key: session_key(id), note });
    }

    /// The keeper's reply to a spawn.
    pub(crate) fn spawned(&mut self, id: WorkerId, pid: u32, start_time: u64, notify: Option<OwnedFd>) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.pid = Some(pid);
            worker.start_time = start_time;
        }
        self.write_pid_file(id, pid);
        if let Some(notify) = notify {
            self.share_binds(id, notify);
        }
        self.triggers.look_again();
        self.handle(Event::Spawned { worker: id, pid });
        self.count_in(id);
    }

    /// The worker's process ended: everything it said is read before the core hears of it.
    pub(crate) fn exited(&mut self, id: WorkerId, status: skep_core::ExitStatus) {
        // Others wait for what it held, milliseconds count.
        self.release_shared_state(id);
        self.read_rest(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.exited = true;
            worker.leaving = true;
            worker.listens.clear();
            let slot = worker.slot;
            let app = worker.app;
            for stream in [Stream::Out, Stream::Err] {
                self.capture.finish(StreamId::new(id.0, stream), moment());
            }
            self.capture_wake.notify_one();
            self.refresh_live(app, slot);
        }
        self.remove_pid_file(id);
        self.trigger_gone(id);
        self.reclaim(id);
        self.handle(Event::Exited { worker: id, status });
    }

    /// `Effect::Discard`: the keeper may forget it too.
    pub(crate) fn discard(&mut self, id: WorkerId) {
        let unanswered =
            self.channel_mut(id).is_some_and(|channel| channel.session().connections_in_flight() > 0);
        if unanswered {
            // It ended while no daemon was there. What it had taken it said before; the rest goes to others.
            self.read_rest(id);
            self.reclaim(id);
        }
        self.ask(&Request::Forget { child: u64::from(id.0) });
        self.ask(&Request::Drop { key: session_key(id) });
        let rests = [Stream::Out, Stream::Err].into_iter().filter(|stream| {
            self.capture.finish(StreamId::new(id.0, *stream), moment()) == Progress::Waiting
        });
        let streams = rests.count();
        let worker = self.workers.get(&id).and_then(|worker| Some((worker.note(), worker.lines.clone()?)));
        match worker.filter(|_| streams > 0) {
            None => self.ask(&Request::Drop { key: key(id) }),
            // A full disk: the keeper's copies of the pipes go when the last line is in its file.
            Some((note, lines)) => drop(self.unwritten.insert(id, Unwritten { note, lines, streams })),
        }
        if let Some(worker) = self.workers.remove(&id) {
            self.capture_wake.notify_one();
            let app = worker.app;
            drop(worker);
            self.traffic.forget(id);
            self.recheck_successors(id);
            self.reconcile_ports(app);
            self.forget_specs();
        }
    }

    /// Everything that a stream held is in its files.
    pub(crate) fn written(&mut self, stream: StreamId) {
        let found =
            self.unwritten.keys().copied().find(|id| {
                [Stream::Out, Stream::Err].iter().any(|which| StreamId::new(id.0, *which) == stream)
            });
        let Some(id) = found else { return };
        match self.unwritten.get_mut(&id) {
            Some(rest) if rest.streams > 1 => rest.streams -= 1,
            Some(_) | None => {
                self.unwritten.remove(&id);
                self.ask(&Request::Drop { key: key(id) });
            }
        }
    }

    pub(crate) fn generation(&self) -> u32 {
        // Only its low bits are used, and only to tell this daemon's numbers from the last ones'.
        self.site.generation as u32
    }

    /// `shutdown_with_message`: the polite stop is a message. True when it was sent instead of the signal.
    pub(crate) fn stop_by_message(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else { return false };
        worker.leaving = true;
        let (app, slot) = (worker.app, worker.slot);
        let sent = worker.spec.shutdown_with_message
            && worker.channel.as_mut().is_some_and(|channel| channel.message("\"shutdown\"").is_ok());
        self.flush_channel(id);
        self.refresh_live(app, slot);
        sent
    }
}

/// Moves one stream's bytes whenever there are any.
async fn pump(driver: Shared, id: StreamId, pipe: AsyncFd<Arc<OwnedFd>>) {
    loop {
        let Ok(mut guard) = pipe.readable().await else { return };
        let progress = driver.borrow_mut().capture.pump(id, moment());
        driver.borrow().capture_wake.notify_one();
        match progress {
            Progress::More => {
                drop(guard);
                tokio::task::yield_now().await;
            }
            Progress::Idle | Progress::Waiting => guard.clear_ready(),
            Progress::Ended => return,
        }
    }
}
