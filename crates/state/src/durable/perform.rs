//! Calls become transactions: as many as wait go into one, which the disk is flushed for once. If one of them fails,
//! nothing of it has happened, and each gets a transaction of its own, so that nobody fails for another's mistake.

use super::call::{Answer, Call, Together};
use crate::client::Client;
use crate::error::Result;
use crate::event::Event;
use crate::key::{Key, Table};
use crate::limits::POLL_EVENTS_MAX;
use crate::queue::{self, Failure};
use crate::tx::{Tx, View};
use crate::{Owner, WallMs};

/// The answers to `calls`, in their order, and what was in the mail.
pub(super) fn perform(
    client: &Client,
    calls: &[&Call],
    now: WallMs,
) -> (Vec<Result<Answer>>, Result<Vec<Event>>) {
    match together(client, calls, now) {
        Ok(done) => (done.answers.into_iter().map(Ok).collect(), Ok(done.events)),
        Err(error) if calls.is_empty() => (Vec::new(), Err(error)),
        Err(error) if calls.len() == 1 => (vec![Err(error)], Ok(Vec::new())),
        Err(_) => {
            let (mut answers, mut events) = (Vec::with_capacity(calls.len()), Vec::new());
            for call in calls {
                match together(client, &[call], now) {
                    Ok(done) => {
                        answers.extend(done.answers.into_iter().map(Ok));
                        events.extend(done.events);
                    }
                    Err(error) => answers.push(Err(error)),
                }
            }
            (answers, Ok(events))
        }
    }
}

fn together(client: &Client, calls: &[&Call], now: WallMs) -> Result<Together> {
    let engine = client.store().engine();
    let owner = client.owner();
    let mailbox = Key::new(Table::Mail).u64(owner.number());
    if calls.iter().all(|call| call.only_reads()) {
        let read = engine.read(now, |view| {
            let answers = calls.iter().map(|call| look(view, call)).collect::<Result<Vec<_>>>()?;
            Ok((answers, view.first(&mailbox)?.is_some()))
        });
        let (answers, mail) = read?;
        if !mail {
            return Ok(Together { answers, events: Vec::new() });
        }
    }
    let work = |tx: &mut Tx<'_>| {
        let mut done = Together::default();
        for call in calls {
            done.answers.push(carry_out(tx, client, owner, call)?);
        }
        // What this very transaction put there comes with it: who pushes to itself needs no second one.
        for row in tx.keys(&mailbox, POLL_EVENTS_MAX)? {
            done.events.extend(tx.get(&Key::copy(&row))?.and_then(Event::decode));
            tx.delete_raw(&row)?;
        }
        Ok(done)
    };
    if calls.iter().all(|call| call.frees()) {
        engine.write_freeing_as(client.slot(), now, work)
    } else {
        engine.write_as(client.slot(), now, work)
    }
}

fn look(view: &View<'_>, call: &Call) -> Result<Answer> {
    Ok(match call {
        Call::Counts { queue } => Answer::Counts(queue::view(view, queue)?),
        Call::Dead { queue, most } => Answer::Dead(queue::dead(view, queue, *most)?),
        Call::Push { .. }
        | Call::Pop { .. }
        | Call::Done { .. }
        | Call::Failed { .. }
        | Call::Extend { .. }
        | Call::Leave { .. }
        | Call::Revive { .. } => unreachable!("`only_reads` said so"),
    })
}

fn carry_out(tx: &mut Tx<'_>, client: &Client, owner: Owner, call: &Call) -> Result<Answer> {
    Ok(match call {
        Call::Push { queue, data, options } => Answer::Job(queue::push(tx, queue, data, options)?),
        Call::Pop { queue, request, visibility_ms } => {
            client.attached()?;
            Answer::Popped(queue::pop(tx, owner, queue, *request, *visibility_ms)?)
        }
        Call::Done { queue, job, attempt } => {
            Answer::Settled(queue::acknowledge(tx, owner, queue, *job, *attempt)?)
        }
        Call::Failed { queue, job, attempt, error, policy } => {
            let how = Failure { error, policy: *policy };
            Answer::Settled(queue::fail(tx, owner, queue, *job, *attempt, &how)?)
        }
        Call::Extend { queue, job, attempt, ms } => {
            Answer::Settled(queue::extend(tx, owner, queue, *job, *attempt, *ms)?)
        }
        Call::Leave { queue } => {
            queue::leave(tx, owner, queue)?;
            Answer::Left
        }
        Call::Revive { queue, most } => Answer::Revived(queue::revive(tx, queue, *most)?),
        Call::Counts { .. } | Call::Dead { .. } => look(&tx.view(), call)?,
    })
}
