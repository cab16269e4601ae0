//! XINFO.

use skep_state::streams::{self, Group, Id, Pending, Stream};

use crate::call::{Call, integer, is};
use crate::cmd::connection::{subcommand, subcommand_arity};
use crate::cmd::groups::lag;
use crate::cmd::streams::{write_entry, write_id};
use crate::fault::{Done, NO_SUCH_KEY, say, text};

pub(crate) fn xinfo(c: &mut Call<'_, '_>) -> Done {
    let word = String::from_utf8_lossy(c.args[1]).to_lowercase();
    let fits = match word.as_str() {
        "stream" => (3..=6).contains(&c.args.len()),
        "groups" => c.args.len() == 3,
        "consumers" => c.args.len() == 4,
        _ => return Err(subcommand(c)),
    };
    if !fits {
        return Err(subcommand_arity(c));
    }
    let key = c.args[2];
    let stream = streams::find(&c.access.view(), c.space, key)?.ok_or(NO_SUCH_KEY)?;
    match word.as_str() {
        "stream" if c.args.len() > 3 => info_full(c, &stream),
        "stream" => info_stream(c, &stream),
        "groups" => info_groups(c, &stream),
        _ => info_consumers(c, &stream),
    }
}

fn head(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    let first = streams::first(&c.access.view(), stream)?.unwrap_or(Id::MIN);
    let out = &mut *c.out;
    out.text("length");
    out.size(stream.count);
    out.text("radix-tree-keys");
    out.size(stream.count.div_ceil(100));
    out.text("radix-tree-nodes");
    out.size(stream.count.div_ceil(100) + 1);
    out.text("last-generated-id");
    write_id(out, stream.last);
    out.text("max-deleted-entry-id");
    write_id(out, stream.max_deleted);
    out.text("entries-added");
    out.size(stream.added);
    out.text("recorded-first-entry-id");
    write_id(out, first);
    Ok(())
}

fn info_stream(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    c.out.map(10);
    head(c, stream)?;
    let view = c.access.view();
    c.out.text("groups");
    c.out.size(streams::groups(&view, stream)?.len() as u64);
    let ends = [
        ("first-entry", streams::range(&view, stream, Id::MIN, Id::MAX, 1)?),
        ("last-entry", streams::range_down(&view, stream, Id::MIN, Id::MAX, 1)?),
    ];
    for (name, entries) in ends {
        c.out.text(name);
        match entries.first() {
            Some(entry) => write_entry(c.out, entry),
            None => c.out.null(),
        }
    }
    Ok(())
}

fn info_full(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    let most = match &c.args[3..] {
        [word] if is(word, "full") => 10,
        [word, count, number] if is(word, "full") && is(count, "count") => match integer(number)? {
            0 => usize::MAX,
            number => usize::try_from(number).unwrap_or(10),
        },
        _ => {
            return Err(text(
                "ERR unknown subcommand or wrong number of arguments for 'stream'. Try XINFO HELP.",
            ));
        }
    };
    c.out.map(9);
    head(c, stream)?;
    let view = c.access.view();
    c.out.text("entries");
    let entries = streams::range(&view, stream, Id::MIN, Id::MAX, most)?;
    c.out.array(entries.len());
    for entry in &entries {
        write_entry(c.out, entry);
    }
    c.out.text("groups");
    let groups = streams::groups(&view, stream)?;
    c.out.array(groups.len());
    for group in groups {
        full_group(c, stream, &group, most)?;
    }
    Ok(())
}

fn full_group(c: &mut Call<'_, '_>, stream: &Stream, group: &Group, most: usize) -> Done {
    let lag = lag(c, stream, group)?;
    let view = c.access.view();
    let out = &mut *c.out;
    out.map(7);
    out.text("name");
    out.bulk(&group.name);
    out.text("last-delivered-id");
    write_id(out, group.last);
    for (name, number) in [("entries-read", group.read), ("lag", lag)] {
        out.text(name);
        match number {
            Some(number) => out.size(number),
            None => out.null(),
        }
    }
    out.text("pel-count");
    out.size(group.pending);
    out.text("pending");
    let pending = streams::pending_between(&view, stream, group, (Id::MIN, Id::MAX), most, |_| true)?;
    out.array(pending.len());
    for entry in &pending {
        out.array(4);
        write_id(out, entry.id);
        out.bulk(&entry.consumer);
        out.size(entry.since.0);
        out.size(entry.deliveries);
    }
    out.text("consumers");
    let consumers = streams::consumers(&view, stream, group)?;
    out.array(consumers.len());
    for consumer in consumers {
        out.map(4);
        out.text("name");
        out.bulk(&consumer.name);
        out.text("seen-time");
        out.size(consumer.seen.0);
        out.text("pel-count");
        out.size(consumer.pending);
        out.text("pending");
        let own = |entry: &Pending| entry.consumer == consumer.name;
        let pending = streams::pending_between(&view, stream, group, (Id::MIN, Id::MAX), most, own)?;
        out.array(pending.len());
        for entry in &pending {
            out.array(3);
            write_id(out, entry.id);
            out.size(entry.since.0);
            out.size(entry.deliveries);
        }
    }
    Ok(())
}

fn info_groups(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    let groups = streams::groups(&c.access.view(), stream)?;
    c.out.array(groups.len());
    for group in groups {
        let consumers = streams::consumers(&c.access.view(), stream, &group)?.len();
        let lag = lag(c, stream, &group)?;
        c.out.map(6);
        c.out.text("name");
        c.out.bulk(&group.name);
        c.out.text("consumers");
        c.out.size(consumers as u64);
        c.out.text("pending");
        c.out.size(group.pending);
        c.out.text("last-delivered-id");
        write_id(c.out, group.last);
        for (name, number) in [("entries-read", group.read), ("lag", lag)] {
            c.out.text(name);
            match number {
                Some(number) => c.out.size(number),
                None => c.out.null(),
            }
        }
    }
    Ok(())
}

fn info_consumers(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    let Some(group) = streams::group(&c.access.view(), stream, c.args[3])? else {
        return Err(say(format!(
            "NOGROUP No such consumer group '{}' for key name '{}'",
            String::from_utf8_lossy(c.args[3]),
            String::from_utf8_lossy(c.args[2])
        )));
    };
    let now = c.now_ms();
    let consumers = streams::consumers(&c.access.view(), stream, &group)?;
    c.out.array(consumers.len());
    for consumer in consumers {
        c.out.map(3);
        c.out.text("name");
        c.out.bulk(&consumer.name);
        c.out.text("pending");
        c.out.size(consumer.pending);
        c.out.text("idle");
        c.out.size(now.saturating_sub(consumer.seen.0));
    }
    Ok(())
}
