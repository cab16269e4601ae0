//! What names stand for, read and changed for people: `skep state ls`, `get`, `set`, `incr`, `del`. Redis clients' databases
//! are in `databases`.
//!
//! Everything here runs beside the daemon's loop: a listing may walk over a million keys.

use base64::Engine;
use serde_json::Value;
use skep_api::{
    ChangeState, ErrorBody, ErrorCode, StateChange, StateChanged, StateEntry, StateKind, StateName,
    StateQuery, StateView,
};
use skep_state::strings::{Expiry, If};
use skep_state::{JobPart, Space, SpaceKind, Store, WallMs, keys, strings, zsets};

use super::{Stores, databases, failure, queues};

/// The first byte of a stored value says how to read it (npm/skep/lib/values.cjs).
const TAG_JSON: u8 = 1;
const TAG_V8: u8 = 2;
const TAG_TEXT: u8 = 4;

/// A leaderboard is one sorted set under the empty key.
const BOARD: &[u8] = b"";
/// Keys removed by one transaction when a whole map goes: about a millisecond of the writer's lock.
const CLEAR_KEYS: usize = 256;
/// The largest integer that JavaScript's numbers keep exactly: a counter's limit in the SDK too.
const SAFE_MAX: f64 = 9_007_199_254_740_991.0;

type Answer<T> = Result<T, ErrorBody>;

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All names, by kind and name; databases last, and durable queues before them.
pub(crate) fn names(stores: &Stores, now: WallMs) -> Answer<Vec<StateName>> {
    let store = &stores.memory;
    let mut names: Vec<StateName> = Vec::new();
    for counter in store.counters(now).map_err(failure)? {
        let (name, value) = (text(&counter.name), Some(counter.value));
        names.push(StateName { kind: StateKind::Counter, name, value, entries: None, durable: false });
    }
    for (kind, space_kind) in [(StateKind::Map, SpaceKind::Map), (StateKind::Leaderboard, SpaceKind::Board)] {
        for (name, space) in store.spaces(space_kind, now).map_err(failure)? {
            let count = store.read(now, |view| match kind {
                StateKind::Leaderboard => zsets::len(view, space, BOARD),
                StateKind::Map | StateKind::Counter | StateKind::Queue | StateKind::Database => {
                    keys::count(view, space)
                }
            });
            let entries = Some(count.map_err(failure)?);
            names.push(StateName { kind, name: text(&name), value: None, entries, durable: false });
        }
    }
    for queue in queues::all(stores, now)? {
        let entries = Some(queue.ready + queue.delayed + queue.active + queue.dead);
        let (kind, durable) = (StateKind::Queue, queue.durable);
        names.push(StateName { kind, name: queue.name, value: None, entries, durable });
    }
    names.extend(databases::names(store, now)?);
    Ok(names)
}

/// What kinds of things go by a name.
fn kinds(store: &Store, text: &str, now: WallMs) -> Answer<Vec<StateKind>> {
    let mut kinds = Vec::new();
    let name = text.as_bytes();
    if store.counter(name, now).map_err(failure)?.is_some() {
        kinds.push(StateKind::Counter);
    }
    for (kind, space) in [(StateKind::Map, SpaceKind::Map), (StateKind::Leaderboard, SpaceKind::Board)] {
        if store.find_space(space, name, now).map_err(failure)?.is_some() {
            kinds.push(kind);
        }
    }
    if store.queue_peek(name, JobPart::Ready, 0, now).map_err(failure)?.is_some() {
        kinds.push(StateKind::Queue);
    }
    if databases::is_there(store, text, now)? {
        kinds.push(StateKind::Database);
    }
    Ok(kinds)
}

/// The one thing that is meant.
fn find(store: &Store, name: &str, kind: Option<StateKind>, now: WallMs) -> Answer<StateKind> {
    let kinds = kinds(store, name, now)?;
    match (kind, kinds.as_slice()) {
        (Some(kind), kinds) if kinds.contains(&kind) => Ok(kind),
        (None, [kind]) => Ok(*kind),
        (None, [_, ..]) => {
            let list: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            let message = format!("{name:?} is the name of more than one thing: {}", list.join(", "));
            Err(ErrorBody::new(ErrorCode::BadRequest, message).with_hint("say which one with --kind"))
        }
        (kind, _) => {
            let what = kind.map_or("nothing", StateKind::as_str);
            let message = match kind {
                Some(_) => format!("there is no {what} called {name:?}"),
                None => format!("{what} in the shared state is called {name:?}"),
            };
            Err(ErrorBody::new(ErrorCode::UnknownTarget, message)
                .with_hint("`skep state ls` lists all names"))
        }
    }
}

/// One named thing and what is in it.
pub(crate) fn show(store: &Store, query: &StateQuery, now: WallMs) -> Answer<StateView> {
    let kind = find(store, &query.name, query.kind, now)?;
    let mut view =
        StateView { kind, name: query.name.clone(), value: None, entries: Vec::new(), more: false };
    let name = query.name.as_bytes();
    match kind {
        StateKind::Counter => {
            view.value = store.counter(name, now).map_err(failure)?;
        }
        StateKind::Map => {
            let space = store.space(SpaceKind::Map, name, now).map_err(failure)?;
            match &query.key {
                Some(key) => {
                    let found = entry(store, space, key.as_bytes(), now)?.ok_or_else(|| {
                        let message = format!("{} has no key {key:?}", query.name);
                        ErrorBody::new(ErrorCode::UnknownTarget, message)
                    })?;
                    view.entries.push(found);
                }
                None => (view.entries, view.more) = entries(store, space, query.limit as usize, now)?,
            }
        }
        StateKind::Leaderboard => {
            let space = store.space(SpaceKind::Board, name, now).map_err(failure)?;
            match &query.key {
                Some(member) => view.entries.push(member_of(store, space, &query.name, member, now)?),
                None => (view.entries, view.more) = members(store, space, query.limit as usize, now)?,
            }
        }
        StateKind::Queue => {
            return Err(ErrorBody::new(ErrorCode::BadRequest, format!("{} is a queue", query.name))
                .with_hint("`skep queues` shows its figures and jobs"));
        }
        StateKind::Database => (view.entries, view.more) = databases::entries(store, query, now)?,
    }
    Ok(view)
}

fn entry(store: &Store, space: Space, key: &[u8], now: WallMs) -> Answer<Option<StateEntry>> {
    let found = store.read(now, |view| {
        let expires = keys::info(view, space, key)?.and_then(|info| info.expires);
        Ok(strings::get(view, space, key)?.map(|value| (decode(value), expires)))
    });
    Ok(found.map_err(failure)?.map(|((value, encoding), expires)| StateEntry {
        key: text(key),
        value,
        encoding,
        holds: None,
        elements: None,
        expires_unix_ms: expires.map(|at| at.0),
        rank: None,
    }))
}

fn entries(store: &Store, space: Space, most: usize, now: WallMs) -> Answer<(Vec<StateEntry>, bool)> {
    let page = store.read(now, |view| keys::scan(view, space, b"", most)).map_err(failure)?;
    let mut entries = Vec::with_capacity(page.keys.len());
    for (key, _) in &page.keys {
        entries.extend(entry(store, space, key, now)?);
    }
    Ok((entries, page.next.is_some()))
}

pub(super) fn score(score: f64) -> Value {
    // Whole scores as whole numbers: 5, not 5.0.
    if score.fract() == 0.0 && score.abs() <= SAFE_MAX {
        Value::from(score as i64)
    } else {
        Value::from(score)
    }
}

fn members(store: &Store, space: Space, most: usize, now: WallMs) -> Answer<(Vec<StateEntry>, bool)> {
    let order = zsets::Order::Descending;
    let read = store.read(now, |view| {
        Ok((zsets::range(view, space, BOARD, 0, most, order)?, zsets::len(view, space, BOARD)?))
    });
    let (scored, count) = read.map_err(failure)?;
    let more = count > scored.len() as u64;
    let entry = |(at, scored): (usize, &zsets::Scored)| StateEntry {
        key: text(&scored.member),
        value: score(scored.score),
        encoding: None,
        holds: None,
        elements: None,
        expires_unix_ms: None,
        rank: Some(at as u64 + 1),
    };
    Ok((scored.iter().enumerate().map(entry).collect(), more))
}

fn member_of(store: &Store, space: Space, name: &str, member: &str, now: WallMs) -> Answer<StateEntry> {
    let read = store.read(now, |view| {
        let rank = zsets::rank(view, space, BOARD, member.as_bytes(), zsets::Order::Descending)?;
        Ok((zsets::score(view, space, BOARD, member.as_bytes())?, rank))
    });
    let (Some(found), rank) = read.map_err(failure)? else {
        let message = format!("{name} has no member {member:?}");
        return Err(ErrorBody::new(ErrorCode::UnknownTarget, message));
    };
    let rank = rank.map(|rank| rank + 1);
    Ok(StateEntry {
        key: member.to_owned(),
        value: score(found),
        encoding: None,
        holds: None,
        elements: None,
        expires_unix_ms: None,
        rank,
    })
}

/// Text as it is, and other bytes in base64.
pub(super) fn text_or_bytes(bytes: &[u8]) -> (Value, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Value::from(text), None),
        Err(_) => (base64(bytes), Some("bytes".to_owned())),
    }
}

fn base64(bytes: &[u8]) -> Value {
    Value::from(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// A stored value as JSON, and how it is encoded if it is none.
pub(super) fn decode(stored: &[u8]) -> (Value, Option<String>) {
    match stored.split_first() {
        Some((&TAG_JSON, json)) => match serde_json::from_slice(json) {
            Ok(value) => (value, None),
            Err(_) => (base64(json), Some("bytes".to_owned())),
        },
        Some((&TAG_TEXT, bytes)) => text_or_bytes(bytes),
        Some((&TAG_V8, bytes)) => (base64(bytes), Some("v8".to_owned())),
        Some((_, bytes)) => (base64(bytes), Some("bytes".to_owned())),
        None => (Value::from(""), None),
    }
}

fn encode(value: &Value) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("a JSON value is JSON");
    [&[TAG_JSON][..], &json].concat()
}

/// Changes a named thing.
pub(crate) fn change(store: &Store, request: &ChangeState, now: WallMs) -> Answer<StateChanged> {
    let kind = kind_to_change(store, request, now)?;
    let mut changed = StateChanged { kind, name: request.name.clone(), value: None, removed: None };
    let name = request.name.as_bytes();
    match kind {
        StateKind::Counter => changed.value = Some(Value::from(count(store, request, now)?)),
        StateKind::Map => {
            let space = store.space(SpaceKind::Map, name, now).map_err(failure)?;
            change_map(store, space, &request.change, &mut changed, now)?;
        }
        StateKind::Leaderboard => {
            let space = store.space(SpaceKind::Board, name, now).map_err(failure)?;
            change_board(store, space, &request.change, &mut changed, now)?;
        }
        StateKind::Queue => {
            return Err(ErrorBody::new(ErrorCode::BadRequest, format!("{} is a queue", request.name))
                .with_hint("its jobs are its consumers' alone"));
        }
        StateKind::Database => {
            let message = format!("{} is what Redis clients keep", request.name);
            return Err(ErrorBody::new(ErrorCode::BadRequest, message)
                .with_hint("change it as they do: redis-cli -s \"$SKEP_REDIS_PATH\"; or say --kind"));
        }
    }
    Ok(changed)
}

/// What is there under the name; what is not, is made of the kind that the change is for.
fn kind_to_change(store: &Store, request: &ChangeState, now: WallMs) -> Answer<StateKind> {
    let (creates, usual) = match &request.change {
        StateChange::Set { key: None, .. } | StateChange::Add { key: None, .. } => (true, StateKind::Counter),
        StateChange::Set { key: Some(_), .. } => (true, StateKind::Map),
        StateChange::Add { key: Some(_), .. } => (true, StateKind::Leaderboard),
        StateChange::Delete { .. } => (false, StateKind::Map),
    };
    match find(store, &request.name, request.kind, now) {
        Err(error) if error.code == ErrorCode::UnknownTarget && creates => Ok(request.kind.unwrap_or(usual)),
        found => found,
    }
}

fn whole(number: f64, field: &str) -> Answer<i64> {
    if number.fract() == 0.0 && number.abs() <= SAFE_MAX {
        return Ok(number as i64);
    }
    Err(ErrorBody::new(ErrorCode::BadRequest, format!("{field}: {number} is no whole number"))
        .with_hint("counters count whole numbers up to 2^53 - 1"))
}

fn number(value: &Value) -> Answer<f64> {
    value.as_f64().ok_or_else(|| {
        ErrorBody::new(ErrorCode::BadRequest, format!("value: {value} is no number"))
            .with_hint("counters and scores are numbers; name a key to set a map's")
    })
}

fn no_key(request: &ChangeState, key: Option<&String>) -> Answer<()> {
    match key {
        None => Ok(()),
        Some(key) => {
            let message = format!("{} is a counter and has no key {key:?}", request.name);
            Err(ErrorBody::new(ErrorCode::BadRequest, message)
                .with_hint("for a map of the same name say --kind map"))
        }
    }
}

fn count(store: &Store, request: &ChangeState, now: WallMs) -> Answer<i64> {
    let name = request.name.as_bytes();
    match &request.change {
        StateChange::Set { key, value, .. } => {
            no_key(request, key.as_ref())?;
            let value = whole(number(value)?, "value")?;
            let place = store.counter_place(name, now).map_err(failure)?;
            store.counter_set_at(place, value).map_err(failure)?;
            Ok(value)
        }
        StateChange::Add { key, by } => {
            no_key(request, key.as_ref())?;
            store.counter_add(name, whole(*by, "by")?, now).map_err(failure)
        }
        StateChange::Delete { keys } => {
            no_key(request, keys.first())?;
            let place = store.counter_place(name, now).map_err(failure)?;
            store.counter_set_at(place, 0).map_err(failure)?;
            Ok(0)
        }
    }
}

fn key_of(key: Option<&String>, name: &str) -> Answer<String> {
    key.cloned().ok_or_else(|| {
        ErrorBody::new(ErrorCode::BadRequest, format!("key: {name} has many values; name one of its keys"))
    })
}

fn change_map(
    store: &Store,
    space: Space,
    change: &StateChange,
    changed: &mut StateChanged,
    now: WallMs,
) -> Answer<()> {
    match change {
        StateChange::Set { key, value, ttl_ms } => {
            let key = key_of(key.as_ref(), &changed.name)?;
            let expiry = ttl_ms.map_or(Expiry::Never, |ttl| Expiry::At(now.plus(ttl)));
            let bytes = encode(value);
            store
                .write(now, |tx| strings::set(tx, space, key.as_bytes(), &bytes, expiry, If::Always))
                .map_err(failure)?;
            changed.value = Some(value.clone());
        }
        StateChange::Add { .. } => {
            return Err(ErrorBody::new(ErrorCode::BadRequest, format!("{} is a map", changed.name))
                .with_hint("`incr` is for counters and leaderboards; say --kind"));
        }
        StateChange::Delete { keys } if keys.is_empty() => {
            let mut removed = 0;
            loop {
                let some = store.write_freeing(now, |tx| keys::clear(tx, space, CLEAR_KEYS));
                let some = some.map_err(failure)?;
                removed += some as u64;
                if some < CLEAR_KEYS {
                    break;
                }
            }
            changed.removed = Some(removed);
        }
        StateChange::Delete { keys } => {
            let mut removed = 0;
            for key in keys {
                let gone = store.write_freeing(now, |tx| keys::delete(tx, space, key.as_bytes()));
                removed += u64::from(gone.map_err(failure)?);
            }
            changed.removed = Some(removed);
        }
    }
    Ok(())
}

fn change_board(
    store: &Store,
    space: Space,
    change: &StateChange,
    changed: &mut StateChanged,
    now: WallMs,
) -> Answer<()> {
    match change {
        StateChange::Set { key, value, .. } => {
            let (member, to) = (key_of(key.as_ref(), &changed.name)?, number(value)?);
            store.write(now, |tx| zsets::set(tx, space, BOARD, member.as_bytes(), to)).map_err(failure)?;
            changed.value = Some(score(to));
        }
        StateChange::Add { key, by } => {
            let member = key_of(key.as_ref(), &changed.name)?;
            let sum = store.write(now, |tx| zsets::add(tx, space, BOARD, member.as_bytes(), *by));
            changed.value = Some(score(sum.map_err(failure)?));
        }
        StateChange::Delete { keys } if keys.is_empty() => {
            let count = store.read(now, |view| zsets::len(view, space, BOARD)).map_err(failure)?;
            store.write_freeing(now, |tx| keys::delete(tx, space, BOARD)).map_err(failure)?;
            changed.removed = Some(count);
        }
        StateChange::Delete { keys } => {
            let mut removed = 0;
            for member in keys {
                let gone = store.write_freeing(now, |tx| zsets::remove(tx, space, BOARD, member.as_bytes()));
                removed += u64::from(gone.map_err(failure)?);
            }
            changed.removed = Some(removed);
        }
    }
    Ok(())
}
