//! Looking after the queues.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{Shutdown, shutdown};
use skep_core::{Now, SlotId};
use skep_sys::net::{Accepted, accept, listen};

use super::{Form, Group, Place, Slot};
use crate::steal::{Arm, Observation, Occupant, Orders, PlaceId};
use crate::{GroupKey, Selector, Transfer, Watcher};

/// Connections that `ipc` accepts in one patrol: what workers can take in a moment, so that the rest wait in the
/// kernel, where a SIGKILL of ours cannot hurt them.
const ACCEPTED_AT_ONCE: usize = 64;

/// A connection that is to be handed to a slot's worker.
#[derive(Debug)]
pub struct Move {
    /// Slot whose queue it waited in; `None` when it waited in one for all (`ipc`) or in a retired one.
    pub from: Option<SlotId>,
    /// Slot that is to get it. If its worker refuses or dies, give it to [`Group::pick`].
    pub to: SlotId,
    /// The connection.
    pub connection: Waiting,
}

/// Where a connection is that is to be handed over.
#[derive(Debug)]
pub enum Waiting {
    /// Accepted, non-blocking (`ipc`).
    Accepted(OwnedFd),
    /// In this queue. Whoever accepts it takes it along when he dies, so that is left to the owner.
    Queued(Queued),
}

/// A connection that is to be taken out of a queue: any of those that wait there. For as long as this lives the group
/// takes into account that it may be in there still.
#[derive(Debug)]
pub struct Queued {
    socket: Arc<OwnedFd>,
    _ordered: Arc<()>,
}

impl AsFd for Queued {
    /// The listening socket.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Waiting {
    /// Accepts it, if that is still to be done; `None` when the queue is empty by now.
    ///
    /// # Errors
    /// Those of [`accept`].
    pub fn take(self) -> io::Result<Option<OwnedFd>> {
        match self {
            Waiting::Accepted(connection) => Ok(Some(connection)),
            Waiting::Queued(queue) => match accept(queue.as_fd())? {
                Accepted::Connection(connection) => Ok(Some(connection)),
                Accepted::Empty | Accepted::Blocking => Ok(None),
            },
        }
    }
}

/// Outcome of a patrol.
#[derive(Debug, Default)]
pub struct Round {
    /// Connections to hand over.
    pub moves: Vec<Move>,
    /// When to patrol next, besides when the watcher names this group. It replaces the time of earlier rounds.
    pub again: Option<Now>,
}

// === impl Group ===

impl Group {
    /// Registers all sockets of the group, present and future, with a watcher under `key`, and waits for the
    /// first connection.
    ///
    /// # Errors
    /// ENOSPC (`fs.epoll.max_user_watches`), ENOMEM.
    pub fn watch(&mut self, watcher: &Watcher, key: GroupKey) -> io::Result<()> {
        let first = self.places.first().expect("a group always has a socket");
        watcher.arm(key, first.socket.as_fd())?;
        self.watch = Some((watcher.clone(), key));
        self.arm();
        Ok(())
    }

    /// Looks at all queues once: steers new connections around those that are stuck, takes out what waits
    /// there, and under `ipc` accepts for everyone. Under `ipc` call it again after workers have acknowledged
    /// what they got; with no worker able it accepts nothing.
    pub fn patrol(&mut self, now: Now) -> Round {
        match self.engine.selection().selector {
            Selector::Ipc => self.accept_for_all(),
            Selector::Shared => Round::default(),
            Selector::EbpfShortest
            | Selector::EbpfRr
            | Selector::EbpfLeast
            | Selector::EbpfIp
            | Selector::CbpfRandom
            | Selector::CbpfIp
            | Selector::CbpfHash
            | Selector::KernelHash => self.look_after(now),
        }
    }

    /// A live slot for a connection whose slot refused it: the one with the lowest load, among equals in turn.
    /// `except` has refused it already.
    pub fn pick(&mut self, except: &[SlotId]) -> Option<SlotId> {
        let able = |slot: &&Slot| slot.live && slot.weight > 0 && !except.contains(&slot.id);
        let least = self.slots.iter().filter(able).map(|slot| slot.load).min()?;
        let equals: Vec<SlotId> =
            self.slots.iter().filter(able).filter(|slot| slot.load == least).map(|slot| slot.id).collect();
        self.turn = self.turn.wrapping_add(1);
        equals.get(self.turn.checked_rem(equals.len())?).copied()
    }

    fn accept_for_all(&mut self) -> Round {
        let mut round = Round::default();
        while round.moves.len() < ACCEPTED_AT_ONCE {
            let Some(to) = self.pick(&[]) else { return round };
            let Some(place) = self.places.first() else { return round };
            let Ok(Accepted::Connection(connection)) = accept(place.socket.as_fd()) else { break };
            if let Some(slot) = self.slot_mut(to) {
                slot.load += 1;
            }
            round.moves.push(Move { from: None, to, connection: Waiting::Accepted(connection) });
        }
        self.arm();
        round
    }

    fn look_after(&mut self, now: Now) -> Round {
        if self.datagrams() {
            return Round::default();
        }
        let seen: Vec<Observation> = self.places.iter().map(|place| self.observation(place)).collect();
        let orders = self.rule.observe(now, &seen);
        if orders.avoid != self.avoid {
            self.avoid.clone_from(&orders.avoid);
            self.steer();
        }
        let moves = self.carry_out(&orders);
        for place in &orders.close {
            self.close_place(*place);
        }
        self.close_what_migrates(&seen);
        match &orders.again.arm {
            Arm::Nothing => {}
            Arm::All => self.arm(),
            Arm::Only(places) => {
                for place in self.places.iter().filter(|place| places.contains(&place.id)) {
                    self.arm_place(place);
                }
            }
        }
        Round { moves, again: orders.again.at }
    }

    fn observation(&self, place: &Place) -> Observation {
        let slot = self.slots.iter().find(|slot| slot.place == place.id);
        let occupant = match slot {
            Some(slot) if slot.live => Occupant::Live,
            Some(_) => Occupant::Vacant,
            // The last socket stays for the slots to come.
            None if self.places.len() == 1 => Occupant::Vacant,
            None => Occupant::Leaving,
        };
        let queue = place.queue();
        if queue.is_some_and(|queue| !queue.listening || queue.limit < self.options.backlog()) {
            // A program that was lent the socket called shutdown(2) on it, or listen(2) with a short backlog
            // (Python's http.server: 5). It is still ours and still bound.
            let _ = listen(&place.socket, self.options.backlog());
        }
        // Under `least` the counter is overwritten by feedback, hence no count of arrivals.
        let arrivals = if self.counts_load() { None } else { self.engine.load(place.id) };
        Observation {
            place: place.id,
            occupant,
            queue: queue.map_or(0, |queue| queue.waiting),
            arrivals,
            pending: slot.map_or(0, |slot| slot.pending),
            ordered: place.ordered(),
        }
    }

    fn carry_out(&mut self, orders: &Orders) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut to: VecDeque<SlotId> = orders.to.iter().filter_map(|place| self.tenant(*place)).collect();
        for (from, at_most) in &orders.steal {
            let Some(place) = self.place(*from) else { continue };
            for _ in 0..*at_most {
                let Some(target) = to.front().copied() else { return moves };
                let connection = Waiting::Queued(Queued {
                    socket: Arc::clone(&place.socket),
                    _ordered: Arc::clone(&place.ordered),
                });
                if let Some(slot) = self.slots.iter().find(|slot| slot.id == target) {
                    self.engine.moved(*from, slot.place);
                }
                moves.push(Move { from: self.tenant(*from), to: target, connection });
                to.rotate_left(1);
            }
        }
        moves
    }

    /// Where nobody can be handed a connection, what waits at a retired place would wait for ever, unless the kernel gives
    /// it to the others when the place closes.
    fn close_what_migrates(&mut self, seen: &[Observation]) {
        if self.options.transfer == Transfer::Connections || !self.engine.migrates() {
            return;
        }
        if seen.iter().any(|one| one.occupant == Occupant::Live) {
            for one in seen.iter().filter(|one| one.occupant == Occupant::Leaving) {
                self.close_place(one.place);
            }
        }
    }

    fn tenant(&self, place: PlaceId) -> Option<SlotId> {
        self.slots.iter().find(|slot| slot.place == place).map(|slot| slot.id)
    }

    /// Takes a socket out of the group, in the kernel too. `shutdown` rather than close alone: a duplicate in
    /// the keeper or in a forgotten process would keep it in the group, and numbers would no longer agree.
    fn close_place(&mut self, id: PlaceId) {
        if self.form == Form::One || self.places.len() == 1 {
            return;
        }
        let Some(at) = self.places.iter().position(|place| place.id == id) else { return };
        // As the kernel does: the last one takes its number.
        let place = self.places.swap_remove(at);
        if let Some((watcher, _)) = &self.watch {
            watcher.forget(place.socket.as_fd());
        }
        let _ = shutdown(&place.socket, Shutdown::Read);
        self.changed = true;
        self.steer();
    }
}
