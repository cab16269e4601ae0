//! Queues for people: looking at jobs, putting dead ones back, removing, pausing.

use super::rows::{DATA, Info, PAUSED, Part, find, info, load, remove, rows, save, shift};
use super::{tell_all, tell_one};
use crate::error::Result;
use crate::key::Take;
use crate::tx::{Tx, View};
use crate::{Owner, WallMs};

/// A part of a queue: every job is in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobPart {
    /// It waits for a consumer.
    Ready,
    /// Its time has not come: it was delayed, or rests before a retry.
    Delayed,
    /// A consumer works on it.
    Active,
    /// It failed too often.
    Dead,
}

/// A job for whoever looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// Its number.
    pub id: u64,
    /// Higher goes first.
    pub priority: u8,
    /// Tries that were begun.
    pub attempts: u32,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// Of a ready job: since when. Of a delayed one: until when. Of an active one: when it counts as forgotten.
    pub at: WallMs,
    /// Who works on it.
    pub owner: Option<Owner>,
    /// What was pushed.
    pub data: Vec<u8>,
    /// The last error of a dead one.
    pub error: Option<String>,
}

impl JobPart {
    fn part(self) -> Part {
        match self {
            Self::Ready => Part::Ready,
            Self::Delayed => Part::Delayed,
            Self::Active => Part::Active,
            Self::Dead => Part::Dead,
        }
    }
}

/// The first jobs of a part, in the order in which their turn comes. `None`: there is no such queue.
pub(crate) fn peek(view: &View<'_>, name: &[u8], part: JobPart, most: usize) -> Result<Option<Vec<JobView>>> {
    let Some(queue) = find(view, name)? else { return Ok(None) };
    let prefix = rows(queue, part.part() as u8);
    let mut jobs = Vec::new();
    for row in view.rows(&prefix)?.take(most) {
        let (key, value) = row?;
        // Whatever orders a part, the job's number is last.
        let id = Take(&key[key.len() - 8..]).u64();
        let Some(found) = view.get(&rows(queue, super::INFO).u64(id))?.map(Info::decode) else { continue };
        let active = part == JobPart::Active;
        jobs.push(JobView {
            id,
            priority: found.priority,
            attempts: found.attempts,
            retries: found.retries,
            at: WallMs(found.at_ms),
            owner: active.then(|| Owner::from_number(found.owner)),
            data: view.get(&rows(queue, DATA).u64(id))?.unwrap_or_default().to_vec(),
            error: (part == JobPart::Dead).then(|| String::from_utf8_lossy(value).into_owned()),
        });
    }
    Ok(Some(jobs))
}

/// Puts one dead job back, as if it had just been pushed; false if it is not among the dead.
pub(crate) fn revive_one(tx: &mut Tx<'_>, name: &[u8], job: u64) -> Result<bool> {
    let Some(mut queue) = find(&tx.view(), name)?.map(|id| load(tx, id)).transpose()?.flatten() else {
        return Ok(false);
    };
    let Some(before) = info(tx, queue.id, job)?.filter(|info| info.part == Part::Dead) else {
        return Ok(false);
    };
    let after = Info { part: Part::Ready, attempts: 0, owner: 0, at_ms: tx.now().0, ..before };
    shift(tx, &mut queue, job, &before, &after)?;
    save(tx, &queue)?;
    tell_one(tx, queue.id)?;
    Ok(true)
}

/// Removes up to `most` jobs of a part that nobody works on; how many. Active ones are their workers'.
pub(crate) fn purge(tx: &mut Tx<'_>, name: &[u8], part: JobPart, most: usize) -> Result<usize> {
    let Some(mut queue) = find(&tx.view(), name)?.map(|id| load(tx, id)).transpose()?.flatten() else {
        return Ok(0);
    };
    if part == JobPart::Active {
        return Ok(0);
    }
    let keys = tx.keys(&rows(queue.id, part.part() as u8), most)?;
    for key in &keys {
        let job = Take(&key[key.len() - 8..]).u64();
        match info(tx, queue.id, job)? {
            Some(found) => remove(tx, &mut queue, job, &found)?,
            None => drop(tx.delete_raw(key)?),
        }
    }
    save(tx, &queue)?;
    Ok(keys.len())
}

/// Whether consumers are given nothing.
pub(super) fn is_paused(view: &View<'_>, queue: u64) -> Result<bool> {
    Ok(view.get(&rows(queue, PAUSED))?.is_some())
}

/// Consumers are given nothing until it goes on; what they work on, they finish. False: there is no such queue.
pub(crate) fn set_paused(tx: &mut Tx<'_>, name: &[u8], paused: bool) -> Result<bool> {
    let Some(queue) = find(&tx.view(), name)? else { return Ok(false) };
    if paused {
        tx.put(&rows(queue, PAUSED), &[])?;
    } else {
        tx.delete(&rows(queue, PAUSED))?;
        tell_all(tx, queue)?;
    }
    Ok(true)
}
