//! Sets.

use std::collections::BTreeSet;

use skep_state::{Kind, Save, keys, sets};

use crate::call::{Call, integer, is, positive};
use crate::cmd::hashes::{Sample, choose, gone, must_be, sample};
use crate::fault::{Done, Fault, SYNTAX, arity, text};
use crate::notify::{GENERIC, SET};

pub(crate) fn sadd(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let new = sets::add_all(c.access.tx(), c.space, key, &c.args[2..], Save::Later)?;
    if new > 0 {
        c.event(SET, "sadd", key);
    }
    c.out.size(new);
    Ok(())
}

pub(crate) fn srem(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let removed = sets::remove_all(c.access.tx(), c.space, key, &c.args[2..])?;
    if removed > 0 {
        c.event(SET, "srem", key);
        gone(c, key)?;
    }
    c.out.size(removed);
    Ok(())
}

pub(crate) fn scard(c: &mut Call<'_, '_>) -> Done {
    c.out.size(sets::len(&c.access.view(), c.space, c.args[1])?);
    Ok(())
}

pub(crate) fn sismember(c: &mut Call<'_, '_>) -> Done {
    c.out.flag(sets::contains(&c.access.view(), c.space, c.args[1], c.args[2])?);
    Ok(())
}

pub(crate) fn smismember(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    c.out.array(c.args.len() - 2);
    for member in &c.args[2..] {
        c.out.flag(sets::contains(&view, c.space, c.args[1], member)?);
    }
    Ok(())
}

pub(crate) fn smembers(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    let count = sets::len(&view, c.space, c.args[1])?;
    c.out.set(usize::try_from(count).unwrap_or(0));
    let out = &mut *c.out;
    sets::each(&view, c.space, c.args[1], |member| {
        out.bulk(member);
        Ok(())
    })?;
    Ok(())
}

pub(crate) fn smove(c: &mut Call<'_, '_>) -> Done {
    let (from, to, member) = (c.args[1], c.args[2], c.args[3]);
    if !must_be(c, from, Kind::Set)? {
        c.out.flag(false);
        return Ok(());
    }
    must_be(c, to, Kind::Set)?;
    if from == to {
        c.out.flag(sets::contains(&c.access.view(), c.space, from, member)?);
        return Ok(());
    }
    let was = sets::remove(c.access.tx(), c.space, from, member)?;
    if was {
        sets::add(c.access.tx(), c.space, to, member)?;
        c.event(SET, "srem", from);
        c.event(SET, "sadd", to);
        gone(c, from)?;
    }
    c.out.flag(was);
    Ok(())
}

pub(crate) fn spop(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    match c.args.len() {
        2 => {
            let chance = c.door.chance();
            let member = sets::sample(&c.access.view(), c.space, key, chance)?;
            if let Some(member) = &member {
                sets::remove(c.access.tx(), c.space, key, member)?;
                c.event(SET, "spop", key);
                gone(c, key)?;
            }
            c.out.maybe(member.as_deref());
        }
        3 => {
            let count = positive(c.args[2], "ERR value is out of range, must be positive")?;
            let mut all = sets::page(&c.access.view(), c.space, key, &[], usize::MAX)?;
            choose(&mut all, usize::try_from(count).unwrap_or(usize::MAX), || c.door.chance());
            let members: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
            if !members.is_empty() {
                sets::remove_all(c.access.tx(), c.space, key, &members)?;
                c.event(SET, "spop", key);
                gone(c, key)?;
            }
            c.out.set(members.len());
            for member in members {
                c.out.bulk(member);
            }
        }
        _ => return Err(SYNTAX),
    }
    Ok(())
}

pub(crate) fn srandmember(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    if c.args.len() == 2 {
        let chance = c.door.chance();
        let member = sets::sample(&c.access.view(), c.space, key, chance)?;
        c.out.maybe(member.as_deref());
        return Ok(());
    }
    if c.args.len() > 3 {
        return Err(SYNTAX);
    }
    let count = integer(c.args[2])?;
    let length = sets::len(&c.access.view(), c.space, key)?;
    let chosen = match sample(count, length)? {
        Sample::Any(most) => {
            let mut chosen = Vec::new();
            for _ in 0..most {
                let chance = c.door.chance();
                chosen.extend(sets::sample(&c.access.view(), c.space, key, chance)?);
            }
            chosen
        }
        how => {
            let mut all = sets::page(&c.access.view(), c.space, key, &[], usize::MAX)?;
            if let Sample::Different(most) = how {
                choose(&mut all, most, || c.door.chance());
            }
            all
        }
    };
    c.out.array(chosen.len());
    for member in chosen {
        c.out.bulk(&member);
    }
    Ok(())
}

/// How sets are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algebra {
    Union,
    Inter,
    Diff,
}

fn members(c: &Call<'_, '_>, key: &[u8]) -> Result<BTreeSet<Vec<u8>>, Fault> {
    let mut members = BTreeSet::new();
    sets::each(&c.access.view(), c.space, key, |member| {
        members.insert(member.to_vec());
        Ok(())
    })?;
    Ok(members)
}

fn combine(c: &Call<'_, '_>, names: &[&[u8]], how: Algebra, most: usize) -> Result<Vec<Vec<u8>>, Fault> {
    let view = c.access.view();
    for key in names {
        must_be(c, key, Kind::Set)?;
    }
    if how == Algebra::Union {
        let mut all = BTreeSet::new();
        for key in names {
            all.append(&mut members(c, key)?);
        }
        return Ok(all.into_iter().collect());
    }
    // Begin with the smallest one where the order does not matter; then every other set is only asked.
    let mut names = names.to_vec();
    if how == Algebra::Inter {
        let mut sized = Vec::with_capacity(names.len());
        for key in &names {
            sized.push((sets::len(&view, c.space, key)?, *key));
        }
        sized.sort();
        names = sized.into_iter().map(|(_, key)| key).collect();
    }
    let mut kept = Vec::new();
    for member in members(c, names[0])? {
        let mut keep = true;
        for key in &names[1..] {
            keep = sets::contains(&view, c.space, key, &member)? == (how == Algebra::Inter);
            if !keep {
                break;
            }
        }
        if keep {
            kept.push(member);
            if kept.len() == most {
                break;
            }
        }
    }
    Ok(kept)
}

fn tell(c: &mut Call<'_, '_>, how: Algebra) -> Done {
    let members = combine(c, &c.args[1..], how, usize::MAX)?;
    c.out.set(members.len());
    for member in members {
        c.out.bulk(&member);
    }
    Ok(())
}

fn store(c: &mut Call<'_, '_>, how: Algebra, event: &str) -> Done {
    let to = c.args[1];
    let members = combine(c, &c.args[2..], how, usize::MAX)?;
    let was = keys::delete(c.access.tx(), c.space, to)?;
    if members.is_empty() {
        if was {
            c.event(GENERIC, "del", to);
        }
    } else {
        let members: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
        sets::add_all(c.access.tx(), c.space, to, &members, Save::Now)?;
        c.event(SET, event, to);
    }
    c.out.size(members.len() as u64);
    Ok(())
}

pub(crate) fn sunion(c: &mut Call<'_, '_>) -> Done {
    tell(c, Algebra::Union)
}

pub(crate) fn sinter(c: &mut Call<'_, '_>) -> Done {
    tell(c, Algebra::Inter)
}

pub(crate) fn sdiff(c: &mut Call<'_, '_>) -> Done {
    tell(c, Algebra::Diff)
}

pub(crate) fn sunionstore(c: &mut Call<'_, '_>) -> Done {
    store(c, Algebra::Union, "sunionstore")
}

pub(crate) fn sinterstore(c: &mut Call<'_, '_>) -> Done {
    store(c, Algebra::Inter, "sinterstore")
}

pub(crate) fn sdiffstore(c: &mut Call<'_, '_>) -> Done {
    store(c, Algebra::Diff, "sdiffstore")
}

/// `numkeys key … [LIMIT n]` of SINTERCARD and ZINTERCARD.
pub(crate) fn card_args<'a>(args: &[&'a [u8]], name: &str) -> Result<(Vec<&'a [u8]>, usize), Fault> {
    let complaint = "ERR numkeys should be greater than 0";
    let count = usize::try_from(positive(args[1], complaint)?).unwrap_or(usize::MAX);
    if count == 0 {
        return Err(text(complaint));
    }
    if count > args.len() - 2 {
        return Err(text("ERR Number of keys can't be greater than number of args"));
    }
    let limit = match &args[2 + count..] {
        [] => 0,
        [word, number] if is(word, "limit") => positive(number, "ERR LIMIT can't be negative")?,
        [word] if is(word, "limit") => return Err(SYNTAX),
        _ if args.len() < 3 => return Err(arity(name)),
        _ => return Err(SYNTAX),
    };
    let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    Ok((args[2..2 + count].to_vec(), limit))
}

pub(crate) fn sintercard(c: &mut Call<'_, '_>) -> Done {
    let (names, limit) = card_args(c.args, "sintercard")?;
    let members = combine(c, &names, Algebra::Inter, limit)?;
    c.out.size(members.len().min(limit) as u64);
    Ok(())
}
