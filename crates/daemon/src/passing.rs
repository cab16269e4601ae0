//! Connections that go to workers through the keeper's hands.
//!
//! Whoever accepts a connection takes it along when he dies, and this daemon may be SIGKILLed at any instant. So it accepts
//! none (but under `ipc`): the keeper takes the connection out of its queue, keeps it, and writes it into the worker's
//! channel ([`Pass`]). What a draining worker hands over goes the same way before it is taken out of that worker's channel.
//! The keeper's copy is dropped when the worker has said that it took the connection; if it refuses, or dies, the copy goes
//! to another one, and a daemon that comes after this one finds in the inventory what is still on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};
use skep_core::{AppId, WorkerId};
use skep_keeper::fault;
use skep_keeper::wire::{Origin, Pass, Passed, Request, VERSION_WITH_PASS};
use skep_listeners::Queued;
use skep_node_ipc::ConnectionKind;

use crate::driver::Driver;
use crate::keeper::Stored;

/// What the keys of connections in the keeper's safe-box begin with.
pub(crate) const KEY_PREFIX: &str = "c:";

/// Set in the number of a connection that a worker handed over: the rest is its socket's cookie (SO_COOKIE), so that the
/// same one has the same number when it is told of twice. The others are counted, above the generation of their daemon.
const BY_COOKIE: u64 = 1 << 63;

/// A connection on its way to a worker.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// Ours alone: it dies with this daemon.
    Own(OwnedFd),
    /// It goes through the keeper's hands.
    Kept(KeptId),
}

/// A connection's number in the safe-box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeptId(u64);

/// A line for the keeper to write, with a connection.
#[derive(Debug)]
pub(crate) struct Through {
    pub(crate) kept: KeptId,
    /// The session's id of the line.
    pub(crate) frame: u64,
    pub(crate) line: Vec<u8>,
}

#[derive(Debug)]
struct Kept {
    app: AppId,
    label: String,
    /// The worker that handed it over.
    from: Option<WorkerId>,
    /// Workers that have refused it.
    except: Vec<WorkerId>,
    place: Place,
    /// Ours of it, for a keeper that dies.
    copy: Option<OwnedFd>,
    /// Whom it was sent to, under which of the session's ids.
    to: Option<(WorkerId, u64)>,
}

/// Where a connection is.
#[derive(Debug)]
enum Place {
    /// In this queue still, as any of those that wait there.
    Queue(Queued),
    /// Here, in `copy`.
    Here,
    /// With the keeper, or it was asked to take it.
    Keeper,
}

/// What the keeper keeps beside a connection, behind its own byte.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    app: AppId,
    label: String,
    from: Option<WorkerId>,
    except: Vec<WorkerId>,
    /// To whom it is sent, under which id.
    to: Option<(WorkerId, u64)>,
}

/// A `Pass` that is not answered yet.
#[derive(Debug)]
struct Asked {
    worker: WorkerId,
    frame: u64,
    kept: KeptId,
    /// Where it is to be taken from.
    _queue: Option<Queued>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    counted: u64,
    kept: BTreeMap<KeptId, Kept>,
    asked: BTreeMap<u64, Asked>,
    /// What an earlier daemon had on its way, and who had handed it over: if that one is heard doing so, it was heard
    /// before.
    inherited: BTreeSet<(KeptId, WorkerId)>,
}

impl Parcel {
    fn kept(&self) -> Option<KeptId> {
        match self {
            Parcel::Own(_) => None,
            Parcel::Kept(id) => Some(*id),
        }
    }
}

impl KeptId {
    fn key(self) -> Vec<u8> {
        format!("{KEY_PREFIX}{:x}", self.0).into_bytes()
    }

    fn parse(key: &[u8]) -> Option<KeptId> {
        let number = std::str::from_utf8(key).ok()?.strip_prefix(KEY_PREFIX)?;
        u64::from_str_radix(number, 16).ok().map(KeptId)
    }
}

impl Kept {
    fn kind(&self) -> ConnectionKind {
        kind(self.from)
    }

    fn note(&self) -> Vec<u8> {
        let note = Note {
            app: self.app,
            label: self.label.clone(),
            from: self.from,
            except: self.except.clone(),
            to: self.to,
        };
        serde_json::to_vec(&note).expect("plain data with string keys is always JSON")
    }

    /// The note with the byte that the keeper would put before it.
    fn kept_note(&self) -> Vec<u8> {
        let byte = if self.to.is_some() { Pass::SENT } else { Pass::KEPT };
        [&[byte], self.note().as_slice()].concat()
    }
}

fn kind(from: Option<WorkerId>) -> ConnectionKind {
    if from.is_some() { ConnectionKind::Migrated } else { ConnectionKind::Fresh }
}

impl Passing {
    fn number(&mut self, generation: u32) -> KeptId {
        self.counted += 1;
        KeptId((u64::from(generation) << 32 | self.counted) & !BY_COOKIE)
    }
}

impl Driver {
    /// Whether this keeper passes connections on. One from before the last upgrade does not.
    pub(crate) fn passes(&self) -> bool {
        self.site.keeper_version >= VERSION_WITH_PASS
    }

    /// One of those that wait in a queue.
    pub(crate) fn expect(&mut self, queue: Queued, app: AppId, label: &str) -> Parcel {
        let id = self.passing.number(self.generation());
        let (label, place) = (label.to_owned(), Place::Queue(queue));
        let kept = Kept { app, label, from: None, except: Vec::new(), place, copy: None, to: None };
        self.passing.kept.insert(id, kept);
        Parcel::Kept(id)
    }

    /// One that a worker handed over; `None` if that was heard before. What comes of it is with the keeper when
    /// [`Driver::settle_link`] returns.
    pub(crate) fn take_over(
        &mut self,
        connection: OwnedFd,
        from: WorkerId,
        app: AppId,
        label: &str,
    ) -> Option<Parcel> {
        if !self.passes() {
            return Some(Parcel::Own(connection));
        }
        let Ok(cookie) = rustix::net::sockopt::socket_cookie(&connection) else {
            return Some(Parcel::Own(connection));
        };
        let id = KeptId(cookie | BY_COOKIE);
        let known = self.passing.kept.get(&id).is_some_and(|kept| kept.from == Some(from));
        if known || self.passing.inherited.contains(&(id, from)) {
            return None;
        }
        let kept = Kept {
            app,
            label: label.to_owned(),
            from: Some(from),
            except: Vec::new(),
            place: Place::Here,
            copy: Some(connection),
            to: None,
        };
        self.passing.kept.insert(id, kept);
        Some(Parcel::Kept(id))
    }

    /// Waits until the kernel has all that was asked of the keeper: from then on it is carried out, whatever becomes of us.
    pub(crate) fn settle_link(&mut self) {
        if self.link.wants_write()
            && let Err(error) = self.flush_whole()
        {
            crate::diary::note(format_args!("the keeper did not take a request: {error}"));
        }
    }

    /// A connection that nobody can take now waits for the next worker that listens. One in a queue stays there.
    pub(crate) fn shelter(&mut self, app: AppId, label: &str, parcel: Parcel) {
        if let Parcel::Kept(id) = parcel {
            let Some(kept) = self.passing.kept.get_mut(&id) else { return };
            kept.to = None;
            if let Place::Queue(_) = kept.place {
                self.passing.kept.remove(&id);
                return;
            }
            kept.place = Place::Keeper;
            let (note, copy) = (kept.kept_note(), kept.copy.as_ref().and_then(|copy| copy.try_clone().ok()));
            // Without a copy the keeper's note goes on naming the last worker; only a later daemon would care.
            if let Some(copy) = copy {
                self.ask_with(&Request::Store { key: id.key(), note }, &[copy.as_fd()]);
            }
        }
        match self.ports.find(app, label) {
            Some((_, entry)) => entry.homeless.push(parcel),
            None => self.let_parcel_go(&parcel),
        }
    }

    /// The connection has its worker, or nobody needs it any more.
    pub(crate) fn let_parcel_go(&mut self, parcel: &Parcel) {
        if let Some(id) = parcel.kept() {
            self.end_passing(id);
        }
    }

    fn end_passing(&mut self, id: KeptId) {
        if let Some(kept) = self.passing.kept.remove(&id)
            && !matches!(kept.place, Place::Queue(_))
        {
            self.ask(&Request::Drop { key: id.key() });
        }
    }

    /// Has the keeper write a line with a connection. Its answer is [`Driver::passed`].
    pub(crate) fn pass(&mut self, worker: WorkerId, through: Through) {
        let Through { kept: id, frame, line } = through;
        let socket = self.channel_mut(worker).map(|channel| channel.socket());
        let (Some(kept), Some(socket)) = (self.passing.kept.get_mut(&id), socket) else {
            // It was given up in the meantime.
            self.not_passed(worker, frame);
            return;
        };
        kept.to = Some((worker, frame));
        let note = kept.note();
        let (from, queue) = match std::mem::replace(&mut kept.place, Place::Keeper) {
            Place::Queue(queue) => (Origin::Queue, Some(queue)),
            Place::Here => (Origin::Attached, None),
            Place::Keeper => (Origin::Kept, None),
        };
        let attached: Option<BorrowedFd<'_>> = match (&queue, from) {
            (Some(queue), _) => Some(queue.as_fd()),
            (None, Origin::Attached) => kept.copy.as_ref().map(AsFd::as_fd),
            (None, _) => None,
        };
        let fds: Vec<BorrowedFd<'_>> = [socket.as_fd()].into_iter().chain(attached).collect();
        self.passing.counted += 1;
        let ticket = self.passing.counted;
        let request = Request::Pass(Box::new(Pass { ticket, key: id.key(), note, line, from }));
        if let Err(error) = self.link.send(&request, &fds) {
            crate::diary::note(format_args!("the keeper did not take a connection: {error}"));
        }
        self.link_wake.notify_one();
        self.passing.asked.insert(ticket, Asked { worker, frame, kept: id, _queue: queue });
        fault::point("daemon", "passed");
    }

    /// What came of a `Pass`.
    pub(crate) fn passed(&mut self, ticket: u64, outcome: Passed, copy: Option<OwnedFd>) {
        let Some(Asked { worker, frame, kept: id, .. }) = self.passing.asked.remove(&ticket) else { return };
        if let (Some(kept), Some(copy)) = (self.passing.kept.get_mut(&id), copy) {
            kept.copy = Some(copy);
        }
        match outcome {
            Passed::Sent => {
                if let Some(channel) = self.channel_mut(worker) {
                    channel.session_mut().lent_written(frame);
                }
            }
            Passed::Full => {
                if let Some(channel) = self.channel_mut(worker) {
                    channel.session_mut().lent_back(frame);
                    // Its task waits for room.
                    channel.wake().notify_one();
                }
                return;
            }
            // The channel's end is read soon, and what was on its way then goes to others.
            Passed::Gone => return,
            Passed::Nothing => self.unpass(worker, frame, id),
            Passed::Failed(errno) => {
                let error = std::io::Error::from_raw_os_error(errno);
                crate::diary::note(format_args!("the keeper could not pass a connection on: {error}"));
                self.unpass(worker, frame, id);
            }
        }
        self.flush_channel(worker);
    }

    /// The keeper had nothing to pass. If there is a copy here, it goes without the keeper.
    fn unpass(&mut self, worker: WorkerId, frame: u64, id: KeptId) {
        let kept = self.passing.kept.remove(&id);
        self.not_passed(worker, frame);
        if let Some(Kept { app, label, from, except, copy: Some(copy), .. }) = kept
            && let Some(back) = self.give(app, &label, Parcel::Own(copy), kind(from), None, &except)
        {
            self.shelter(app, &label, back);
        }
    }

    fn not_passed(&mut self, worker: WorkerId, frame: u64) {
        let conn = self.channel_mut(worker).and_then(|channel| channel.session_mut().withdraw(frame));
        if let Some(conn) = conn {
            self.traffic.settled(conn);
            self.update_load(worker);
        }
    }

    /// Where it comes from, as far as that is known.
    pub(crate) fn kind_of(&self, parcel: &Parcel) -> ConnectionKind {
        let kept = parcel.kept().and_then(|id| self.passing.kept.get(&id));
        kept.map_or(ConnectionKind::Fresh, Kept::kind)
    }

    /// Notes who must not get it, before it is given.
    pub(crate) fn address_parcel(&mut self, parcel: &Parcel, except: &[WorkerId]) {
        if let Some(kept) = parcel.kept().and_then(|id| self.passing.kept.get_mut(&id)) {
            kept.except = except.to_vec();
        }
    }

    /// What an earlier daemon had on its way: its workers still answer for it, or it goes to others.
    pub(crate) fn take_back_connections(&mut self, stored: Vec<Stored>) {
        let mut on_their_way: Vec<(WorkerId, u64, KeptId)> = Vec::new();
        let mut waiting: Vec<KeptId> = Vec::new();
        for item in stored {
            let Some(id) = KeptId::parse(&item.key) else { continue };
            let note =
                item.note.split_first().map(|(byte, note)| (*byte, serde_json::from_slice::<Note>(note)));
            let Some((byte, Ok(note))) = note else {
                self.ask(&Request::Drop { key: item.key });
                continue;
            };
            self.passing.inherited.extend(note.from.map(|from| (id, from)));
            let to = note.to.filter(|_| byte == Pass::SENT);
            let Note { app, label, from, except, .. } = note;
            let copy = item.fds.into_iter().next();
            self.passing.kept.insert(id, Kept { app, label, from, except, place: Place::Keeper, copy, to });
            let able = |worker: &crate::worker::Worker| worker.channel.is_some();
            match to.filter(|(worker, _)| self.workers.get(worker).is_some_and(able)) {
                Some((worker, frame)) => on_their_way.push((worker, frame, id)),
                None => waiting.push(id),
            }
        }
        // In the order in which they were sent: the session tells by it what a worker never got.
        on_their_way.sort_unstable();
        for (worker, frame, id) in on_their_way {
            self.take_up(worker, frame, id);
        }
        for id in waiting {
            self.give_again(id);
        }
    }

    fn take_up(&mut self, worker: WorkerId, frame: u64, id: KeptId) {
        let Some(kept) = self.passing.kept.get(&id) else { return };
        let (app, label, kind, except) = (kept.app, kept.label.clone(), kept.kind(), kept.except.clone());
        let parcel = Parcel::Kept(id);
        let conn = self.traffic.send(worker, app, kind, &except);
        if let Some(channel) = self.channel_mut(worker) {
            channel.session_mut().take_up(frame, conn, &label, parcel);
        }
    }

    fn give_again(&mut self, id: KeptId) {
        let Some(kept) = self.passing.kept.get(&id) else { return };
        let (app, label, kind, except) = (kept.app, kept.label.clone(), kept.kind(), kept.except.clone());
        if let Some(back) = self.give(app, &label, Parcel::Kept(id), kind, None, &except) {
            self.shelter(app, &label, back);
        }
    }

    /// The keeper has died: its heir gets what there are copies of.
    ///
    /// What it was asked and did not answer it may have done or not. If the connection was still in a queue, it is there or
    /// with the worker. If it was a copy of ours, that is given up: two workers must not read from it.
    pub(crate) fn hand_over_connections(&mut self) {
        for Asked { worker, frame, kept, .. } in std::mem::take(&mut self.passing.asked).into_values() {
            self.not_passed(worker, frame);
            self.passing.kept.remove(&kept);
        }
        for (id, kept) in &self.passing.kept {
            if let (Some(copy), Place::Keeper) = (&kept.copy, &kept.place) {
                let request = Request::Store { key: id.key(), note: kept.kept_note() };
                if let Err(error) = self.link.send(&request, &[copy.as_fd()]) {
                    crate::diary::note(format_args!("the keeper did not take a connection: {error}"));
                }
            }
        }
        self.link_wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_the_safe_box_read_back_and_others_are_left_alone() {
        for id in [KeptId(7), KeptId(BY_COOKIE | 9)] {
            assert_eq!(KeptId::parse(&id.key()), Some(id));
        }
        assert_eq!(KeptId::parse(b"w:7"), None);
        assert_eq!(KeptId::parse(b"c:"), None);
    }

    #[test]
    fn numbers_of_two_daemons_differ_and_none_is_a_cookie() {
        let first = Passing::default().number(1);
        let second = Passing::default().number(2);
        let last = Passing::default().number(u32::MAX);
        assert_ne!(first, second);
        assert_eq!(last.0 & BY_COOKIE, 0);
    }
}
