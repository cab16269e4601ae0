//! Queues: at least once. A popped job is invisible until it is acknowledged, its time is over, or its worker ends;
//! then it is ready again. A job that fails too often lies among the dead.
//!
//! Invariants: a job is in exactly one part (ready, delayed, active, dead); only the last pop's receipt can settle it;
//! whoever was told of work and ends before popping passes the word on.

mod admin;
mod rows;

use crate::error::Result;
use crate::event::Event;
use crate::key::{Key, Put, Table, Take};
use crate::limits::{ERROR_BYTES_MAX, QUEUE_PROMOTE};
use crate::tx::{Tx, View};
use crate::workers::Holding;
use crate::{Owner, WallMs};
pub use admin::{JobPart, JobView};
pub(crate) use admin::{peek, purge, revive_one, set_paused};
use rows::{
    DATA, INFO, Info, Part, Queue, WAITING, find, index, info, load, open, place, remove, rows, save, shift,
};

/// How a job is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushOptions {
    /// Higher goes first; same priority: first in, first out.
    pub priority: u8,
    /// Not before so many milliseconds have passed.
    pub delay_ms: u64,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// How long it rests before that.
    pub retry: Retry,
}

/// The rest between tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    /// Before the first retry, in milliseconds.
    pub after_ms: u64,
    /// Whether it doubles each time (at most 64-fold) or stays.
    pub doubles: bool,
}

/// Why a job failed, and what then.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// The error's text, cut at 4 KiB.
    pub error: &'a str,
    /// How often and after what rest it is tried again; `None`: as it was pushed.
    pub policy: Option<(u32, Retry)>,
}

/// A job given to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// What was pushed.
    pub data: Vec<u8>,
    /// Which try this is, from 1; also the receipt that settles it.
    pub attempt: u32,
}

/// The answer to a pop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Popped {
    /// A job.
    Job(Job),
    /// Nothing is ready. [`Event::QueueReady`] comes when that changes; pop again at `due` too, if there is one.
    Empty {
        /// When the next delayed or overdue job is ready.
        due: Option<WallMs>,
    },
}

/// A queue as `skep state queues` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueView {
    /// Its name.
    pub name: Vec<u8>,
    /// Jobs ready to be popped.
    pub ready: u64,
    /// Jobs that rest.
    pub delayed: u64,
    /// Jobs being worked on.
    pub active: u64,
    /// Jobs that failed too often.
    pub dead: u64,
    /// Consumers are given nothing.
    pub paused: bool,
}

/// Why a job is dead whose workers never got to say so.
const ENDED_EVERY_TIME: &str = "its workers ended, or forgot it, at every try";

/// Puts a job in, as a part of a transaction; its number.
///
/// # Errors
/// [`crate::Error::ValueTooLong`], [`crate::Error::KeyTooLong`], or when the store itself fails.
pub fn push(tx: &mut Tx<'_>, name: &[u8], data: &[u8], options: &PushOptions) -> Result<u64> {
    tx.check_value(data)?;
    let mut queue = open(tx, name)?;
    let job = tx.ticket();
    let part = if options.delay_ms == 0 { Part::Ready } else { Part::Delayed };
    let (priority, retries, retry) = (options.priority, options.retries, options.retry);
    let at_ms = tx.now().plus(options.delay_ms).0;
    let info = Info { part, priority, attempts: 0, retries, retry, at_ms, ticket: job, owner: 0 };
    tx.put(&place(queue.id, job, &info), &[])?;
    tx.put(&rows(queue.id, INFO).u64(job), &info.encode())?;
    tx.put(&rows(queue.id, DATA).u64(job), data)?;
    queue.counts[index(part)] += 1;
    save(tx, &queue)?;
    tell_one(tx, queue.id)?;
    Ok(job)
}

/// Takes the first ready job, or a place among those who are told of the next one.
pub(crate) fn pop(
    tx: &mut Tx<'_>,
    owner: Owner,
    name: &[u8],
    request: u32,
    visibility_ms: u64,
) -> Result<Popped> {
    let mut queue = open(tx, name)?;
    let waiting = Holding::QueueWait.key(owner).u64(queue.id);
    if let Some(ticket) = tx.get(&waiting)?.map(|bytes| Take(bytes).u64()) {
        tx.delete(&waiting)?;
        tx.delete(&rows(queue.id, WAITING).u64(ticket))?;
    }
    let paused = admin::is_paused(&tx.view(), queue.id)?;
    if !paused {
        promote(tx, &mut queue)?;
    }
    let prefix = rows(queue.id, Part::Ready as u8);
    while !paused
        && let Some(job) = tx.view().first(&prefix)?.map(|(key, _)| Take(&key[key.len() - 8..]).u64())
    {
        let Some(before) = info(tx, queue.id, job)? else { break };
        let mut active = before;
        active.attempts += 1;
        if active.attempts > before.retries.saturating_add(1) {
            // Its workers ended every time: it is what ends them.
            let dead = Info { part: Part::Dead, ..before };
            shift(tx, &mut queue, job, &before, &dead)?;
            tx.put(&place(queue.id, job, &dead), ENDED_EVERY_TIME.as_bytes())?;
            continue;
        }
        active.part = Part::Active;
        active.at_ms = tx.now().plus(visibility_ms).0;
        active.owner = owner.number();
        shift(tx, &mut queue, job, &before, &active)?;
        tx.put(&Holding::Job.key(owner).u64(queue.id).u64(job), &[])?;
        save(tx, &queue)?;
        let data = tx.get(&rows(queue.id, DATA).u64(job))?.unwrap_or_default().to_vec();
        return Ok(Popped::Job(Job { id: job, data, attempt: active.attempts }));
    }
    save(tx, &queue)?;
    let ticket = tx.ticket();
    let mut waiter = Vec::with_capacity(12);
    waiter.put_u64(owner.number());
    waiter.put_u32(request);
    tx.put(&rows(queue.id, WAITING).u64(ticket), &waiter)?;
    tx.put(&waiting, &ticket.to_be_bytes())?;
    let due = if paused { None } else { due(&tx.view(), queue.id)? };
    Ok(Popped::Empty { due })
}

fn due(view: &View<'_>, queue: u64) -> Result<Option<WallMs>> {
    let mut earliest: Option<WallMs> = None;
    for part in [Part::Delayed, Part::Active] {
        let prefix = rows(queue, part as u8);
        if let Some((key, _)) = view.first(&prefix)? {
            let at = WallMs(Take(&key[prefix.as_slice().len()..]).ms());
            earliest = Some(earliest.map_or(at, |other| other.min(at)));
        }
    }
    Ok(earliest)
}

/// Delayed jobs whose time has come, and active ones whose time is over, become ready.
fn promote(tx: &mut Tx<'_>, queue: &mut Queue) -> Result<()> {
    let now = tx.now();
    for part in [Part::Delayed, Part::Active] {
        let prefix = rows(queue.id, part as u8);
        for key in tx.keys(&prefix, QUEUE_PROMOTE)? {
            let mut rest = Take(&key[prefix.as_slice().len()..]);
            let (at, job) = (rest.ms(), rest.u64());
            if at > now.0 {
                break;
            }
            if let Some(before) = info(tx, queue.id, job)? {
                ready_again(tx, queue, job, &before)?;
            }
        }
    }
    Ok(())
}

fn ready_again(tx: &mut Tx<'_>, queue: &mut Queue, job: u64, before: &Info) -> Result<()> {
    if before.part == Part::Active {
        let owner = Owner::from_number(before.owner);
        tx.delete(&Holding::Job.key(owner).u64(queue.id).u64(job))?;
    }
    shift(tx, queue, job, before, &Info { part: Part::Ready, owner: 0, ..*before })
}

/// The job that `owner` holds with this receipt.
fn held(tx: &Tx<'_>, owner: Owner, name: &[u8], job: u64, attempt: u32) -> Result<Option<(Queue, Info)>> {
    let Some(queue) = find(&tx.view(), name)?.map(|id| load(tx, id)).transpose()?.flatten() else {
        return Ok(None);
    };
    let held = info(tx, queue.id, job)?
        .filter(|info| info.part == Part::Active && info.attempts == attempt && info.owner == owner.number());
    Ok(held.map(|info| (queue, info)))
}

/// A job is done; false if it was given to somebody else meanwhile.
pub(crate) fn acknowledge(
    tx: &mut Tx<'_>,
    owner: Owner,
    name: &[u8],
    job: u64,
    attempt: u32,
) -> Result<bool> {
    let Some((mut queue, info)) = held(tx, owner, name, job, attempt)? else { return Ok(false) };
    tx.delete(&Holding::Job.key(owner).u64(queue.id).u64(job))?;
    remove(tx, &mut queue, job, &info)?;
    save(tx, &queue)?;
    Ok(true)
}

/// A job failed: it rests and is tried again, or lies among the dead with this error.
pub(crate) fn fail(
    tx: &mut Tx<'_>,
    owner: Owner,
    name: &[u8],
    job: u64,
    attempt: u32,
    how: &Failure<'_>,
) -> Result<bool> {
    let Some((mut queue, before)) = held(tx, owner, name, job, attempt)? else { return Ok(false) };
    tx.delete(&Holding::Job.key(owner).u64(queue.id).u64(job))?;
    let (retries, retry) = how.policy.unwrap_or((before.retries, before.retry));
    let mut after = Info { owner: 0, retries, retry, ..before };
    if before.attempts > retries {
        after.part = Part::Dead;
        shift(tx, &mut queue, job, &before, &after)?;
        let cut = how.error.floor_char_boundary(ERROR_BYTES_MAX);
        tx.put(&place(queue.id, job, &after), &how.error.as_bytes()[..cut])?;
    } else {
        after.part = Part::Delayed;
        after.at_ms = tx.now().plus(after.rest_ms()).0;
        shift(tx, &mut queue, job, &before, &after)?;
    }
    save(tx, &queue)?;
    // Whoever rests must learn of the new due time.
    tell_one(tx, queue.id)?;
    Ok(true)
}

/// Gives a job more time; false if it was given to somebody else meanwhile.
pub(crate) fn extend(
    tx: &mut Tx<'_>,
    owner: Owner,
    name: &[u8],
    job: u64,
    attempt: u32,
    ms: u64,
) -> Result<bool> {
    let Some((mut queue, before)) = held(tx, owner, name, job, attempt)? else { return Ok(false) };
    let after = Info { at_ms: tx.now().plus(ms).0, ..before };
    shift(tx, &mut queue, job, &before, &after)?;
    save(tx, &queue)?;
    Ok(true)
}

/// The worker of an active job has ended.
pub(crate) fn abandon(tx: &mut Tx<'_>, queue: u64, job: u64) -> Result<()> {
    let Some(mut queue) = load(tx, queue)? else { return Ok(()) };
    let Some(before) = info(tx, queue.id, job)?.filter(|info| info.part == Part::Active) else {
        return Ok(());
    };
    ready_again(tx, &mut queue, job, &before)?;
    save(tx, &queue)?;
    tell_one(tx, queue.id)
}

/// A waiter has ended. Ticket 0: it had been told of work, which it will not do.
pub(crate) fn stop_waiting(tx: &mut Tx<'_>, queue: u64, ticket: u64) -> Result<()> {
    if ticket == 0 {
        return tell_one(tx, queue);
    }
    tx.delete(&rows(queue, WAITING).u64(ticket)).map(|_| ())
}

/// A consumer stops consuming.
pub(crate) fn leave(tx: &mut Tx<'_>, owner: Owner, name: &[u8]) -> Result<()> {
    let Some(queue) = find(&tx.view(), name)? else { return Ok(()) };
    let waiting = Holding::QueueWait.key(owner).u64(queue);
    let Some(ticket) = tx.get(&waiting)?.map(|bytes| Take(bytes).u64()) else { return Ok(()) };
    tx.delete(&waiting)?;
    stop_waiting(tx, queue, ticket)
}

/// Tells the one who has waited longest that there is work.
fn tell_one(tx: &mut Tx<'_>, queue: u64) -> Result<()> {
    let Some((key, (owner, request))) = tx.view().first(&rows(queue, WAITING))?.map(|(key, value)| {
        let mut take = Take(value);
        (key.to_vec(), (Owner::from_number(take.u64()), take.u32()))
    }) else {
        return Ok(());
    };
    tx.delete_raw(&key)?;
    tx.put(&Holding::QueueWait.key(owner).u64(queue), &0u64.to_be_bytes())?;
    tx.mail(owner, &Event::QueueReady { request }.encode())
}

/// Everybody who waits looks again: for jobs, and for when the next one is due.
fn tell_all(tx: &mut Tx<'_>, queue: u64) -> Result<()> {
    while tx.view().first(&rows(queue, WAITING))?.is_some() {
        tell_one(tx, queue)?;
    }
    Ok(())
}

/// Whoever waits for anything looks again.
pub(crate) fn tell_everybody(tx: &mut Tx<'_>) -> Result<()> {
    let queues: Vec<u64> = tx
        .view()
        .rows(&Key::new(Table::Queues))?
        .map(|row| row.map(|(_, value)| Take(value).u64()))
        .collect::<Result<_>>()?;
    queues.into_iter().try_for_each(|queue| tell_all(tx, queue))
}

/// Whether a row stands for somebody who waits for a job.
pub(crate) fn is_waiter(key: &[u8]) -> bool {
    key.first() == Some(&(Table::Jobs as u8)) && key.get(9) == Some(&WAITING)
}

/// How many jobs each part of a queue has.
pub(crate) fn view(view: &View<'_>, name: &[u8]) -> Result<QueueView> {
    let id = find(view, name)?;
    let queue = match id {
        Some(id) => view.get(&Key::new(Table::Jobs).u64(id))?.map(Queue::decode).unwrap_or_default(),
        None => Queue::default(),
    };
    let [ready, delayed, active, dead] = queue.counts;
    let paused = id.map(|id| admin::is_paused(view, id)).transpose()?.unwrap_or(false);
    Ok(QueueView { name: name.to_vec(), ready, delayed, active, dead, paused })
}

/// All queues.
pub(crate) fn list(view_of: &View<'_>) -> Result<Vec<QueueView>> {
    let mut queues = Vec::new();
    for row in view_of.rows(&Key::new(Table::Queues))? {
        let (_, value) = row?;
        let queue = view_of.get(&Key::new(Table::Jobs).u64(Take(value).u64()))?.map(Queue::decode);
        let Some(queue) = queue else { continue };
        let [ready, delayed, active, dead] = queue.counts;
        let paused = admin::is_paused(view_of, queue.id)?;
        queues.push(QueueView { name: queue.name, ready, delayed, active, dead, paused });
    }
    Ok(queues)
}

/// The dead: number, data, error.
pub(crate) fn dead(view: &View<'_>, name: &[u8], most: usize) -> Result<Vec<(u64, Vec<u8>, String)>> {
    let Some(queue) = find(view, name)? else { return Ok(Vec::new()) };
    let prefix = rows(queue, Part::Dead as u8);
    let jobs = view.rows(&prefix)?.take(most).map(|row| {
        let (key, error) = row?;
        let job = Take(&key[prefix.as_slice().len()..]).u64();
        let data = view.get(&rows(queue, DATA).u64(job))?.unwrap_or_default().to_vec();
        Ok((job, data, String::from_utf8_lossy(error).into_owned()))
    });
    jobs.collect()
}

/// Puts the dead back, as if they had just been pushed; how many.
pub(crate) fn revive(tx: &mut Tx<'_>, name: &[u8], most: usize) -> Result<usize> {
    let mut queue = open(tx, name)?;
    let prefix = rows(queue.id, Part::Dead as u8);
    let keys = tx.keys(&prefix, most)?;
    for key in &keys {
        let job = Take(&key[prefix.as_slice().len()..]).u64();
        if let Some(before) = info(tx, queue.id, job)? {
            let after = Info { part: Part::Ready, attempts: 0, owner: 0, at_ms: tx.now().0, ..before };
            shift(tx, &mut queue, job, &before, &after)?;
            tell_one(tx, queue.id)?;
        }
    }
    save(tx, &queue)?;
    Ok(keys.len())
}
