//! Messages.

use crate::call::{Call, is};
use crate::cmd::connection::{subcommand, subcommand_arity};
use crate::fault::Done;
use crate::glob;
use crate::pubsub::{Message, Subject};

fn names<'a>(c: &'a mut Call<'_, '_>, subject: Subject) -> &'a mut std::collections::BTreeSet<Vec<u8>> {
    match subject {
        Subject::Channel => &mut c.client.channels,
        Subject::Pattern => &mut c.client.patterns,
        Subject::Shard => &mut c.client.shards,
    }
}

fn left(c: &Call<'_, '_>, subject: Subject) -> u64 {
    let count = if subject == Subject::Shard { c.client.shards.len() } else { c.client.subscriptions() };
    count as u64
}

fn join(c: &mut Call<'_, '_>, subject: Subject, word: &str) -> Done {
    let slot = c.client.slot;
    for name in &c.args[1..] {
        if names(c, subject).insert(name.to_vec()) {
            c.door.pubsub.join(subject, name, slot);
        }
        c.out.push(3);
        c.out.text(word);
        c.out.bulk(name);
        c.out.size(left(c, subject));
    }
    Ok(())
}

fn leave(c: &mut Call<'_, '_>, subject: Subject, word: &str) -> Done {
    let slot = c.client.slot;
    let leaving: Vec<Vec<u8>> = if c.args.len() > 1 {
        c.args[1..].iter().map(|name| name.to_vec()).collect()
    } else {
        names(c, subject).iter().cloned().collect()
    };
    for name in &leaving {
        if names(c, subject).remove(name) {
            c.door.pubsub.leave(subject, name, slot);
        }
        c.out.push(3);
        c.out.text(word);
        c.out.bulk(name);
        c.out.size(left(c, subject));
    }
    if leaving.is_empty() {
        c.out.push(3);
        c.out.text(word);
        c.out.null();
        c.out.size(left(c, subject));
    }
    Ok(())
}

pub(crate) fn subscribe(c: &mut Call<'_, '_>) -> Done {
    join(c, Subject::Channel, "subscribe")
}

pub(crate) fn psubscribe(c: &mut Call<'_, '_>) -> Done {
    join(c, Subject::Pattern, "psubscribe")
}

pub(crate) fn ssubscribe(c: &mut Call<'_, '_>) -> Done {
    join(c, Subject::Shard, "ssubscribe")
}

pub(crate) fn unsubscribe(c: &mut Call<'_, '_>) -> Done {
    leave(c, Subject::Channel, "unsubscribe")
}

pub(crate) fn punsubscribe(c: &mut Call<'_, '_>) -> Done {
    leave(c, Subject::Pattern, "punsubscribe")
}

pub(crate) fn sunsubscribe(c: &mut Call<'_, '_>) -> Done {
    leave(c, Subject::Shard, "sunsubscribe")
}

fn send(c: &mut Call<'_, '_>, sharded: bool) -> Done {
    let (channel, payload) = (c.args[1], c.args[2]);
    let told = c.door.pubsub.listeners(channel, sharded).count();
    if told > 0 {
        let message = Message { sharded, channel: channel.to_vec(), payload: payload.to_vec() };
        c.door.effects.messages.push(message);
    }
    c.out.size(told as u64);
    Ok(())
}

pub(crate) fn publish(c: &mut Call<'_, '_>) -> Done {
    send(c, false)
}

pub(crate) fn spublish(c: &mut Call<'_, '_>) -> Done {
    send(c, true)
}

fn channels(c: &mut Call<'_, '_>, sharded: bool) -> Done {
    let pattern = c.args.get(2).copied();
    let of = if sharded { &c.door.pubsub.shards } else { &c.door.pubsub.channels };
    let mut names: Vec<&Vec<u8>> =
        of.keys().filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name))).collect();
    names.sort();
    c.out.array(names.len());
    for name in names {
        c.out.bulk(name);
    }
    Ok(())
}

fn numbers(c: &mut Call<'_, '_>, sharded: bool) -> Done {
    let of = if sharded { &c.door.pubsub.shards } else { &c.door.pubsub.channels };
    c.out.map(c.args.len() - 2);
    for name in &c.args[2..] {
        c.out.bulk(name);
        c.out.size(of.get(*name).map_or(0, Vec::len) as u64);
    }
    Ok(())
}

pub(crate) fn pubsub(c: &mut Call<'_, '_>) -> Done {
    let word = c.args[1];
    let count = c.args.len();
    if is(word, "channels") && count <= 3 {
        channels(c, false)
    } else if is(word, "shardchannels") && count <= 3 {
        channels(c, true)
    } else if is(word, "numsub") {
        numbers(c, false)
    } else if is(word, "shardnumsub") {
        numbers(c, true)
    } else if is(word, "numpat") && count == 2 {
        c.out.size(c.door.pubsub.patterns.len() as u64);
        Ok(())
    } else if ["channels", "shardchannels", "numpat"].iter().any(|known| is(word, known)) {
        Err(subcommand_arity(c))
    } else {
        Err(subcommand(c))
    }
}
