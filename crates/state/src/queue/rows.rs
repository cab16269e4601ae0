//! How queues and jobs lie in the table, and how a job moves from one part of its queue to another.

use super::Retry;
use crate::error::Result;
use crate::key::{Key, Put, StoredName, Table, Take};
use crate::tx::{Tx, View};

/// Where a job is. The byte names its part of the queue's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Part {
    Ready = b'r',
    Delayed = b'd',
    Active = b'a',
    Dead = b'x',
}

pub(super) const PARTS: [Part; 4] = [Part::Ready, Part::Delayed, Part::Active, Part::Dead];
/// Parts of a queue's rows that are not states of a job.
pub(super) const INFO: u8 = b'J';
pub(super) const DATA: u8 = b'D';
pub(super) const WAITING: u8 = b'w';
/// There while the queue is paused.
pub(super) const PAUSED: u8 = b'p';
/// 2^6 = 64-fold.
pub(super) const DOUBLINGS_MAX: u32 = 6;

#[derive(Debug, Clone, Copy)]
pub(super) struct Info {
    pub(super) part: Part,
    pub(super) priority: u8,
    pub(super) attempts: u32,
    pub(super) retries: u32,
    pub(super) retry: Retry,
    /// When a delayed job is ready, or an active one overdue.
    pub(super) at_ms: u64,
    pub(super) ticket: u64,
    pub(super) owner: u64,
}

impl Info {
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let mut take = Take(bytes);
        let part = take.u8();
        Self {
            part: PARTS.into_iter().find(|p| *p as u8 == part).unwrap_or(Part::Dead),
            priority: take.u8(),
            attempts: take.u32(),
            retries: take.u32(),
            retry: Retry { doubles: take.u8() == 1, after_ms: take.ms() },
            at_ms: take.ms(),
            ticket: take.u64(),
            owner: take.u64(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        out.push(self.part as u8);
        out.push(self.priority);
        out.put_u32(self.attempts);
        out.put_u32(self.retries);
        out.push(u8::from(self.retry.doubles));
        out.put_ms(self.retry.after_ms);
        out.put_ms(self.at_ms);
        out.put_u64(self.ticket);
        out.put_u64(self.owner);
        out
    }

    pub(super) fn rest_ms(&self) -> u64 {
        let doublings = self.attempts.saturating_sub(1).min(DOUBLINGS_MAX);
        if self.retry.doubles { self.retry.after_ms << doublings } else { self.retry.after_ms }
    }
}

/// The queue's row: its number and how many jobs each part has.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    pub(super) id: u64,
    pub(super) counts: [u64; 4],
    pub(super) name: Vec<u8>,
}

impl Queue {
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let mut take = Take(bytes);
        let id = take.u64();
        let counts = std::array::from_fn(|_| take.varint());
        Self { id, counts, name: take.0.to_vec() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        out.put_u64(self.id);
        for count in self.counts {
            out.put_varint(count);
        }
        out.extend_from_slice(&self.name);
        out
    }
}

pub(super) fn index(part: Part) -> usize {
    match part {
        Part::Ready => 0,
        Part::Delayed => 1,
        Part::Active => 2,
        Part::Dead => 3,
    }
}

pub(super) fn rows(queue: u64, part: u8) -> Key {
    Key::new(Table::Jobs).u64(queue).u8(part)
}

/// The row that puts a job into its part.
pub(super) fn place(queue: u64, job: u64, info: &Info) -> Key {
    let rows = rows(queue, info.part as u8);
    match info.part {
        Part::Ready => rows.u8(u8::MAX - info.priority).u64(info.ticket).u64(job),
        Part::Delayed | Part::Active => rows.ms(info.at_ms).u64(job),
        Part::Dead => rows.u64(job),
    }
}

/// The queue's row lies under its number too, because a dead worker's holdings know only that.
pub(super) fn load(tx: &Tx<'_>, id: u64) -> Result<Option<Queue>> {
    Ok(tx.get(&Key::new(Table::Jobs).u64(id))?.map(Queue::decode))
}

pub(super) fn save(tx: &mut Tx<'_>, queue: &Queue) -> Result<()> {
    tx.put(&Key::new(Table::Jobs).u64(queue.id), &queue.encode())
}

pub(super) fn find(view: &View<'_>, name: &[u8]) -> Result<Option<u64>> {
    let name = StoredName::new("queue name", name)?;
    Ok(view.get(&Key::new(Table::Queues).name(&name))?.map(|bytes| Take(bytes).u64()))
}

pub(super) fn open(tx: &mut Tx<'_>, name: &[u8]) -> Result<Queue> {
    if let Some(id) = find(&tx.view(), name)?
        && let Some(queue) = load(tx, id)?
    {
        return Ok(queue);
    }
    let stored = StoredName::new("queue name", name)?;
    let queue = Queue { id: tx.ticket(), name: name.to_vec(), ..Queue::default() };
    tx.put(&Key::new(Table::Queues).name(&stored), &queue.id.to_be_bytes())?;
    save(tx, &queue)?;
    Ok(queue)
}

pub(super) fn info(tx: &Tx<'_>, queue: u64, job: u64) -> Result<Option<Info>> {
    Ok(tx.get(&rows(queue, INFO).u64(job))?.map(Info::decode))
}

/// Moves a job to another part; the caller saves the queue.
pub(super) fn shift(tx: &mut Tx<'_>, queue: &mut Queue, job: u64, from: &Info, to: &Info) -> Result<()> {
    tx.delete(&place(queue.id, job, from))?;
    tx.put(&place(queue.id, job, to), &[])?;
    tx.put(&rows(queue.id, INFO).u64(job), &to.encode())?;
    queue.counts[index(from.part)] = queue.counts[index(from.part)].saturating_sub(1);
    queue.counts[index(to.part)] += 1;
    Ok(())
}

pub(super) fn remove(tx: &mut Tx<'_>, queue: &mut Queue, job: u64, at: &Info) -> Result<()> {
    tx.delete(&place(queue.id, job, at))?;
    tx.delete(&rows(queue.id, INFO).u64(job))?;
    tx.delete(&rows(queue.id, DATA).u64(job))?;
    queue.counts[index(at.part)] = queue.counts[index(at.part)].saturating_sub(1);
    Ok(())
}
