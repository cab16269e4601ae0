//! The table of attached processes: who is where, and what is given back when one ends.

use std::path::Path;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use rustix::process::{Pid, test_kill_process};

use crate::control::{Control, Slot};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::key::{Key, Table, Take};
use crate::limits::SWEEP_KEYS;
use crate::tx::Tx;
use crate::{Owner, WallMs, flight, locks, queue};

/// The supervisor's place in the table.
pub(crate) const SUPERVISOR_SLOT: usize = 0;

/// What a row of [`Table::Holdings`] stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Holding {
    /// `request(4) lock name`.
    Lock = b'l',
    /// `request(4)` -> ticket(8), lock name.
    LockWait = b'w',
    /// `flight name`.
    Flight = b'o',
    /// `request(4)` -> flight id(8), ticket(8).
    FlightWait = b'v',
    /// `queue(8) job(8)`.
    Job = b'j',
    /// `queue(8)` -> ticket(8).
    QueueWait = b'q',
}

impl Holding {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Lock, Self::LockWait, Self::Flight, Self::FlightWait, Self::Job, Self::QueueWait]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    pub(crate) fn key(self, owner: Owner) -> Key {
        Key::new(Table::Holdings).u64(owner.number()).u8(self as u8)
    }
}

/// Takes a place for `owner`, or for a new unnumbered owner, with the FIFO ready in it.
///
/// A worker's number belongs to the first of its processes that attaches; others that inherited it (a program that
/// starts programs) get numbers of their own.
pub(crate) fn attach(
    engine: &Engine,
    owner: Option<Owner>,
    now: WallMs,
) -> Result<(usize, Owner, std::os::fd::OwnedFd)> {
    // The transaction is only for the writer's lock: two processes must not take one place.
    engine.write(now, |tx| {
        let control = tx.control;
        let owner =
            owner.filter(|owner| occupant(control, *owner).is_none_or(|pid| pid == std::process::id()));
        let slot = free_slot(control, owner)?;
        let place = &control.slots()[slot];
        // The FIFO first: wakers keep what they have opened under the incarnation that they read before.
        let fifo = crate::wake::make_fifo(engine.dir(), slot)?;
        let incarnation = place.incarnation.fetch_add(1, AcqRel).wrapping_add(1);
        let unnumbered = crate::owner::UNNUMBERED + u32::try_from(slot).unwrap_or(0);
        let owner = owner.unwrap_or(Owner { id: unnumbered, generation: incarnation });
        place.pid.store(std::process::id(), Relaxed);
        place.signalled.store(0, Relaxed);
        place.interest.store(0, Relaxed);
        place.knows_groups.store(incarnation, Relaxed);
        place.cursor.store(0, Relaxed);
        place.joined_ms.store(now.0, Relaxed);
        place.owner.store(owner.number(), Release);
        control.header().slots_high.fetch_max(u32::try_from(slot).unwrap_or(0) + 1, AcqRel);
        Ok((slot, owner, fifo))
    })
}

/// The process that is attached as `owner`.
fn occupant(control: &Control, owner: Owner) -> Option<u32> {
    let workers = control.slots_used().iter().skip(1);
    let mut of = workers.filter(|slot| slot.owner.load(Acquire) == owner.number());
    of.next().map(|slot| slot.pid.load(Relaxed))
}

/// Whether `owner`'s process ended without anybody saying so: a program that its worker started, and starts again.
pub(crate) fn is_dead(control: &Control, owner: Owner) -> bool {
    occupant(control, owner).is_some_and(is_gone)
}

fn is_gone(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

fn free_slot(control: &Control, owner: Option<Owner>) -> Result<usize> {
    let slots = control.slots();
    if owner == Some(Owner::SUPERVISOR) {
        return Ok(SUPERVISOR_SLOT);
    }
    let of = |number: u64| slots.iter().skip(1).position(|slot| slot.owner.load(Acquire) == number);
    let same = owner.and_then(|owner| of(owner.number()));
    same.or_else(|| of(0))
        .map(|index| index + 1)
        .ok_or(Error::TooManyWorkers { max: u32::try_from(slots.len()).unwrap_or(u32::MAX) })
}

/// Owners of one process: a worker, and threads of it that attached on their own.
pub(crate) fn owners_of_process(control: &Control, owner: Owner) -> Vec<Owner> {
    let slots = control.slots_used();
    let pid = |slot: &Slot| slot.pid.load(Relaxed);
    let own = slots.iter().find(|slot| slot.owner.load(Acquire) == owner.number()).map(pid);
    let mut owners = vec![owner];
    if let Some(own) = own {
        let others = slots.iter().skip(1).filter(|slot| pid(slot) == own).map(|s| s.owner.load(Acquire));
        owners.extend(others.filter(|n| *n != 0).map(Owner::from_number).filter(|other| *other != owner));
    }
    owners
}

/// Gives back everything that `owner` held and frees its place. How many things were given back.
pub(crate) fn release(engine: &Engine, owner: Owner, now: WallMs) -> Result<usize> {
    let mut released = 0;
    loop {
        let count = engine.write_freeing(now, |tx| release_some(tx, owner))?;
        released += count;
        if count == 0 {
            break;
        }
    }
    engine.write_freeing(now, |tx| {
        while let Some(key) = tx.keys(&Key::new(Table::Mail).u64(owner.number()), 1)?.first() {
            tx.delete_raw(key)?;
        }
        free(engine.dir(), tx.control, owner);
        Ok(())
    })?;
    Ok(released)
}

/// Only under the writer's lock, like [`attach`]: somebody else may free the same place, and somebody new may take it
/// the moment that it is free. Its FIFO must be gone before that, or it would be the new one's that is removed.
fn free(dir: &Path, control: &Control, owner: Owner) {
    let Some(slot) = control.slots_used().iter().position(|s| s.owner.load(Acquire) == owner.number()) else {
        return;
    };
    let place = &control.slots()[slot];
    place.interest.store(0, Relaxed);
    place.pid.store(0, Relaxed);
    let _ = rustix::fs::unlink(crate::wake::fifo_path(dir, slot));
    place.owner.store(0, Release);
}

fn release_some(tx: &mut Tx<'_>, owner: Owner) -> Result<usize> {
    let prefix = Key::new(Table::Holdings).u64(owner.number());
    let rows: Vec<(Vec<u8>, Vec<u8>)> = tx
        .view()
        .rows(&prefix)?
        .take(SWEEP_KEYS)
        .map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())))
        .collect::<Result<_>>()?;
    for (key, value) in &rows {
        // Granting one waiter's lock may have changed a later row of this list: it is looked at as it is now.
        if !tx.delete_raw(key)? {
            continue;
        }
        let mut rest = Take(&key[prefix.as_slice().len()..]);
        let Some(kind) = Holding::from_byte(rest.u8()) else { continue };
        let mut value = Take(value);
        match kind {
            Holding::Lock => {
                let request = rest.u32();
                locks::give_back(tx, owner, request, rest.0)?;
            }
            Holding::LockWait => locks::stop_waiting(tx, value.u64(), value.0)?,
            Holding::Flight => flight::abandon(tx, owner, rest.0)?,
            Holding::FlightWait => flight::stop_waiting(tx, value.u64(), value.u64())?,
            Holding::Job => queue::abandon(tx, rest.u64(), rest.u64())?,
            Holding::QueueWait => queue::stop_waiting(tx, rest.u64(), value.u64())?,
        }
    }
    Ok(rows.len())
}

/// Owners that no supervisor numbered and whose process is gone: nobody else would say so.
pub(crate) fn dead_unnumbered(control: &Control) -> Vec<Owner> {
    let dead = |slot: &&Slot| slot.owner.load(Acquire) != 0 && is_gone(slot.pid.load(Relaxed));
    let slots = control.slots_used().iter().skip(1);
    let owners = slots.filter(dead).map(|slot| Owner::from_number(slot.owner.load(Acquire)));
    owners.filter(|owner| owner.is_unnumbered()).collect()
}
