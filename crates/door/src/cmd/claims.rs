//! Streams: entries that wait for an acknowledgement, told and taken over.

use skep_state::WallMs;
use skep_state::streams::{self, Entry, Group, Id, Pending, Stream};

use crate::call::{Call, integer, is, positive};
use crate::cmd::groups::{find, no_group, touch};
use crate::cmd::streams::{from, id, to, write_entry, write_id};
use crate::fault::{Done, Fault, SYNTAX, say, text};

fn summary(c: &mut Call<'_, '_>, stream: &Stream, group: &Group) -> Done {
    let view = c.access.view();
    let all = streams::pending_between(&view, stream, group, (Id::MIN, Id::MAX), usize::MAX, |_| true)?;
    c.out.array(4);
    c.out.size(all.len() as u64);
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        c.out.null();
        c.out.null();
        c.out.null_array();
        return Ok(());
    };
    write_id(c.out, first.id);
    write_id(c.out, last.id);
    let consumers = streams::consumers(&view, stream, group)?;
    let busy: Vec<_> = consumers.iter().filter(|consumer| consumer.pending > 0).collect();
    c.out.array(busy.len());
    for consumer in busy {
        c.out.array(2);
        c.out.bulk(&consumer.name);
        c.out.text(&consumer.pending.to_string());
    }
    Ok(())
}

pub(crate) fn xpending(c: &mut Call<'_, '_>) -> Done {
    let (key, name) = (c.args[1], c.args[2]);
    let mut rest = &c.args[3..];
    let mut idle = 0;
    if rest.len() >= 2 && is(rest[0], "idle") {
        idle = u64::try_from(integer(rest[1])?).unwrap_or(0);
        rest = &rest[2..];
        if rest.len() < 3 {
            return Err(SYNTAX);
        }
    }
    let range = match rest {
        [] => None,
        [start, end, count] => Some((from(start)?, to(end)?, integer(count)?, None)),
        [start, end, count, consumer] => Some((from(start)?, to(end)?, integer(count)?, Some(*consumer))),
        _ => return Err(SYNTAX),
    };
    let Some((stream, group)) = find(c, key, name)? else { return Err(no_group(key, name)) };
    let Some((from, to, count, consumer)) = range else { return summary(c, &stream, &group) };
    let now = c.now_ms();
    let most = usize::try_from(count).unwrap_or(0);
    let wanted = |pending: &Pending| {
        consumer.is_none_or(|consumer| pending.consumer == consumer)
            && now.saturating_sub(pending.since.0) >= idle
    };
    let found = streams::pending_between(&c.access.view(), &stream, &group, (from, to), most, wanted)?;
    c.out.array(found.len());
    for pending in found {
        c.out.array(4);
        write_id(c.out, pending.id);
        c.out.bulk(&pending.consumer);
        c.out.size(now.saturating_sub(pending.since.0));
        c.out.size(pending.deliveries);
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Claim {
    since: Option<u64>,
    retries: Option<u64>,
    force: bool,
    just_id: bool,
    last: Option<Id>,
}

fn claim_options(c: &Call<'_, '_>, mut rest: &[&[u8]]) -> Result<Claim, Fault> {
    let mut claim = Claim::default();
    let now = c.now_ms();
    while let Some((word, more)) = rest.split_first() {
        rest = more;
        if is(word, "force") {
            claim.force = true;
            continue;
        }
        if is(word, "justid") {
            claim.just_id = true;
            continue;
        }
        let unknown = || say(format!("ERR Unrecognized XCLAIM option '{}'", String::from_utf8_lossy(word)));
        let (value, more) = more.split_first().ok_or_else(unknown)?;
        rest = more;
        match word {
            word if is(word, "idle") => {
                let idle = crate::numbers::integer(value)
                    .ok_or(text("ERR Invalid IDLE option argument for XCLAIM"))?;
                claim.since = Some(now.saturating_sub(u64::try_from(idle).unwrap_or(0)));
            }
            word if is(word, "time") => {
                let at = crate::numbers::integer(value)
                    .ok_or(text("ERR Invalid TIME option argument for XCLAIM"))?;
                claim.since = Some(u64::try_from(at).unwrap_or(0).min(now));
            }
            word if is(word, "retrycount") => {
                let complaint = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
                claim.retries = Some(positive(value, complaint)?);
            }
            word if is(word, "lastid") => claim.last = Some(id(value, 0)?),
            _ => return Err(unknown()),
        }
    }
    Ok(claim)
}

fn tell_claimed(c: &mut Call<'_, '_>, found: &[Entry], just_id: bool) {
    c.out.array(found.len());
    for entry in found {
        if just_id { write_id(c.out, entry.id) } else { write_entry(c.out, entry) }
    }
}

pub(crate) fn xclaim(c: &mut Call<'_, '_>) -> Done {
    let (key, name, consumer) = (c.args[1], c.args[2], c.args[3]);
    let idle =
        crate::numbers::integer(c.args[4]).ok_or(text("ERR Invalid min-idle-time argument for XCLAIM"))?;
    let idle = u64::try_from(idle).unwrap_or(0);
    let Some((stream, mut group)) = find(c, key, name)? else { return Err(no_group(key, name)) };
    let split = c.args[5..].iter().position(|word| id(word, 0).is_err()).map_or(c.args.len(), |at| at + 5);
    let ids: Vec<Id> = c.args[5..split].iter().map(|word| id(word, 0)).collect::<Result<_, _>>()?;
    let claim = claim_options(c, &c.args[split..])?;
    if ids.is_empty() {
        return Err(text("ERR Invalid stream ID specified as stream command argument"));
    }
    if let Some(last) = claim.last.filter(|last| *last > group.last) {
        group.last = last;
        streams::put_group(c.access.tx(), &stream, &group)?;
    }
    streams::create_consumer(c.access.tx(), &stream, &group, consumer)?;
    let now = c.now_ms();
    let mut found = Vec::new();
    for id in ids {
        let before = streams::pending(&c.access.view(), &stream, &group, id)?;
        let Some(entry) = streams::entry(&c.access.view(), &stream, id)? else {
            // The entry was deleted meanwhile: it waits for nobody any more.
            streams::remove_pending(c.access.tx(), &stream, &mut group, id)?;
            continue;
        };
        let deliveries = match &before {
            None if !claim.force => continue,
            None => 0,
            Some(before) if now.saturating_sub(before.since.0) < idle => continue,
            Some(before) => before.deliveries,
        };
        let pending = Pending {
            id,
            consumer: consumer.to_vec(),
            since: WallMs(claim.since.unwrap_or(now)),
            deliveries: claim.retries.unwrap_or(deliveries + u64::from(!claim.just_id)),
        };
        streams::put_pending(c.access.tx(), &stream, &mut group, &pending)?;
        found.push(entry);
    }
    touch(c, key)?;
    tell_claimed(c, &found, claim.just_id);
    Ok(())
}

pub(crate) fn xautoclaim(c: &mut Call<'_, '_>) -> Done {
    let (key, name, consumer) = (c.args[1], c.args[2], c.args[3]);
    let idle = crate::numbers::integer(c.args[4])
        .ok_or(text("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let idle = u64::try_from(idle).unwrap_or(0);
    let start = from(c.args[5])?;
    let (mut most, mut just_id) = (100, false);
    let mut rest = &c.args[6..];
    while let Some((word, more)) = rest.split_first() {
        rest = more;
        if is(word, "count") && !more.is_empty() {
            most = positive(more[0], "ERR COUNT must be > 0")?;
            if most == 0 {
                return Err(text("ERR COUNT must be > 0"));
            }
            rest = &more[1..];
        } else if is(word, "justid") {
            just_id = true;
        } else {
            return Err(SYNTAX);
        }
    }
    let Some((stream, mut group)) = find(c, key, name)? else { return Err(no_group(key, name)) };
    streams::create_consumer(c.access.tx(), &stream, &group, consumer)?;
    let now = c.now_ms();
    // As Redis: ten times the count is looked at.
    let looked = usize::try_from(most.saturating_mul(10)).unwrap_or(usize::MAX).saturating_add(1);
    let all =
        streams::pending_between(&c.access.view(), &stream, &group, (start, Id::MAX), looked, |_| true)?;
    let (mut found, mut deleted, mut next) = (Vec::new(), Vec::new(), Id::MIN);
    for (index, before) in all.iter().enumerate() {
        if found.len() as u64 + deleted.len() as u64 >= most || index + 1 == looked {
            next = before.id;
            break;
        }
        if now.saturating_sub(before.since.0) < idle {
            continue;
        }
        let Some(entry) = streams::entry(&c.access.view(), &stream, before.id)? else {
            streams::remove_pending(c.access.tx(), &stream, &mut group, before.id)?;
            deleted.push(before.id);
            continue;
        };
        let pending = Pending {
            id: before.id,
            consumer: consumer.to_vec(),
            since: WallMs(now),
            deliveries: before.deliveries + u64::from(!just_id),
        };
        streams::put_pending(c.access.tx(), &stream, &mut group, &pending)?;
        found.push(entry);
    }
    touch(c, key)?;
    c.out.array(3);
    write_id(c.out, next);
    tell_claimed(c, &found, just_id);
    c.out.array(deleted.len());
    for id in deleted {
        write_id(c.out, id);
    }
    Ok(())
}
