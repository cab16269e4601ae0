//! SORT.

use skep_state::zsets::Order;
use skep_state::{Kind, Save, hashes, keys, lists, sets, strings, zsets};

use crate::call::{Call, integer, is};
use crate::fault::{Done, Fault, SYNTAX, text};
use crate::notify::{GENERIC, LIST};
use crate::numbers;

#[derive(Debug, Default)]
struct Wish<'a> {
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    limit: Option<(i64, i64)>,
    descending: bool,
    alpha: bool,
    store: Option<&'a [u8]>,
}

fn wish<'a>(args: &[&'a [u8]], may_store: bool) -> Result<Wish<'a>, Fault> {
    let mut wish = Wish::default();
    let mut rest = &args[2..];
    loop {
        rest = match rest {
            [] => return Ok(wish),
            [word, more @ ..] if is(word, "asc") => {
                wish.descending = false;
                more
            }
            [word, more @ ..] if is(word, "desc") => {
                wish.descending = true;
                more
            }
            [word, more @ ..] if is(word, "alpha") => {
                wish.alpha = true;
                more
            }
            [word, skip, most, more @ ..] if is(word, "limit") => {
                wish.limit = Some((integer(skip)?, integer(most)?));
                more
            }
            [word, pattern, more @ ..] if is(word, "by") => {
                wish.by = Some(pattern);
                more
            }
            [word, pattern, more @ ..] if is(word, "get") => {
                wish.get.push(pattern);
                more
            }
            [word, to, more @ ..] if may_store && is(word, "store") => {
                wish.store = Some(to);
                more
            }
            _ => return Err(SYNTAX),
        };
    }
}

fn elements(c: &Call<'_, '_>, key: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let view = c.access.view();
    Ok(match keys::info(&view, c.space, key)?.map(|info| info.kind) {
        None => Vec::new(),
        Some(Kind::List) => lists::range(&view, c.space, key, 0, usize::MAX)?,
        Some(Kind::Set) => sets::page(&view, c.space, key, &[], usize::MAX)?,
        Some(Kind::SortedSet) => zsets::range(&view, c.space, key, 0, usize::MAX, Order::Ascending)?
            .into_iter()
            .map(|scored| scored.member)
            .collect(),
        Some(other) => {
            return Err(skep_state::Error::WrongType { found: other.name(), wanted: "list" }.into());
        }
    })
}

/// What a pattern (`weight_*`, `object_*->field`, `#`) means for an element.
fn look_up(c: &Call<'_, '_>, pattern: &[u8], element: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    if pattern == b"#" {
        return Ok(Some(element.to_vec()));
    }
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else { return Ok(None) };
    let tail = &pattern[star + 1..];
    let arrow = tail.windows(2).position(|two| two == b"->").filter(|at| at + 2 < tail.len());
    let (rest, field) = match arrow {
        Some(at) => (&tail[..at], Some(&tail[at + 2..])),
        None => (tail, None),
    };
    let key = [&pattern[..star], element, rest].concat();
    let view = c.access.view();
    let found = match field {
        Some(field) => hashes::get(&view, c.space, &key, field),
        None => strings::get(&view, c.space, &key),
    };
    match found {
        Ok(value) => Ok(value.map(<[u8]>::to_vec)),
        Err(skep_state::Error::WrongType { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn sorted(c: &Call<'_, '_>, wish: &Wish<'_>) -> Result<Vec<Vec<u8>>, Fault> {
    let all = elements(c, c.args[1])?;
    let fixed = wish.by.is_some_and(|by| !by.contains(&b'*'));
    let mut result: Vec<Vec<u8>> = if fixed {
        if wish.descending { all.into_iter().rev().collect() } else { all }
    } else {
        let mut weighed = Vec::with_capacity(all.len());
        for element in all {
            let weight = match wish.by {
                Some(by) => look_up(c, by, &element)?,
                None => Some(element.clone()),
            };
            let number = if wish.alpha {
                0.0
            } else {
                // No text is 0, as for strtod.
                let weight = weight.as_deref().filter(|weight| !weight.is_empty()).unwrap_or(b"0");
                numbers::float(weight).ok_or(text("ERR One or more scores can't be converted into double"))?
            };
            weighed.push((number, weight, element));
        }
        weighed.sort_by(|a, b| {
            let by_weight = if wish.alpha { a.1.cmp(&b.1) } else { a.0.total_cmp(&b.0) };
            let order = by_weight.then_with(|| a.2.cmp(&b.2));
            if wish.descending { order.reverse() } else { order }
        });
        weighed.into_iter().map(|(_, _, element)| element).collect()
    };
    if let Some((skip, most)) = wish.limit {
        let skip = usize::try_from(skip.max(0)).unwrap_or(usize::MAX).min(result.len());
        result.drain(..skip);
        result.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    Ok(result)
}

fn run(c: &mut Call<'_, '_>, may_store: bool) -> Done {
    let wish = wish(c.args, may_store)?;
    let elements = sorted(c, &wish)?;
    let mut answers: Vec<Option<Vec<u8>>> = Vec::new();
    for element in elements {
        if wish.get.is_empty() {
            answers.push(Some(element));
        } else {
            for pattern in &wish.get {
                answers.push(look_up(c, pattern, &element)?);
            }
        }
    }
    let Some(to) = wish.store else {
        c.out.array(answers.len());
        for answer in answers {
            c.out.maybe(answer.as_deref());
        }
        return Ok(());
    };
    let was = keys::delete(c.access.tx(), c.space, to)?;
    if answers.is_empty() {
        if was {
            c.event(GENERIC, "del", to);
        }
    } else {
        let values: Vec<&[u8]> = answers.iter().map(|answer| answer.as_deref().unwrap_or_default()).collect();
        lists::push(c.access.tx(), c.space, to, lists::End::Back, &values, Save::Now)?;
        c.ready(to);
        c.event(LIST, "sortstore", to);
    }
    c.out.size(answers.len() as u64);
    Ok(())
}

pub(crate) fn sort(c: &mut Call<'_, '_>) -> Done {
    run(c, true)
}

pub(crate) fn sort_ro(c: &mut Call<'_, '_>) -> Done {
    run(c, false)
}
