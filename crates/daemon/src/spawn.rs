//! Carrying out `Spawn`: pipes, channel and sockets are made and given to the keeper for safe-keeping, then the keeper
//! is told to start the program on their other ends.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use skep_core::{AppId, Event, Revision, SlotId, WorkerId};
use skep_keeper::wire::{Credentials, FdSource, Limit, Request, Spawn, Stop};
use skep_spec::{Account, AppSpec, LimitValue, Resource, Runtime};

use crate::driver::Driver;
use crate::launch::{self, CHANNEL_FD, LISTEN_FDS_START, Launch, NodeRole, Place};
use crate::worker::{Identity, Lines, Worker};

/// `Effect::Spawn`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) worker: WorkerId,
    pub(crate) app: AppId,
    pub(crate) slot: SlotId,
    pub(crate) index: u32,
    pub(crate) revision: Revision,
    pub(crate) replaces: Option<WorkerId>,
}

/// A socket that a program is started with.
#[derive(Debug)]
struct Handed {
    /// Its name in `LISTEN_FDNAMES`.
    name: String,
    /// The app's label of its address.
    label: String,
    socket: OwnedFd,
}

/// The key of a worker's descriptors in the keeper's safe-box.
pub(crate) fn key(worker: WorkerId) -> Vec<u8> {
    format!("w:{worker}").into_bytes()
}

/// The key of the state of a Node.js worker's session.
pub(crate) fn session_key(worker: WorkerId) -> Vec<u8> {
    format!("s:{worker}").into_bytes()
}

/// Why a worker could not even be tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("cannot {what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("{0}")]
    Refused(String),
}

fn doing(what: &'static str) -> impl FnOnce(io::Error) -> SpawnError {
    move |source| SpawnError::Io { what, source }
}

impl Driver {
    pub(crate) fn spawn(&mut self, order: Order) {
        if self.workers.contains_key(&order.worker) {
            // Given again after a restore: the keeper was asked already, or is asked by `adopt`.
            return;
        }
        if let Err(error) = self.try_spawn(order) {
            self.queue.push_back(Event::SpawnFailed { worker: order.worker, reason: error.to_string() });
        }
    }

    fn try_spawn(&mut self, order: Order) -> Result<(), SpawnError> {
        let spec = self.specs.get(&(order.app, order.revision)).cloned();
        let spec =
            spec.ok_or_else(|| SpawnError::Refused("its specification is lost; start it anew".to_owned()))?;
        let runtime = spec.runtime_choice().runtime;
        let role = role(&spec, runtime);
        let handed = self.sockets_for(order, &spec, runtime)?;
        let names: Vec<String> = handed.iter().map(|handed| handed.name.clone()).collect();
        let place = Place {
            worker: order.worker,
            app: order.app,
            slot: order.slot,
            index: order.index,
            past: self.past(order),
        };
        if spec.preload && role != NodeRole::None {
            self.check_preload()?;
        }
        let facts = self.facts(self.preload_for(&spec));
        let mut launch = launch::compose(&spec, place, role, &names, facts);
        let lease = self.lease_of(order.app);
        if spec.singleton && lease.is_none() && self.hosts.are_several() {
            return Err(SpawnError::Refused("its lease is over".to_owned()));
        }
        launch.env.extend(lease.map(|(token, _)| ("SKEP_FENCING_TOKEN".to_owned(), token.to_string())));
        self.tell_state(order.worker, &spec, &mut launch.env);

        let (out, out_end) =
            skep_sys::pipe::roomy_pipe().map_err(doing("make a pipe for standard output"))?;
        let (err, err_end) = skep_sys::pipe::roomy_pipe().map_err(doing("make a pipe for standard error"))?;
        let (stdin_end, stdin) = skep_sys::pipe::pipe().map_err(doing("make a pipe for standard input"))?;
        let stdin_end = skep_sys::pipe::never_ending(stdin_end);
        rustix::io::ioctl_fionbio(&stdin, true)
            .map_err(|errno| doing("make a pipe for standard input")(errno.into()))?;
        let (channel, channel_end) = match role {
            NodeRole::ClusterWorker | NodeRole::Forked => {
                let pair = skep_sys::unix::pair(skep_sys::unix::Kind::Stream);
                let (ours, theirs) = pair.map_err(doing("make the IPC channel"))?;
                (Some(ours), Some(theirs))
            }
            NodeRole::None => (None, None),
        };
        let mut attached: Vec<(RawFd, BorrowedFd<'_>)> =
            vec![(0, stdin_end.as_fd()), (1, out_end.as_fd()), (2, err_end.as_fd())];
        attached.extend(channel_end.iter().map(|theirs| (CHANNEL_FD, theirs.as_fd())));
        for (number, handed) in (LISTEN_FDS_START..).zip(&handed) {
            attached.push((number, handed.socket.as_fd()));
        }

        let identity = Identity {
            worker: order.worker,
            app: order.app,
            slot: order.slot,
            index: order.index,
            revision: order.revision,
            replaces: order.replaces,
        };
        let mut request = request(&spec, &launch, &identity)?;
        request.bind_share = runtime == Runtime::Bindshare;
        request.fds = attached.iter().map(|(number, _)| (*number, FdSource::Attached)).collect();

        let lines = Lines::new(out, err);
        let mut worker = Worker::new(identity, Rc::clone(&spec), Some(stdin), channel);
        worker.told.version =
            spec.script.as_deref().and_then(|script| crate::pm2::version_near(script.as_ref()));
        // Nobody says when a socket-activated program listens: it has the socket from its first moment.
        worker.listens.extend(handed.iter().map(|handed| handed.label.clone()));
        self.install(worker, lines).map_err(doing("watch the worker's output"))?;
        let ends: Vec<BorrowedFd<'_>> = attached.iter().map(|(_, fd)| *fd).collect();
        skep_keeper::fault::point("daemon", "asked");
        self.ask_with(&Request::Spawn(Box::new(request)), &ends);
        if let Some((_, at_ns)) = lease {
            self.ask(&Request::Expire { child: u64::from(order.worker.0), at_ns });
        }
        if !handed.is_empty() {
            self.refresh_live(order.app, order.slot);
        }
        Ok(())
    }

    /// What happened in a slot up to now.
    fn past(&self, order: Order) -> crate::pm2::Past {
        let view = self.fleet.app(order.app);
        let seen =
            view.as_ref().and_then(|app| Some((app, app.slots.iter().find(|seen| seen.id == order.slot)?)));
        seen.map(|(app, slot)| crate::pm2::past_of(app, slot, Some(order.worker))).unwrap_or_default()
    }

    /// Where the worker will find the drain code.
    fn preload_for(&self, spec: &AppSpec) -> Option<&std::path::Path> {
        if spec.uid.is_some() || spec.gid.is_some() {
            self.site.preload_for_others.as_deref()
        } else {
            Some(&self.site.preload)
        }
    }

    /// Node.js refuses to start without a file that it is told to require.
    fn check_preload(&self) -> Result<(), SpawnError> {
        let preload = &self.site.preload;
        let Some(directory) = preload.parent().filter(|_| !preload.exists()) else { return Ok(()) };
        crate::boot::write_preload(directory).map(drop).map_err(|error| {
            SpawnError::Refused(format!(
                "{} cannot be written: {error}; make room there, or start the app with --no-preload",
                directory.display()
            ))
        })
    }

    /// For `runtime: fd`: the slot's sockets of every address that the app listens on, with their names.
    fn sockets_for(
        &mut self,
        order: Order,
        spec: &AppSpec,
        runtime: Runtime,
    ) -> Result<Vec<Handed>, SpawnError> {
        if runtime != Runtime::Fd {
            return Ok(Vec::new());
        }
        let mut sockets = Vec::new();
        for listen in &spec.listen {
            let (label, socket) = self
                .declared_socket(order.app, order.slot, &listen.address, spec)
                .map_err(SpawnError::Refused)?;
            // What systemd calls a descriptor without a name (sd_listen_fds_with_names(3)).
            let name = listen.name.clone().unwrap_or_else(|| "unknown".to_owned());
            sockets.push(Handed { name, label, socket });
        }
        Ok(sockets)
    }
}

/// How a program of this spec is attached.
pub(crate) fn role(spec: &AppSpec, runtime: Runtime) -> NodeRole {
    match (runtime, spec.is_node()) {
        (Runtime::Node, _) => NodeRole::ClusterWorker,
        (Runtime::Bindshare | Runtime::SelfBind, true) => NodeRole::Forked,
        (Runtime::Bindshare | Runtime::SelfBind | Runtime::Fd | Runtime::Auto, _) => NodeRole::None,
    }
}

fn request(spec: &AppSpec, launch: &Launch, identity: &Identity) -> Result<Spawn, SpawnError> {
    let note = serde_json::to_vec(identity).expect("plain data with string keys is always JSON");
    fill(spec, launch, u64::from(identity.worker.0), note)
}

/// The order for another program of an app: its user, limits and directory.
pub(crate) fn request_for(
    spec: &AppSpec,
    launch: &Launch,
    child: u64,
    note: Vec<u8>,
) -> Result<Spawn, String> {
    fill(spec, launch, child, note).map_err(|error| error.to_string())
}

fn fill(spec: &AppSpec, launch: &Launch, child: u64, note: Vec<u8>) -> Result<Spawn, SpawnError> {
    let bytes = |text: &String| text.clone().into_bytes();
    let mut request = Spawn::new(child, launch.argv.iter().map(bytes).collect());
    request.note = note;
    request.env = launch.env.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect();
    request.cwd = bytes(&spec.cwd);
    request.credentials = credentials(spec)?;
    request.umask = spec.umask.map(skep_spec::Umask::bits);
    request.limits = spec.rlimits.iter().map(|(resource, limit)| rlimit(*resource, limit)).collect();
    request.nice = spec.nice.map(i32::from);
    request.kill_tree = spec.treekill;
    request.stop = Stop { signal: spec.kill_signal.number(), grace_ms: spec.kill_timeout.0 };
    Ok(request)
}

pub(crate) fn credentials(spec: &AppSpec) -> Result<Option<Credentials>, SpawnError> {
    if spec.uid.is_none() && spec.gid.is_none() {
        return Ok(None);
    }
    let user = spec.uid.as_ref().map(find_user).transpose()?;
    let gid = match (&spec.gid, &user) {
        (Some(gid), _) => find_group(gid)?,
        (None, Some(user)) => user.gid,
        (None, None) => return Ok(None),
    };
    let uid = user.as_ref().map_or_else(|| rustix::process::getuid().as_raw(), |user| user.uid);
    let groups = user.map_or_else(|| vec![gid], |user| user.groups);
    Ok(Some(Credentials { uid, gid, groups }))
}

fn find_user(account: &Account) -> Result<Credentials, SpawnError> {
    let found = match account {
        Account::Id(id) => nix::unistd::User::from_uid((*id).into()),
        Account::Name(name) => nix::unistd::User::from_name(name),
    };
    match (found.map_err(io::Error::from).map_err(doing("look up the user"))?, account) {
        (Some(user), _) => {
            let name = CString::new(user.name.as_bytes()).unwrap_or_default();
            let groups = nix::unistd::getgrouplist(&name, user.gid)
                .map_err(io::Error::from)
                .map_err(doing("look up the user's groups"))?;
            let groups = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
            Ok(Credentials { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups })
        }
        // A number needs no entry in the database.
        (None, Account::Id(id)) => Ok(Credentials { uid: *id, gid: *id, groups: vec![*id] }),
        (None, Account::Name(name)) => {
            Err(SpawnError::Refused(format!("uid: there is no user {name:?}; `getent passwd` lists them")))
        }
    }
}

fn find_group(account: &Account) -> Result<u32, SpawnError> {
    match account {
        Account::Id(id) => Ok(*id),
        Account::Name(name) => nix::unistd::Group::from_name(name)
            .map_err(io::Error::from)
            .map_err(doing("look up the group"))?
            .map(|group| group.gid.as_raw())
            .ok_or_else(|| {
                SpawnError::Refused(format!("gid: there is no group {name:?}; `getent group` lists them"))
            }),
    }
}

fn rlimit(resource: Resource, limit: &skep_spec::ResourceLimit) -> Limit {
    let value = |value: LimitValue| match value {
        LimitValue::Value(value) => value,
        LimitValue::Unlimited => u64::MAX,
    };
    Limit { resource: number(resource), soft: value(limit.soft), hard: value(limit.hard) }
}

/// The kernel's numbers (asm-generic/resource.h; the same on x86 and ARM).
fn number(resource: Resource) -> u32 {
    match resource {
        Resource::Cpu => 0,
        Resource::Fsize => 1,
        Resource::Data => 2,
        Resource::Stack => 3,
        Resource::Core => 4,
        Resource::Nproc => 6,
        Resource::Nofile => 7,
        Resource::Memlock => 8,
        Resource::As => 9,
        Resource::Sigpending => 11,
        Resource::Msgqueue => 12,
        Resource::Nice => 13,
        Resource::Rtprio => 14,
        Resource::Rttime => 15,
    }
}
