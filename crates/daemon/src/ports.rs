//! The addresses that apps share, as the driver holds them: found by label, kept by the keeper, closed with their app.

use std::collections::BTreeMap;
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};
use skep_api::EventKind;
use skep_core::{AppId, SlotId, WorkerId};
use skep_keeper::wire::Request;
use skep_listeners::{
    Address, Balance, Group, GroupKey, Holder, Host, ListenError, Options, Transfer, Watcher,
};
use skep_spec::{AppSpec, ListenAddress};
use skep_sys::net::{NetError, Step};

use crate::driver::Driver;
use crate::passing::Parcel;

/// Descriptors in one message to the keeper, below its own limit of [`skep_keeper::wire::FDS_MAX`].
const FDS_PER_PART: usize = 200;

/// An address of an app.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) app: AppId,
    /// What its workers call it: the key of Node's `queryServer`, or the address of a `bind`.
    pub(crate) label: String,
    pub(crate) group: Group,
    pub(crate) balance: skep_spec::Balance,
    /// The `data` that the first worker sent along (TLS ticket keys): every later one gets the same.
    pub(crate) data: Option<String>,
    /// How many messages its descriptors took in the keeper's safe-box.
    parts: usize,
    /// Accepted connections that found no worker; they wait for the next one that listens.
    pub(crate) homeless: Vec<Parcel>,
}

/// What the keeper keeps beside an address's sockets.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    app: AppId,
    label: String,
    balance: skep_spec::Balance,
    data: Option<String>,
    group: String,
    parts: usize,
}

/// Every address of every app.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) watcher: Watcher,
    pub(crate) entries: BTreeMap<GroupKey, Entry>,
    /// Why an app could not listen the last time that it tried: who has the address.
    pub(crate) troubles: BTreeMap<AppId, String>,
    next: u32,
}

/// A stored part: its number, and the descriptors in it. Part 0 begins with the note.
type Parts = BTreeMap<usize, Vec<OwnedFd>>;

impl Ports {
    pub(crate) fn new() -> io::Result<Ports> {
        Ok(Ports { watcher: Watcher::new()?, entries: BTreeMap::new(), troubles: BTreeMap::new(), next: 0 })
    }

    /// Rebuilds the addresses from the keeper's safe-box. What does not fit together is told and left out.
    pub(crate) fn adopt(&mut self, stored: Vec<crate::keeper::Stored>) -> Vec<String> {
        let mut troubles = Vec::new();
        let mut groups: BTreeMap<u32, Parts> = BTreeMap::new();
        for item in stored {
            if let Some((number, part)) = parse_key(&item.key) {
                groups.entry(number).or_default().insert(part, item.fds);
            }
        }
        for (number, parts) in groups {
            self.next = self.next.max(number + 1);
            match adopt_one(parts) {
                Ok(entry) => self.add(GroupKey(number), entry),
                Err(trouble) => troubles.push(trouble),
            }
        }
        troubles
    }

    fn add(&mut self, key: GroupKey, mut entry: Entry) {
        if let Err(error) = entry.group.watch(&self.watcher, key) {
            // Stuck queues are then found by nobody; everything else works.
            crate::diary::note(format_args!("cannot watch {}: {error}", entry.group.address()));
        }
        self.entries.insert(key, entry);
    }

    /// The app's address with this label.
    pub(crate) fn find(&mut self, app: AppId, label: &str) -> Option<(GroupKey, &mut Entry)> {
        self.entries
            .iter_mut()
            .find(|(_, entry)| entry.app == app && entry.label == label)
            .map(|(key, entry)| (*key, entry))
    }

    /// The app's addresses.
    pub(crate) fn of(&mut self, app: AppId) -> impl Iterator<Item = (GroupKey, &mut Entry)> {
        self.entries.iter_mut().filter(move |(_, entry)| entry.app == app).map(|(key, entry)| (*key, entry))
    }
}

fn key(number: GroupKey, part: usize) -> Vec<u8> {
    format!("l:{}:{part}", number.0).into_bytes()
}

fn parse_key(key: &[u8]) -> Option<(u32, usize)> {
    let (number, part) = std::str::from_utf8(key).ok()?.strip_prefix("l:")?.split_once(':')?;
    Some((number.parse().ok()?, part.parse().ok()?))
}

fn adopt_one(mut parts: Parts) -> Result<Entry, String> {
    let mut fds: Vec<OwnedFd> = Vec::new();
    let count = parts.len();
    for part in 0..count {
        fds.append(
            &mut parts.remove(&part).ok_or("a part of a stored listener is missing; it is opened anew")?,
        );
    }
    if fds.is_empty() {
        return Err("a stored listener has no descriptors; it is opened anew".to_owned());
    }
    let bytes = skep_sys::memfd::read_all(fds.remove(0), usize::MAX).map_err(|error| error.to_string())?;
    let note: Note = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let group = Group::adopt(note.group.as_bytes(), fds).map_err(|error| error.to_string())?;
    Ok(Entry {
        app: note.app,
        label: note.label,
        group,
        balance: note.balance,
        data: note.data,
        parts: count,
        homeless: Vec::new(),
    })
}

/// The balance in the words of the crate that does it.
fn balance(spec: skep_spec::Balance) -> Balance {
    match spec {
        skep_spec::Balance::Auto => Balance::Auto,
        skep_spec::Balance::Rr => Balance::Rr,
        skep_spec::Balance::Least => Balance::Least,
        skep_spec::Balance::Weighted => Balance::Weighted,
        skep_spec::Balance::Random => Balance::Random,
        skep_spec::Balance::Hash => Balance::Hash,
        skep_spec::Balance::Ip => Balance::Ip,
        skep_spec::Balance::Shared => Balance::Shared,
        skep_spec::Balance::Ipc => Balance::Ipc,
    }
}

/// What a worker wants to listen on.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) app: AppId,
    pub(crate) slot: SlotId,
    pub(crate) label: &'a str,
    pub(crate) address: &'a Address,
    pub(crate) backlog: u32,
    pub(crate) data: Option<&'a str>,
    pub(crate) transfer: Transfer,
}

impl Driver {
    /// A duplicate of the slot's socket for an address, which is opened if it is new.
    pub(crate) fn socket(
        &mut self,
        wanted: &Wanted<'_>,
        spec: &AppSpec,
    ) -> Result<(GroupKey, OwnedFd), ListenError> {
        let key = match self.ports.find(wanted.app, wanted.label) {
            Some((key, _)) => key,
            None => self.open(wanted, spec)?,
        };
        let entry = self.ports.entries.get_mut(&key).expect("found or opened just now");
        let first_data = entry.data.is_none() && wanted.data.is_some();
        if first_data {
            entry.data = wanted.data.map(str::to_owned);
        }
        let weight = weight(spec, wanted.slot, &self.fleet);
        let socket = entry.group.socket(wanted.slot)?;
        let socket = socket.try_clone_to_owned().map_err(|error| ListenError::Failed {
            address: Box::new(wanted.address.clone()),
            source: NetError { step: Step::Socket, source: error },
        })?;
        entry.group.set_weight(wanted.slot, weight);
        self.keep_ports(key, first_data);
        Ok((key, socket))
    }

    /// The slot's socket of an address that `listen` names, for socket activation. Nobody says when such a program
    /// listens, so its slot counts as live from now on.
    pub(crate) fn declared_socket(
        &mut self,
        app: AppId,
        slot: SlotId,
        address: &ListenAddress,
        spec: &AppSpec,
    ) -> Result<(String, OwnedFd), String> {
        let address = &declared(address)?;
        let label = format!("listen {address}");
        let transfer = Transfer::Nothing;
        let wanted = Wanted { app, slot, label: &label, address, backlog: 0, data: None, transfer };
        let (_, socket) = self.socket(&wanted, spec).map_err(|error| error.to_string())?;
        Ok((label, socket))
    }

    fn open(&mut self, wanted: &Wanted<'_>, spec: &AppSpec) -> Result<GroupKey, ListenError> {
        let options =
            Options { balance: balance(spec.balance), backlog: wanted.backlog, transfer: wanted.transfer };
        let group = Group::open(wanted.address, &options).map_err(|error| self.name_the_app(error))?;
        let message = format!("{} listens on {}", spec.name, group.address());
        self.ports.troubles.remove(&wanted.app);
        let key = GroupKey(self.ports.next);
        self.ports.next += 1;
        let entry = Entry {
            app: wanted.app,
            label: wanted.label.to_owned(),
            group,
            balance: spec.balance,
            data: None,
            parts: 0,
            homeless: Vec::new(),
        };
        self.ports.add(key, entry);
        self.tell(EventKind::ListenerOpened, Some(wanted.app), message);
        Ok(key)
    }

    /// Tells why an app cannot listen, and remembers it for whoever asks why the app does not come up.
    pub(crate) fn cannot_listen(&mut self, app: AppId, name: &str, reason: &str) {
        self.ports.troubles.insert(app, reason.to_owned());
        self.tell(EventKind::Other, Some(app), format!("{name} cannot listen: {reason}"));
    }

    /// When the keeper is said to have the address, it is an app of ours that has it.
    fn name_the_app(&self, error: ListenError) -> ListenError {
        let ListenError::InUse { address, holder } = error else { return error };
        let same_port = |entry: &&Entry| {
            let other = entry.group.address();
            *other == *address || (other.port().is_some() && other.port() == address.port())
        };
        let app = self.ports.entries.values().find(same_port).and_then(|entry| self.fleet.app(entry.app));
        let holder = match app {
            Some(app) => Some(Holder::Process {
                pid: self.site.keeper_pid as u32,
                command: format!("skep's app {}", app.name),
            }),
            None => holder,
        };
        ListenError::InUse { address, holder }
    }

    /// Gives the keeper the address's sockets if they have changed.
    pub(crate) fn keep_ports(&mut self, key: GroupKey, even_so: bool) {
        let Some(entry) = self.ports.entries.get_mut(&key) else { return };
        if !entry.group.take_changed() && !even_so {
            return;
        }
        let count = (1 + entry.group.descriptors().len()).div_ceil(FDS_PER_PART);
        let note = Note {
            app: entry.app,
            label: entry.label.clone(),
            balance: entry.balance,
            data: entry.data.clone(),
            group: String::from_utf8_lossy(&entry.group.note()).into_owned(),
            parts: count,
        };
        let note = serde_json::to_vec(&note).expect("plain data with string keys is always JSON");
        let before = std::mem::replace(&mut entry.parts, count);
        let note = match skep_sys::memfd::holding("skep-listener", &note) {
            Ok(note) => note,
            Err(error) => {
                crate::diary::note(format_args!("cannot keep {}: {error}", entry.group.address()));
                return;
            }
        };
        let entry = &self.ports.entries[&key];
        let mut fds: Vec<BorrowedFd<'_>> = vec![note.as_fd()];
        fds.extend(entry.group.descriptors());
        let mut failed = None;
        for (part, fds) in fds.chunks(FDS_PER_PART).enumerate() {
            let request = Request::Store { key: self::key(key, part), note: Vec::new() };
            failed = self.link.send(&request, fds).err().or(failed);
        }
        if let Some(error) = failed {
            crate::diary::note(format_args!("the keeper did not take a listener: {error}"));
        }
        for part in count..before {
            self.ask(&Request::Drop { key: self::key(key, part) });
        }
        self.link_wake.notify_one();
    }

    /// Says for each of the app's addresses whether somebody in the slot listens on it.
    pub(crate) fn refresh_live(&mut self, app: AppId, slot: SlotId) {
        let workers = &self.workers;
        for (_, entry) in self.ports.of(app) {
            let label = &entry.label;
            let live = workers.values().any(|worker| {
                let here = worker.app == app && worker.slot == slot;
                here && !worker.leaving && !worker.unready && worker.listens.contains(label)
            });
            entry.group.set_live(slot, live);
        }
        self.patrol_app(app);
    }

    /// Whether some worker of the app shall run, now or soon.
    pub(crate) fn is_wanted(&self, app: AppId) -> bool {
        let halting = self.ending || self.ending_op.is_some();
        let up = |slot: &skep_core::SlotView| slot.up && slot.status != skep_core::Status::Errored;
        !halting && self.fleet.app(app).is_some_and(|view| !view.deleting && view.slots.iter().any(up))
    }

    /// Whether some worker of the app is wanted, or still accepts: as long as that is so, its addresses stay open.
    fn is_alive(&self, app: AppId) -> bool {
        let accepts = |worker: &crate::worker::Worker| {
            worker.app == app && (!worker.leaving || !worker.listens.is_empty())
        };
        self.is_wanted(app) || self.workers.values().any(accepts)
    }

    /// Closes what nobody needs any more: the sockets of slots that stopped, and all of an app that stopped.
    pub(crate) fn reconcile_ports(&mut self, app: AppId) {
        if !self.is_alive(app) {
            self.close_app(app);
            return;
        }
        let Some(view) = self.fleet.app(app) else { return };
        for slot in view.slots {
            let idle = matches!(slot.status, skep_core::Status::Stopped | skep_core::Status::Errored);
            if idle && !self.workers.values().any(|worker| worker.slot == slot.id) {
                self.close_slot(app, slot.id);
            }
        }
    }

    /// `Effect::CloseSlot`: connections that wait there go to the other slots.
    pub(crate) fn close_slot(&mut self, app: AppId, slot: SlotId) {
        let keys: Vec<GroupKey> = self.ports.of(app).map(|(key, _)| key).collect();
        for key in keys {
            let Some(entry) = self.ports.entries.get_mut(&key) else { continue };
            entry.group.retire(slot);
            self.keep_ports(key, false);
        }
        self.patrol_app(app);
    }

    /// `Effect::CloseApp`: the ports are free afterwards.
    pub(crate) fn close_app(&mut self, app: AppId) {
        let keys: Vec<GroupKey> = self.ports.of(app).map(|(key, _)| key).collect();
        for key in keys {
            let Some(entry) = self.ports.entries.remove(&key) else { continue };
            for parcel in &entry.homeless {
                self.let_parcel_go(parcel);
            }
            for part in 0..entry.parts {
                self.ask(&Request::Drop { key: self::key(key, part) });
            }
            let message = format!("{} is no longer listened on", entry.group.address());
            if let Err(error) = entry.group.close() {
                crate::diary::note(format_args!("cannot remove a socket's path: {error}"));
            }
            self.tell(EventKind::ListenerClosed, Some(app), message);
        }
    }

    /// After a worker has gone: successors that were to listen on all that it listened on may be ready now.
    pub(crate) fn recheck_successors(&mut self, gone: WorkerId) {
        let waiting: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.identity.replaces == Some(gone) && !worker.told_listening)
            .map(crate::worker::Worker::id)
            .collect();
        for id in waiting {
            self.check_listening(id);
        }
    }
}

/// An address of the spec, with its host name looked up.
fn declared(address: &ListenAddress) -> Result<Address, String> {
    match address {
        ListenAddress::Tcp { host, port } => {
            Ok(Address::Tcp { host: resolve(host.as_deref())?, port: *port, v6only: false })
        }
        ListenAddress::Udp { host, port } => {
            Ok(Address::Udp { host: resolve(host.as_deref())?, port: *port, v6only: false })
        }
        ListenAddress::Unix { path } => Ok(Address::Unix { path: path.into(), mode: None, owner: None }),
    }
}

fn resolve(host: Option<&str>) -> Result<Host, String> {
    let Some(name) = host else { return Ok(Host::Any) };
    if let Ok(ip) = name.parse() {
        return Ok(Host::Ip(ip));
    }
    let found =
        (name, 0).to_socket_addrs().map_err(|error| format!("listen: {name} is not known: {error}"))?;
    found.map(|at| Host::Ip(at.ip())).next().ok_or_else(|| format!("listen: {name} has no address"))
}

/// The slot's share for `balance: weighted`.
fn weight(spec: &AppSpec, slot: SlotId, fleet: &skep_core::Fleet) -> u32 {
    let index = fleet
        .apps()
        .into_iter()
        .flat_map(|app| app.slots)
        .find(|seen| seen.id == slot)
        .map_or(0, |seen| seen.index as usize);
    spec.weights.get(index).copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_the_safe_box_read_back_and_others_are_left_alone() {
        assert_eq!(parse_key(&key(GroupKey(7), 2)), Some((7, 2)));
        assert_eq!(parse_key(b"w:7"), None);
        assert_eq!(parse_key(b"l:7"), None);
    }

    #[test]
    fn a_listener_whose_parts_are_incomplete_is_opened_anew_rather_than_guessed() {
        assert!(adopt_one(Parts::new()).is_err());
        assert!(adopt_one(Parts::from([(1, Vec::new())])).is_err());
    }
}
