//! One transaction for several clients: beginning and ending one costs as much as several commands do.

use skep_state::{Error, Space};

use super::admit::{Admission, admit, joins};
use super::ahead::{AHEAD, look_ahead};
use super::parsed::Parsed;
use super::patience::Patience;
use super::{can_go_on, run_one};
use crate::call::{Access, Call, From};
use crate::client::{Answers, Client};
use crate::connection::Connection;
use crate::door::Door;
use crate::table::{Command, Flags};

/// One client's part of a transaction that several share.
struct Share<'a> {
    own: &'a mut Connection,
    run: Vec<(&'static Command, &'a [&'a [u8]])>,
    done: usize,
}

/// Runs the first commands of several clients in one transaction, as far as these are plain ones; what is left, `process`
/// does. Beginning and ending a transaction costs as much as several commands do.
pub(crate) fn process_together(door: &mut Door, all: &mut [Box<Connection>]) {
    let mut parsed: Vec<(usize, Parsed)> = Vec::new();
    for (index, own) in all.iter_mut().enumerate() {
        let plain = own.client.queue.is_none() && own.client.answers == Answers::On && own.client.known;
        if plain && can_go_on(own) {
            parsed.push((index, Parsed::take(own)));
        }
    }
    let mut done: Vec<usize> = Vec::with_capacity(parsed.len());
    {
        let words: Vec<Vec<&[u8]>> = parsed.iter().map(|(_, parsed)| parsed.words()).collect();
        let mut rest = parsed.iter().zip(&words).peekable();
        let mut shares: Vec<Share<'_>> = Vec::with_capacity(parsed.len());
        for (index, own) in all.iter_mut().enumerate() {
            let Some(((_, parsed), words)) = rest.next_if(|((of, _), _)| *of == index) else { continue };
            let run = plain_run(door, &own.client, parsed, words);
            shares.push(Share { own, run, done: 0 });
        }
        while share(door, &mut shares) == Shared::OutOfTime {}
        done.extend(shares.iter().map(|share| share.done));
    }
    for ((index, parsed), done) in parsed.into_iter().zip(done) {
        let own = &mut all[index];
        let stopped = (done < parsed.commands.len()).then_some(done);
        let garbage = parsed.garbage.is_some();
        parsed.give_back(own, stopped);
        if garbage && stopped.is_none() {
            // It is met again when its turn comes.
            own.request.rewind(own.request.mark());
        }
    }
}

/// The first commands of a client that a shared transaction can do.
fn plain_run<'a>(
    door: &Door,
    client: &Client,
    parsed: &Parsed,
    words: &'a [&'a [u8]],
) -> Vec<(&'static Command, &'a [&'a [u8]])> {
    let mut run = Vec::with_capacity(parsed.commands.len());
    for at in 0..parsed.commands.len() {
        let args = parsed.args(words, at);
        match admit(door, client, args) {
            Admission::Run(command) if joins(command) && command.flags.is_plain() => {
                run.push((command, args));
            }
            Admission::Run(_) | Admission::Refuse(_) | Admission::Queue => break,
        }
    }
    run
}

/// How a transaction of several clients ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shared {
    /// With all that could be done by it, or with something to be looked at first, or not at all.
    Over,
    /// It had run for long enough; the rest is for another one.
    OutOfTime,
}

fn share(door: &mut Door, shares: &mut [Share<'_>]) -> Shared {
    if shares.iter().filter(|share| share.done < share.run.len()).count() < 2 {
        return Shared::Over;
    }
    let marks: Vec<(usize, usize)> =
        shares.iter().map(|share| (share.own.reply.bytes.len(), share.done)).collect();
    let rest = shares.iter().flat_map(|share| &share.run[share.done..]);
    let writes = rest.clone().any(|(command, _)| command.flags.has(Flags::WRITE));
    let short = rest.into_iter().all(|(command, _)| command.flags.has(Flags::SHORT));
    let (store, now) = (door.store.clone(), door.now());
    let mut attempt = |access: &mut Access<'_, '_>| -> Result<Shared, Error> {
        undo(door, shares, &marks);
        let mut patience = Patience::new();
        for share in shares.iter_mut().filter(|share| share.done < share.run.len()) {
            let space = Space::database(share.own.client.database);
            let Connection { reply, client, .. } = &mut *share.own;
            let run = &share.run[share.done..];
            for (index, (command, args)) in run.iter().enumerate() {
                if index % AHEAD == 0 {
                    look_ahead(access, space, &run[index..])?;
                }
                let mut call = Call {
                    args,
                    access: access.again(),
                    out: reply,
                    client,
                    door,
                    space,
                    from: From::Client,
                };
                run_one(&mut call, command)?;
                share.done += 1;
                if !door.effects.ready.is_empty() {
                    return Ok(Shared::Over);
                }
                if patience.is_over(access) {
                    // Messages go out before the next commands are done, and who waits for the lock gets it between short
                    // ones.
                    let more = door.effects.messages.is_empty() && !(writes && access.is_waited_for());
                    return Ok(if more { Shared::OutOfTime } else { Shared::Over });
                }
            }
        }
        Ok(Shared::Over)
    };
    let result = match (writes, short) {
        (true, true) => store.write_in_group(now, |tx| attempt(&mut Access::Write(tx))),
        (true, false) => store.write(now, |tx| attempt(&mut Access::Write(tx))),
        (false, true) => store.read_in_group(now, |view| attempt(&mut Access::Read(*view))),
        (false, false) => store.read(now, |view| attempt(&mut Access::Read(*view))),
    };
    result.unwrap_or_else(|_| {
        // Whose command it was shows when each has a transaction of its own.
        undo(door, shares, &marks);
        Shared::Over
    })
}

fn undo(door: &mut Door, shares: &mut [Share<'_>], marks: &[(usize, usize)]) {
    door.effects.clear();
    for (share, (mark, done)) in shares.iter_mut().zip(marks) {
        share.own.reply.bytes.truncate(*mark);
        share.done = *done;
    }
}
