//! Putting a probe's question to one worker, and passing its answer on to the core.
//!
//! A Node.js worker is reached through its own channel: it is handed one end of a fresh connection by Node's own `newconn`,
//! as if it had accepted it; nobody else can answer on that connection. A worker whose event loop is blocked does not take
//! it.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use skep_core::{Event, ProbeKind, WorkerId};
use skep_node_ipc::ConnectionKind;
use skep_spec::{AppSpec, Probe};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::driver::{Driver, Shared};
use crate::passing::Parcel;

/// What the worker's server finds in the `User-Agent` header.
const USER_AGENT: &str = "skep-probe";

/// What a program that is asked finds in its environment: the process that the question is about.
const WORKER_PID: &str = "SKEP_WORKER_PID";

impl Driver {
    /// `Effect::Probe`.
    pub(crate) fn probe(&mut self, id: WorkerId, kind: ProbeKind, question: u32) {
        let (Some(driver), Some(worker)) = (self.me.upgrade(), self.workers.get(&id)) else { return };
        let spec = Rc::clone(&worker.spec);
        let probe = match kind {
            ProbeKind::Readiness => spec.readiness.clone(),
            ProbeKind::Liveness => spec.liveness.clone(),
        };
        // The policy has a probe that this worker's own specification lacks (a hot update): it is asked nothing.
        let Some(probe) = probe else {
            self.queue.push_back(Event::Probed { worker: id, kind, question, failure: None });
            return;
        };
        let task = tokio::task::spawn_local(async move {
            let patience = Duration::from_millis(probe.timeout.0);
            let answer = tokio::time::timeout(patience, ask(&driver, id, &probe, &spec, patience)).await;
            let failure = match answer {
                Ok(Ok(())) => None,
                Ok(Err(failure)) => Some(failure),
                Err(_) => Some(format!("no answer within {}", probe.timeout)),
            };
            driver.borrow_mut().handle(Event::Probed { worker: id, kind, question, failure });
        });
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.asks(kind, task.abort_handle());
        }
    }

    /// `Effect::Attend`.
    pub(crate) fn attend_to(&mut self, id: WorkerId, ready: bool) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.unready = !ready;
        let (app, slot) = (worker.app, worker.slot);
        self.refresh_live(app, slot);
    }

    /// Hands the worker one end of a connection; `accepted` hears of it when it is taken.
    fn knock(
        &mut self,
        id: WorkerId,
        port: Option<u16>,
        end: OwnedFd,
        accepted: oneshot::Sender<()>,
    ) -> Result<(), String> {
        let conn = self.traffic.knock(accepted);
        let channel = self.channel_mut(id).ok_or("it has no channel to be asked on")?;
        let session = channel.session_mut();
        let server = session
            .listening()
            .find(|server| server.port.is_some() && (port.is_none() || server.port == port))
            .ok_or_else(|| match port {
                Some(port) => format!("it has no server on port {port}"),
                None => "it has no TCP server".to_owned(),
            })?;
        let sent = session.send_connection(&server.key, conn, Parcel::Own(end), ConnectionKind::Fresh);
        sent.map_err(|_| "it takes no connections".to_owned())?;
        self.flush_channel(id);
        Ok(())
    }
}

async fn ask(
    driver: &Shared,
    id: WorkerId,
    probe: &Probe,
    spec: &AppSpec,
    patience: Duration,
) -> Result<(), String> {
    if let Some(command) = &probe.exec {
        let pid = driver.borrow().workers.get(&id).and_then(|worker| worker.pid);
        return run(shell(command, spec, pid).map_err(|error| error.to_string())?, patience).await;
    }
    let cannot = |error: io::Error| format!("cannot make a connection: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(cannot)?;
    let ours = TcpStream::connect(listener.local_addr().map_err(cannot)?).await.map_err(cannot)?;
    let (theirs, from) = listener.accept().await.map_err(cannot)?;
    if ours.local_addr().map_err(cannot)? != from {
        return Err("somebody else took the connection".to_owned());
    }
    let theirs = OwnedFd::from(theirs.into_std().map_err(cannot)?);
    let (accepted, taken) = oneshot::channel();
    driver.borrow_mut().knock(id, probe.port, theirs, accepted)?;
    match &probe.http {
        Some(path) => get(ours, path).await,
        None => taken.await.map_err(|_| "it refused a connection".to_owned()),
    }
}

/// One request on the connection; every answer that is no error will do.
async fn get(stream: TcpStream, path: &str) -> Result<(), String> {
    let failed = |error: hyper::Error| format!("GET {path} was not answered: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("GET {path} cannot be asked: {error}"))?;
    // Ends with this question, answered or not: only the head counts.
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn_local(connection);
    let answer = sender.send_request(request).await.map_err(failed)?;
    let status = answer.status();
    match status.is_success() || status.is_redirection() {
        true => Ok(()),
        false => Err(format!("GET {path} was answered with {status}")),
    }
}

/// The command, in a process group of its own.
fn shell(command: &str, spec: &AppSpec, pid: Option<u32>) -> io::Result<Child> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).current_dir(&spec.cwd).env_clear().envs(spec.environment());
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    if let Some(pid) = pid {
        shell.env(WORKER_PID, pid.to_string());
    }
    if let Some(credentials) = crate::spawn::credentials(spec).map_err(io::Error::other)? {
        shell.uid(credentials.uid).gid(credentials.gid);
    }
    shell.spawn()
}

/// Waits for the command's end, in a task of its own: whoever asked may be gone before, and it is reaped all the same.
async fn run(child: Child, patience: Duration) -> Result<(), String> {
    let (tell, told) = oneshot::channel();
    tokio::task::spawn_local(async move {
        // Nobody listens any more: no harm.
        let _ = tell.send(finish(child, patience).await);
    });
    told.await.unwrap_or_else(|_| Err("the command was lost".to_owned()))
}

async fn finish(mut child: Child, patience: Duration) -> Result<(), String> {
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
    let watched =
        pidfd.map_err(io::Error::from).and_then(|fd| crate::watch::watch(Arc::new(fd), Interest::READABLE));
    let ended = match &watched {
        Ok(pidfd) => tokio::time::timeout(patience, pidfd.readable()).await.is_ok(),
        Err(_) => false,
    };
    if !ended {
        // It is one group: what the command has started ends with it.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        if let Ok(pidfd) = &watched {
            let _ = pidfd.readable().await;
        }
    }
    match child.wait() {
        _ if !ended => Err("the command did not end in time".to_owned()),
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the command ended with {status}")),
        Err(error) => Err(format!("the command was lost: {error}")),
    }
}
