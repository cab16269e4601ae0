//! Received commands to answers: runs of a client's commands share one transaction.
//!
//! Invariants: commands take effect in the order in which they came; answers are in that order; nobody is told of a
//! change (message, wake-up) before its transaction is done; a transaction that cannot be done leaves no trace, and its
//! commands are then tried one by one, so that each gets its own answer.

mod admit;
mod ahead;
mod parsed;
mod patience;
mod together;

use skep_state::{Error, Space};

pub(crate) use self::together::process_together;

use self::admit::{Admission, admit, joins};
use self::ahead::{AHEAD, look_ahead};
use self::parsed::Parsed;
use self::patience::Patience;
use crate::call::{Access, Call, From};
use crate::client::{Answers, Client};
use crate::connection::Connection;
use crate::door::Door;
use crate::fault::{self, Fault};
use crate::resp::Reply;
use crate::table::{Command, Flags};

/// Runs all commands that have come, for as long as the client can go on.
pub(crate) fn process(door: &mut Door, own: &mut Connection) {
    own.stopped = true;
    while can_go_on(own) {
        if own.request.pending_bytes() == 0 {
            own.stopped = false;
            return;
        }
        let parsed = Parsed::take(own);
        let nothing = parsed.commands.is_empty();
        let stopped = run_all(door, own, &parsed);
        let garbage = if stopped.is_none() { parsed.garbage.clone() } else { None };
        parsed.give_back(own, stopped);
        if let Some(garbage) = garbage {
            own.reply.error(&format!("ERR {}", garbage.0));
            own.client.leaving = true;
        } else if nothing && stopped.is_none() {
            own.stopped = false;
            return;
        }
    }
}

fn can_go_on(own: &Connection) -> bool {
    !own.client.leaving && own.client.blocked.is_none() && !own.is_backlogged()
}

/// Runs commands; where it had to stop, if not at the end.
fn run_all(door: &mut Door, own: &mut Connection, parsed: &Parsed) -> Option<usize> {
    let (commands, words) = (&parsed.commands, parsed.words());
    let mut at = 0;
    while at < commands.len() {
        if !can_go_on(own) {
            return Some(at);
        }
        let args = parsed.args(&words, at);
        match admit(door, &own.client, args) {
            Admission::Refuse(text) => {
                if let Some(queue) = &mut own.client.queue {
                    queue.broken = true;
                }
                answer_error(own, &text);
                at += 1;
            }
            Admission::Queue => {
                if let Some(queue) = &mut own.client.queue {
                    queue.commands.push(args.iter().map(|arg| arg.to_vec()).collect());
                }
                if own.client.answers == Answers::On {
                    own.reply.status("QUEUED");
                }
                at += 1;
            }
            Admission::Run(command) if !command.flags.has(Flags::STORE) => {
                run_alone(door, own, command, args);
                settle(door, own);
                at += 1;
            }
            Admission::Run(command) => {
                let mut run = vec![(command, args)];
                let last = Flags::BLOCKING.with(Flags::NOT_QUEUED);
                while at + run.len() < commands.len() && !run[run.len() - 1].0.flags.has(last) {
                    let args = parsed.args(&words, at + run.len());
                    match admit(door, &own.client, args) {
                        Admission::Run(command) if joins(command) => run.push((command, args)),
                        Admission::Run(_) | Admission::Refuse(_) | Admission::Queue => break,
                    }
                }
                at += run_stored(door, own, &run);
                settle(door, own);
            }
        }
    }
    None
}

fn answer_error(own: &mut Connection, text: &str) {
    if own.client.answers == Answers::On {
        own.reply.error(text);
    }
}

/// Runs one command; `Err`: the transaction has to be given up.
pub(crate) fn run_one(call: &mut Call<'_, '_>, command: &'static Command) -> Result<(), Error> {
    if let Access::Write(tx) = &mut call.access
        && !command.flags.has(Flags::PUTS_OFF)
    {
        tx.settle()?;
    }
    let mark = call.out.bytes.len();
    let answers = call.client.answers;
    call.door.totals.commands += 1;
    call.client.last_command = command.name;
    if let Err(fault) = (command.run)(call) {
        call.out.bytes.truncate(mark);
        match fault {
            Fault::Text(text) => call.out.error(&text),
            Fault::Store(error) => match fault::told(&error) {
                Some(text) => call.out.error(&text),
                None => return Err(error),
            },
        }
    }
    if call.from == From::Client {
        match (answers, call.client.answers) {
            (Answers::On, _) if call.client.answers == Answers::On => {}
            (Answers::SkipNext, Answers::SkipNext) => {
                call.client.answers = Answers::On;
                call.out.bytes.truncate(mark);
            }
            (Answers::Off, Answers::On) => {}
            _ => call.out.bytes.truncate(mark),
        }
    }
    Ok(())
}

fn run_alone(door: &mut Door, own: &mut Connection, command: &'static Command, args: &[&[u8]]) {
    door.effects.clear();
    let space = Space::database(own.client.database);
    let access = Access::None;
    let Connection { reply, client, .. } = own;
    let mut call = Call { args, access, out: reply, client, door, space, from: From::Client };
    if let Err(error) = run_one(&mut call, command) {
        own.reply.error(&fault::undone(&error));
    }
}

type Run<'a> = [(&'static Command, &'a [&'a [u8]])];

/// Runs commands in one transaction; how many were done.
fn run_stored(door: &mut Door, own: &mut Connection, run: &Run<'_>) -> usize {
    match attempt(door, own, run, From::Client) {
        Ok(done) => done,
        Err(_) if run.len() > 1 => {
            // Which of them it was shows when each has a transaction of its own.
            if let Err(error) = attempt(door, own, &run[..1], From::Client) {
                give_up(door, own, &error);
            }
            1
        }
        Err(error) => {
            give_up(door, own, &error);
            1
        }
    }
}

fn give_up(door: &mut Door, own: &mut Connection, error: &Error) {
    let text = door.undone.take().unwrap_or_else(|| fault::undone(error));
    answer_error(own, &text);
    own.client.queue = None;
    own.client.watched.clear();
}

fn attempt(door: &mut Door, own: &mut Connection, run: &Run<'_>, from: From) -> Result<usize, Error> {
    let store = door.store.clone();
    let now = door.now();
    let mark = own.reply.bytes.len();
    let space = Space::database(own.client.database);
    let database = own.client.database;
    let Connection { reply, client, .. } = own;
    // The others look at versions, which all changes of a group share, or take long, for which no reader should wait.
    let short = run.iter().all(|(command, _)| command.flags.has(Flags::SHORT));
    let result = if run.iter().any(|(command, _)| command.flags.has(Flags::WRITE)) {
        let frees = run
            .iter()
            .all(|(command, _)| command.flags.has(Flags::FREES) || !command.flags.has(Flags::WRITE));
        let mut body = |tx: &mut skep_state::Tx<'_>| {
            begin(door, client, reply, (mark, database));
            each(door, client, reply, space, run, from, &mut Access::Write(tx))
        };
        match (frees, short) {
            (true, _) => store.write_freeing(now, &mut body),
            (false, true) => store.write_in_group(now, &mut body),
            (false, false) => store.write(now, &mut body),
        }
    } else {
        let mut body = |view: &skep_state::View<'_>| {
            begin(door, client, reply, (mark, database));
            each(door, client, reply, space, run, from, &mut Access::Read(*view))
        };
        if short { store.read_in_group(now, &mut body) } else { store.read(now, &mut body) }
    };
    if result.is_err() {
        let undone = door.undone.take();
        begin(door, client, reply, (mark, database));
        door.undone = undone;
    } else if client.executing.take().is_some() {
        client.watched.clear();
    }
    result
}

/// A transaction's body may run twice: nothing of the first time may be left.
fn begin(door: &mut Door, client: &mut Client, reply: &mut Reply, (mark, database): (usize, u16)) {
    reply.bytes.truncate(mark);
    door.effects.clear();
    door.undone = None;
    client.blocked = None;
    client.database = database;
    if let Some(queue) = client.executing.take() {
        client.queue = Some(queue);
    }
}

fn each(
    door: &mut Door,
    client: &mut Client,
    reply: &mut Reply,
    space: Space,
    run: &Run<'_>,
    from: From,
    access: &mut Access<'_, '_>,
) -> Result<usize, Error> {
    let mut patience = (run.len() > 1).then(Patience::new);
    for (index, (command, args)) in run.iter().enumerate() {
        if run.len() > 1 && index % AHEAD == 0 {
            look_ahead(access, space, &run[index..])?;
        }
        let mut call = Call { args, access: access.again(), out: reply, client, door, space, from };
        run_one(&mut call, command)?;
        // Who waits for a key is served before the next command can take it away again.
        let stop = client.blocked.is_some() || client.leaving || !door.effects.ready.is_empty();
        if stop || patience.as_mut().is_some_and(|patience| patience.is_over(access)) {
            return Ok(index + 1);
        }
    }
    Ok(run.len())
}

/// After a transaction: messages are sent, a command that waits is entered, and who waited is served.
fn settle(door: &mut Door, own: &mut Connection) {
    if let Some(blocked) = &own.client.blocked {
        door.wait(own.client.slot, blocked);
    }
    serve_ready(door, Some(own));
}

/// Sends messages and serves who waited. `own`: the client that is not in its place in the row.
pub(crate) fn serve_ready(door: &mut Door, mut own: Option<&mut Connection>) {
    let mut ready = std::mem::take(&mut door.effects.ready);
    door.deliver(own.as_deref_mut());
    while let Some(key) = ready.pop_front() {
        let line: Vec<usize> =
            door.waiting.get(&key).map(|line| line.iter().copied().collect()).unwrap_or_default();
        for slot in line {
            let Some(mut other) = door.row.get_mut(slot).and_then(Option::take) else { continue };
            serve(door, &mut other);
            door.row[slot] = Some(other);
            ready.append(&mut door.effects.ready);
            door.deliver(own.as_deref_mut());
        }
    }
}

/// Tries a blocked command again.
fn serve(door: &mut Door, other: &mut Connection) {
    let Some(blocked) = other.client.blocked.take() else { return };
    let args: Vec<&[u8]> = blocked.command.iter().map(Vec::as_slice).collect();
    let Some(command) = door.table.find(args[0]) else { return };
    let run = [(command, args.as_slice())];
    if let Err(error) = attempt(door, other, &run, From::Blocked) {
        other.reply.error(&fault::undone(&error));
    }
    let slot = other.client.slot;
    if other.client.blocked.is_some() {
        // Still nothing for it: it keeps its place and its time.
        other.client.blocked = Some(blocked);
        return;
    }
    door.wait_no_more(slot, &blocked);
    door.touched.push(slot);
    door.go_on.push(slot);
}
