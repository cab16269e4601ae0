//! What Redis clients keep in their databases (`db0` to `db15`), shown to people.

use serde_json::Value;
use skep_api::{ErrorBody, ErrorCode, StateEntry, StateKind, StateName, StateQuery};
use skep_state::limits::DATABASES;
use skep_state::{
    Error, Kind, Space, Store, View, WallMs, hashes, keys, lists, sets, streams, strings, zsets,
};

use super::entries::{score, text, text_or_bytes};
use super::failure;

type Answer<T> = Result<T, ErrorBody>;

/// As Redis's INFO names them.
fn number(name: &str) -> Option<u16> {
    let number = name.strip_prefix("db")?;
    (0..DATABASES).find(|at| at.to_string() == number)
}

/// Those in which there is anything.
pub(super) fn names(store: &Store, now: WallMs) -> Answer<Vec<StateName>> {
    let mut names = Vec::new();
    for number in 0..DATABASES {
        let count = store.read(now, |view| keys::count(view, Space::database(number))).map_err(failure)?;
        if count > 0 {
            let (kind, name, entries) = (StateKind::Database, format!("db{number}"), Some(count));
            names.push(StateName { kind, name, value: None, entries, durable: false });
        }
    }
    Ok(names)
}

pub(super) fn is_there(store: &Store, name: &str, now: WallMs) -> Answer<bool> {
    let Some(number) = number(name) else { return Ok(false) };
    let page = store.read(now, |view| keys::scan(view, Space::database(number), b"", 1)).map_err(failure)?;
    // One that has ended and is not swept yet counts as little here as an empty list does.
    Ok(!page.keys.is_empty() || page.next.is_some())
}

/// Keys, and what the strings among them hold; or one key and all that it holds. Whether there is more.
pub(super) fn entries(store: &Store, query: &StateQuery, now: WallMs) -> Answer<(Vec<StateEntry>, bool)> {
    let space = Space::database(number(&query.name).expect("it is there, so it has a number"));
    let most = query.limit as usize;
    match &query.key {
        None => {
            let listed = store.read(now, |view| {
                let page = keys::scan(view, space, b"", most)?;
                let entries = page.keys.iter().map(|(key, _)| entry(view, space, key, None));
                Ok((entries.collect::<Result<Vec<_>, Error>>()?, page.next.is_some()))
            });
            let (entries, more) = listed.map_err(failure)?;
            Ok((entries.into_iter().flatten().collect(), more))
        }
        Some(key) => {
            let found = store.read(now, |view| entry(view, space, key.as_bytes(), Some(most)));
            let found = found.map_err(failure)?.ok_or_else(|| {
                let message = format!("{} has no key {key:?}", query.name);
                ErrorBody::new(ErrorCode::UnknownTarget, message)
            })?;
            let more = found.elements.is_some_and(|count| count > u64::from(query.limit));
            Ok((vec![found], more))
        }
    }
}

/// `most`: so many elements of what is no string are told.
fn entry(
    view: &View<'_>,
    space: Space,
    key: &[u8],
    most: Option<usize>,
) -> Result<Option<StateEntry>, Error> {
    let Some(info) = keys::info(view, space, key)? else { return Ok(None) };
    let (value, encoding) = match (info.kind, most) {
        (Kind::String, _) => text_or_bytes(strings::get(view, space, key)?.unwrap_or_default()),
        (_, None) => (Value::Null, None),
        (kind, Some(most)) => (elements(view, space, key, kind, most)?, None),
    };
    Ok(Some(StateEntry {
        key: text(key),
        value,
        encoding,
        holds: Some(word(info.kind).to_owned()),
        elements: count(view, space, key, info.kind)?,
        expires_unix_ms: info.expires.map(|at| at.0),
        rank: None,
    }))
}

/// As Redis's TYPE says it.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::Hash => "hash",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::SortedSet => "zset",
        Kind::Stream => "stream",
    }
}

fn count(view: &View<'_>, space: Space, key: &[u8], kind: Kind) -> Result<Option<u64>, Error> {
    Ok(match kind {
        Kind::String => None,
        Kind::Hash => Some(hashes::len(view, space, key)?),
        Kind::List => Some(lists::len(view, space, key)?),
        Kind::Set => Some(sets::len(view, space, key)?),
        Kind::SortedSet => Some(zsets::len(view, space, key)?),
        Kind::Stream => streams::find(view, space, key)?.map(|stream| stream.count),
    })
}

/// The first ones, as JSON; bytes that are no UTF-8 only roughly.
fn elements(view: &View<'_>, space: Space, key: &[u8], kind: Kind, most: usize) -> Result<Value, Error> {
    let word = |bytes: &Vec<u8>| Value::from(text(bytes));
    Ok(match kind {
        Kind::String => Value::Null,
        Kind::List => lists::range(view, space, key, 0, most)?.iter().map(word).collect(),
        Kind::Set => sets::page(view, space, key, b"", most)?.iter().map(word).collect(),
        Kind::Hash => {
            let fields = hashes::page(view, space, key, b"", most)?;
            Value::Object(fields.iter().map(|(field, value)| (text(field), word(value))).collect())
        }
        Kind::SortedSet => {
            let members = zsets::range(view, space, key, 0, most, zsets::Order::Ascending)?;
            members.iter().map(|at| Value::from(vec![word(&at.member), score(at.score)])).collect()
        }
        Kind::Stream => {
            let Some(stream) = streams::find(view, space, key)? else { return Ok(Value::Null) };
            let (first, last) = (streams::Id::MIN, streams::Id::MAX);
            let entries = streams::range(view, &stream, first, last, most)?;
            let entry = |entry: &streams::Entry| {
                let fields = entry.fields.iter().map(word).collect();
                Value::from(vec![Value::from(format!("{}-{}", entry.id.ms, entry.id.seq)), fields])
            };
            entries.iter().map(entry).collect()
        }
    })
}
