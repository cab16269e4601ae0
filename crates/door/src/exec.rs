//! Received commands to answers: runs of a client's commands share one transaction.
//!
//! Invariants: commands take effect in the order in which they came; answers are in that order; nobody is told of a
//! change (message, wake-up) before its transaction is done; a transaction that cannot be done leaves no trace, and its
//! commands are then tried one by one, so that each gets its own answer.

use std::ops::Range;

use skep_state::{Error, Space};

use crate::call::{Access, Call, From};
use crate::client::{Answers, Client};
use crate::connection::Connection;
use crate::door::Door;
use crate::fault::{self, Fault};
use crate::limits::{BATCH_COMMANDS, UNKNOWN_ARGUMENTS_MAX, UNKNOWN_BULK_BYTES_MAX};
use crate::resp::{Bounds, Garbage, Reply};
use crate::table::{Command, Flags};

/// A transaction of several commands ends early after so long: workers wait for the writer's lock.
const BATCH_NS: u64 = 1_000_000;

/// What is to be done with a command.
enum Admission {
    Refuse(String),
    Queue,
    Run(&'static Command),
}

/// What of a client's bytes are whole commands.
#[derive(Debug, Default)]
struct Parsed {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
    /// Where each command's arguments end, and where its bytes begin.
    commands: Vec<(usize, usize)>,
    garbage: Option<Garbage>,
}

impl Parsed {
    fn take(own: &mut Connection) -> Self {
        let known = own.client.known;
        let most = if known { BATCH_COMMANDS } else { 1 };
        let bounds = if known {
            Bounds::default()
        } else {
            Bounds { arguments: UNKNOWN_ARGUMENTS_MAX, bulk_bytes: UNKNOWN_BULK_BYTES_MAX }
        };
        let mut parsed = Self { ranges: std::mem::take(&mut own.ranges), ..Self::default() };
        parsed.ranges.clear();
        while parsed.commands.len() < most {
            let mark = own.request.mark();
            match own.request.next(bounds, &mut parsed.ranges) {
                Ok(true) => parsed.commands.push((parsed.ranges.len(), mark)),
                Ok(false) => break,
                Err(found) => {
                    parsed.garbage = Some(found);
                    break;
                }
            }
        }
        parsed.bytes = own.request.take_bytes();
        parsed
    }

    fn args(&self, at: usize) -> Vec<&[u8]> {
        let from = if at == 0 { 0 } else { self.commands[at - 1].0 };
        self.ranges[from..self.commands[at].0].iter().map(|range| &self.bytes[range.clone()]).collect()
    }

    /// Gives the bytes back; the commands from `stopped` on will come again.
    fn give_back(self, own: &mut Connection, stopped: Option<usize>) {
        own.request.give_back(self.bytes);
        own.ranges = self.ranges;
        if let Some(at) = stopped {
            own.request.rewind(self.commands[at].1);
        }
    }
}

/// Runs all commands that have come, for as long as the client can go on.
pub(crate) fn process(door: &mut Door, own: &mut Connection) {
    own.stopped = true;
    while can_go_on(own) {
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

/// One client's part of a transaction that several share.
struct Share<'a> {
    own: &'a mut Connection,
    run: Vec<(&'static Command, Vec<&'a [u8]>)>,
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
        let mut rest = parsed.iter().peekable();
        let mut shares: Vec<Share<'_>> = Vec::with_capacity(parsed.len());
        for (index, own) in all.iter_mut().enumerate() {
            let Some((_, parsed)) = rest.next_if(|(of, _)| *of == index) else { continue };
            let run = plain_run(door, &own.client, parsed);
            shares.push(Share { own, run, done: 0 });
        }
        share(door, &mut shares);
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
fn plain_run<'a>(door: &Door, client: &Client, parsed: &'a Parsed) -> Vec<(&'static Command, Vec<&'a [u8]>)> {
    let mut run = Vec::with_capacity(parsed.commands.len());
    for at in 0..parsed.commands.len() {
        let args = parsed.args(at);
        match admit(door, client, &args) {
            Admission::Run(command) if joins(command) && command.flags.is_plain() => {
                run.push((command, args));
            }
            Admission::Run(_) | Admission::Refuse(_) | Admission::Queue => break,
        }
    }
    run
}

fn share(door: &mut Door, shares: &mut [Share<'_>]) {
    if shares.iter().filter(|share| !share.run.is_empty()).count() < 2 {
        return;
    }
    let marks: Vec<usize> = shares.iter().map(|share| share.own.reply.bytes.len()).collect();
    let writes =
        shares.iter().flat_map(|share| &share.run).any(|(command, _)| command.flags.has(Flags::WRITE));
    let (store, now) = (door.store.clone(), door.now());
    let mut attempt = |access: &mut Access<'_, '_>| -> Result<(), Error> {
        undo(door, shares, &marks);
        let until = skep_sys::clock::boottime_ns() + BATCH_NS;
        for share in shares.iter_mut().filter(|share| !share.run.is_empty()) {
            let space = Space::database(share.own.client.database);
            let Connection { reply, client, .. } = &mut *share.own;
            for (command, args) in &share.run {
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
                    return Ok(());
                }
            }
            if skep_sys::clock::boottime_ns() > until {
                return Ok(());
            }
        }
        Ok(())
    };
    let result = if writes {
        store.write(now, |tx| attempt(&mut Access::Write(tx)))
    } else {
        store.read(now, |view| attempt(&mut Access::Read(*view)))
    };
    if result.is_err() {
        // Whose command it was shows when each has a transaction of its own.
        undo(door, shares, &marks);
    }
}

fn undo(door: &mut Door, shares: &mut [Share<'_>], marks: &[usize]) {
    door.effects.clear();
    for (share, mark) in shares.iter_mut().zip(marks) {
        share.own.reply.bytes.truncate(*mark);
        share.done = 0;
    }
}

/// Runs commands; where it had to stop, if not at the end.
fn run_all(door: &mut Door, own: &mut Connection, parsed: &Parsed) -> Option<usize> {
    let commands = &parsed.commands;
    let mut at = 0;
    while at < commands.len() {
        if !can_go_on(own) {
            return Some(at);
        }
        let args = parsed.args(at);
        match admit(door, &own.client, &args) {
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
                run_alone(door, own, command, &args);
                settle(door, own);
                at += 1;
            }
            Admission::Run(command) => {
                let mut run = vec![(command, args)];
                let last = Flags::BLOCKING.with(Flags::NOT_QUEUED);
                while at + run.len() < commands.len() && !run[run.len() - 1].0.flags.has(last) {
                    let args = parsed.args(at + run.len());
                    match admit(door, &own.client, &args) {
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

/// Whether a command may share a transaction with those before it. WATCH needs the version that the commit gives.
fn joins(command: &Command) -> bool {
    command.flags.has(Flags::STORE) && !command.flags.has(Flags::NOT_QUEUED)
}

fn answer_error(own: &mut Connection, text: &str) {
    if own.client.answers == Answers::On {
        own.reply.error(text);
    }
}

/// A command's name, with its subcommand where it has such.
fn full_name(command: &Command, args: &[&[u8]]) -> String {
    let has_words =
        ["client", "command", "config", "memory", "object", "pubsub", "script", "xgroup", "xinfo"];
    match args.get(1).filter(|_| has_words.contains(&command.name)) {
        Some(word) => format!("{}|{}", command.name, String::from_utf8_lossy(word).to_lowercase()),
        None => command.name.to_owned(),
    }
}

/// Whether and how a command runs, in the order of Redis's `processCommand`.
fn admit(door: &Door, client: &Client, args: &[&[u8]]) -> Admission {
    let Some(command) = door.table.find(args[0]) else {
        return Admission::Refuse(unknown(args));
    };
    if !command.takes(args.len()) {
        return Admission::Refuse(format!("ERR wrong number of arguments for '{}' command", command.name));
    }
    if !client.known && !command.flags.has(Flags::BEFORE_AUTH) {
        return Admission::Refuse("NOAUTH Authentication required.".into());
    }
    if client.only_listens() && !client.speaks_resp3 && !command.flags.has(Flags::WHILE_LISTENING) {
        return Admission::Refuse(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            full_name(command, args)
        ));
    }
    if client.queue.is_some() && !command.flags.has(Flags::NOT_QUEUED) {
        return Admission::Queue;
    }
    Admission::Run(command)
}

pub(crate) fn unknown(args: &[&[u8]]) -> String {
    let shown = |bytes: &[u8], most: usize| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
        text.replace(['\r', '\n'], " ")
    };
    let mut list = String::new();
    for arg in &args[1..] {
        if list.len() >= 128 {
            break;
        }
        list.push_str(&format!("'{}' ", shown(arg, 128 - list.len())));
    }
    format!("ERR unknown command '{}', with args beginning with: {list}", shown(args[0], 128))
}

/// Runs one command; `Err`: the transaction has to be given up.
pub(crate) fn run_one(call: &mut Call<'_, '_>, command: &'static Command) -> Result<(), Error> {
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

type Run<'a> = [(&'static Command, Vec<&'a [u8]>)];

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
    let result = if run.iter().any(|(command, _)| command.flags.has(Flags::WRITE)) {
        let frees = run
            .iter()
            .all(|(command, _)| command.flags.has(Flags::FREES) || !command.flags.has(Flags::WRITE));
        let mut body = |tx: &mut skep_state::Tx<'_>| {
            begin(door, client, reply, (mark, database));
            each(door, client, reply, space, run, from, &mut Access::Write(tx))
        };
        if frees { store.write_freeing(now, &mut body) } else { store.write(now, &mut body) }
    } else {
        store.read(now, |view| {
            begin(door, client, reply, (mark, database));
            each(door, client, reply, space, run, from, &mut Access::Read(*view))
        })
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
    let until = if run.len() > 1 { skep_sys::clock::boottime_ns() + BATCH_NS } else { 0 };
    for (index, (command, args)) in run.iter().enumerate() {
        let mut call = Call { args, access: access.again(), out: reply, client, door, space, from };
        run_one(&mut call, command)?;
        // Who waits for a key is served before the next command can take it away again.
        let stop = client.blocked.is_some() || client.leaving || !door.effects.ready.is_empty();
        if stop || (run.len() > 1 && skep_sys::clock::boottime_ns() > until) {
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
    let run = [(command, args)];
    if let Err(error) = attempt(door, other, &run, From::Blocked) {
        other.reply.error(&fault::undone(&error));
    }
    drop(run);
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
