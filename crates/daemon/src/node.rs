//! What Node.js workers say, and connections on their way to them.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use skep_api::EventKind;
use skep_core::{AppId, Event, SlotId, WorkerId};
use skep_listeners::{Address, GroupKey, Host, LocalAddress, Selector, Transfer};
use skep_node_ipc::{ConnectionKind, Event as Said, Handover, Query, SockName, UvErrno};
use skep_spec::AppSpec;

use crate::driver::Driver;
use crate::jobs::FromFunctions;
use crate::passing::Parcel;
use crate::pm2::Meaning;
use crate::ports::Wanted;

impl Driver {
    pub(crate) fn on_node(&mut self, id: WorkerId, event: Said<Parcel>) {
        match event {
            Said::Online => {}
            Said::Hello(hello) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.told.node_version = Some(hello.node);
                }
                self.keep_progress(id);
            }
            Said::Draining { .. } => self.unlistens_all(id),
            Said::Drained => self.handle(Event::Drained { worker: id }),
            Said::StopsItself => self.handle(Event::StopsItself { worker: id }),
            Said::Measured(figures) => self.measured(id, *figures),
            Said::Query(query) => self.query(id, &query),
            Said::Listening(server) => self.listens(id, server.key),
            Said::Closed { key } => self.unlistens(id, &key),
            Said::Exiting => self.mark_leaving(id),
            Said::Accepted(conn, parcel) => {
                if !self.traffic.answered(conn) {
                    self.traffic.settled(conn);
                    self.let_parcel_go(&parcel);
                    self.update_load(id);
                }
            }
            Said::Returned(returned) => self.returned(id, returned),
            Said::Message(json) => self.message_from(id, &json),
            // Sent by the app to a primary that has no use for it; closing it here is what Node's own does with
            // a handle that nobody takes.
            Said::Handle { .. } => {}
            Said::Schedule(skep_node_ipc::skep::Schedule { name, schedule }) => {
                self.on_functions(id, FromFunctions::Schedule { name, schedule });
            }
            Said::Unschedule { name } => self.on_functions(id, FromFunctions::Unschedule { name }),
            Said::Ran(skep_node_ipc::skep::Ran { token, ok, result, refused }) => {
                self.on_functions(id, FromFunctions::Ran { token, ok, result, refused });
            }
            Said::Dropped(dropped) => {
                crate::diary::note(format_args!(
                    "worker {id} said something that was not understood: {dropped:?}"
                ));
            }
        }
    }

    fn query(&mut self, id: WorkerId, query: &Query) {
        let Some(worker) = self.workers.get(&id) else { return };
        let (app, slot, spec) = (worker.app, worker.slot, std::rc::Rc::clone(&worker.spec));
        let answer = match address(&query.address, &spec) {
            Ok(address) => {
                let wanted = Wanted {
                    app,
                    slot,
                    label: &query.key,
                    address: &address,
                    backlog: query.backlog,
                    data: query.data.as_deref(),
                    transfer: Transfer::Connections,
                };
                self.socket(&wanted, &spec).map_err(|error| (error.errno(), error.to_string()))
            }
            Err(refused) => Err(refused),
        };
        let data = self.ports.find(app, &query.key).and_then(|(_, entry)| entry.data.clone());
        match answer {
            Ok((key, socket)) => self.answer(id, query, key, socket, data.as_deref()),
            Err((errno, reason)) => {
                self.cannot_listen(app, &spec.name, &reason);
                if let Some(channel) = self.channel_mut(id) {
                    let errno = UvErrno::from_errno(errno);
                    channel.session_mut().reply_error(query.seq, errno, query.data.as_deref());
                }
            }
        }
    }

    fn answer(&mut self, id: WorkerId, query: &Query, key: GroupKey, socket: OwnedFd, data: Option<&str>) {
        let Some(entry) = self.ports.entries.get(&key) else { return };
        let one_by_one = entry.group.selection().selector == Selector::Ipc;
        let sockname = match entry.group.local_address() {
            LocalAddress::Inet(at) => Some(SockName::from(*at)),
            _ => None,
        };
        let Some(channel) = self.channel_mut(id) else { return };
        if one_by_one {
            channel.session_mut().reply_round_robin(query.seq, sockname.as_ref(), data);
        } else {
            // A worker that no longer waits gets nothing; its copy is closed.
            let _ = channel.session_mut().reply_shared(query.seq, Parcel::Own(socket), data);
        }
    }

    /// The worker listens on an address.
    pub(crate) fn listens(&mut self, id: WorkerId, label: String) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let (app, slot) = (worker.app, worker.slot);
        worker.listens.insert(label.clone());
        // Before the core acts on it: a daemon that comes after this one must know it too.
        self.keep_progress(id);
        self.refresh_live(app, slot);
        self.check_listening(id);
        self.house(app, &label);
    }

    fn unlistens(&mut self, id: WorkerId, label: &str) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.listens.remove(label);
        let (app, slot, leaving) = (worker.app, worker.slot, worker.leaving);
        self.refresh_live(app, slot);
        if leaving {
            self.reconcile_ports(app);
        }
    }

    /// A draining worker accepts nothing any more. Where nobody else will, the address is closed at once: better refused
    /// than left waiting.
    fn unlistens_all(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.listens.clear();
        let app = worker.app;
        self.keep_progress(id);
        self.reconcile_ports(app);
    }

    fn mark_leaving(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.leaving = true;
        let (app, slot) = (worker.app, worker.slot);
        self.refresh_live(app, slot);
    }

    /// Tells the core once the worker listens on all that the worker listens on which it is to replace.
    pub(crate) fn check_listening(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        if worker.told_listening || worker.listens.is_empty() {
            return;
        }
        let required =
            worker.identity.replaces.and_then(|old| self.workers.get(&old)).map(|old| &old.listens);
        if required.is_some_and(|required| !required.is_subset(&worker.listens)) {
            return;
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.told_listening = true;
        }
        self.handle(Event::Listening { worker: id });
    }

    fn message_from(&mut self, id: WorkerId, json: &str) {
        if json == "\"ready\"" {
            self.handle(Event::Announced { worker: id });
            return;
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let data: Option<serde_json::Value> = serde_json::from_str(json).ok();
        let meaning = data.as_ref().map_or(Meaning::Word, |data| worker.told.hear(data, json.len()));
        let app = worker.app;
        let mut event = skep_api::Event::new(
            0,
            crate::driver::unix_ms(),
            EventKind::WorkerMessage,
            format!("{}:{} sent a message", worker.spec.name, worker.identity.index),
        );
        event.app = Some(worker.spec.name.clone());
        event.namespace = Some(worker.spec.namespace.clone());
        event.slot = Some(worker.slot.0);
        event.index = Some(worker.identity.index);
        event.worker = Some(id.0);
        event.data = data;
        match meaning {
            Meaning::Word => {
                let event = self.hub.publish(event);
                self.ops.notice(app, &event);
            }
            Meaning::Metrics => self.hub.mention(event),
            Meaning::Self_ => {
                self.keep_progress(id);
                self.hub.mention(event);
            }
            Meaning::Reply => {
                if let Some(reply) = &event.data {
                    self.trigger_reply(id, reply);
                }
                self.hub.mention(event);
            }
        }
    }

    /// The worker's channel ended: it drained, or it is gone.
    pub(crate) fn channel_closed(&mut self, id: WorkerId) {
        self.mark_leaving(id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.listens.clear();
        }
        self.reclaim(id);
        self.handle(Event::Drained { worker: id });
    }

    /// An idle connection of a draining worker, for its successor or any other that has the server.
    pub(crate) fn migrate(&mut self, from: WorkerId, handover: Handover<Parcel>) {
        let Some(worker) = self.workers.get(&from) else { return };
        let Some(key) = handover.key else { return };
        let app = worker.app;
        let first = self.traffic.successor(from);
        let parcel = match handover.fd {
            Parcel::Own(connection) => self.take_over(connection, from, app, &key),
            parcel @ Parcel::Kept(_) => Some(parcel),
        };
        let Some(parcel) = parcel else { return };
        if let Some(back) = self.give(app, &key, parcel, ConnectionKind::Migrated, first, &[from]) {
            // Idle, and nobody there just now: it waits, as its client does.
            self.shelter(app, &key, back);
        }
    }

    /// Gives a connection to `first` or to any worker of the app that has the server. `None` when one took it.
    pub(crate) fn give(
        &mut self,
        app: AppId,
        key: &str,
        mut parcel: Parcel,
        kind: ConnectionKind,
        first: Option<WorkerId>,
        except: &[WorkerId],
    ) -> Option<Parcel> {
        self.address_parcel(&parcel, except);
        let mut able: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.app == app && !worker.leaving && !except.contains(&worker.id()))
            .map(crate::worker::Worker::id)
            .collect();
        // The wanted one first, then the least burdened.
        let unready = |id: &WorkerId| self.workers.get(id).is_some_and(|worker| worker.unready);
        able.sort_by_key(|id| (unready(id), Some(*id) != first, self.traffic.pending(*id)));
        for id in able {
            let conn = self.traffic.send(id, app, kind, except);
            let Some(channel) = self.channel_mut(id) else { continue };
            match channel.session_mut().send_connection(key, conn, parcel, kind) {
                Ok(()) => {
                    self.flush_channel(id);
                    self.update_load(id);
                    return None;
                }
                Err(back) => {
                    self.traffic.settled(conn);
                    parcel = back;
                }
            }
        }
        Some(parcel)
    }

    fn returned(&mut self, id: WorkerId, returned: skep_node_ipc::Returned<Parcel>) {
        let Some(sent) = self.traffic.settled(returned.conn) else { return };
        let mut except = sent.except;
        except.push(id);
        if let Some(back) = self.give(sent.app, &returned.key, returned.fd, sent.kind, None, &except) {
            // Nobody can take it now: it waits for the next worker that listens.
            self.shelter(sent.app, &returned.key, back);
        }
    }

    /// Connections that a worker had not accepted when it went go to others.
    pub(crate) fn reclaim(&mut self, id: WorkerId) {
        let Some(channel) = self.channel_mut(id) else { return };
        for returned in channel.session_mut().reclaim() {
            self.returned(id, returned);
        }
    }

    /// Gives connections that found no worker to those that listen now.
    fn house(&mut self, app: AppId, label: &str) {
        let Some((_, entry)) = self.ports.find(app, label) else { return };
        for parcel in std::mem::take(&mut entry.homeless) {
            let first = self.ports.find(app, label).and_then(|(_, entry)| entry.group.pick(&[]));
            let first = first.and_then(|slot| self.server_in(slot, label));
            let kind = self.kind_of(&parcel);
            if let Some(back) = self.give(app, label, parcel, kind, first, &[]) {
                self.shelter(app, label, back);
            }
        }
    }

    /// The worker in a slot that has this server and stays.
    pub(crate) fn server_in(&self, slot: SlotId, label: &str) -> Option<WorkerId> {
        self.workers
            .values()
            .find(|worker| worker.slot == slot && !worker.leaving && worker.listens.contains(label))
            .map(crate::worker::Worker::id)
    }

    /// How many connections a worker has not answered for yet: one that lets them lie is given no more.
    pub(crate) fn update_load(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let (app, slot) = (worker.app, worker.slot);
        let pending = self.traffic.pending(id) as u64;
        for (_, entry) in self.ports.of(app) {
            entry.group.set_pending(slot, u32::try_from(pending).unwrap_or(u32::MAX));
            if entry.group.selection().selector == Selector::Ipc {
                entry.group.set_load(slot, pending);
            }
        }
    }
}

/// A Node.js address in the words of the listeners.
fn address(asked: &skep_node_ipc::Address, spec: &AppSpec) -> Result<Address, (i32, String)> {
    use skep_node_ipc::Address as Asked;
    match asked {
        Asked::Tcp { ip, zone, port, v6_only, .. } => {
            Ok(Address::Tcp { host: host(*ip, zone.as_deref())?, port: *port, v6only: *v6_only })
        }
        Asked::Udp(udp) if udp.fd.is_none() => Ok(Address::Udp {
            host: host(Some(udp.ip), udp.zone.as_deref())?,
            port: udp.port,
            v6only: udp.v6_only,
        }),
        Asked::Unix { path, readable_all, writable_all } => Ok(Address::Unix {
            path: std::path::Path::new(&spec.cwd).join(path),
            // `readableAll` and `writableAll` add to what the umask left (uv_pipe_chmod, src/unix/pipe.c).
            mode: (*readable_all || *writable_all).then_some(
                0o755 | if *readable_all { 0o444 } else { 0 } | if *writable_all { 0o222 } else { 0 },
            ),
            owner: None,
        }),
        Asked::Fd(_) | Asked::Udp(_) => Err((
            rustix::io::Errno::BADF.raw_os_error(),
            "it asks for a descriptor of its parent's, and skep has none for it; use a port or `listen`"
                .to_owned(),
        )),
    }
}

fn host(ip: Option<IpAddr>, zone: Option<&str>) -> Result<Host, (i32, String)> {
    match (ip, zone) {
        (None, _) => Ok(Host::Any),
        (Some(IpAddr::V6(ip)), Some(zone)) => {
            let index = zone.parse().or_else(|_| nix::net::if_::if_nametoindex(zone));
            index.map(|index| Host::Scoped(ip, index)).map_err(|_| {
                (rustix::io::Errno::NODEV.raw_os_error(), format!("there is no network interface {zone}"))
            })
        }
        (Some(ip), _) => Ok(Host::Ip(ip)),
    }
}
