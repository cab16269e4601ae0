//! Channels: a log of messages that every subscribed process reads to its own mark.
//!
//! A message is written by a transaction, hence whole or not at all. It is removed when every subscriber has passed it,
//! or when the backlog is over its bound: then the slowest learns that it missed some.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::Owner;
use crate::control::Control;
use crate::error::Result;
use crate::event::Event;
use crate::key::{Key, Put, Table, Take};
use crate::limits::{CHANNEL_BACKLOG_BYTES, CHANNEL_TRIM, CHANNEL_TRIM_EVERY};
use crate::tx::{Tx, View};

/// Which bit of a process's interest a channel has.
fn bit(channel: &[u8]) -> u64 {
    let hash = channel.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    1 << (hash >> 58)
}

/// Whether anybody may listen: if not, a publisher needs no transaction.
pub(crate) fn anybody_listens(control: &Control, channel: &[u8]) -> bool {
    let bit = bit(channel);
    control.slots_used().iter().any(|slot| slot.interest.load(Acquire) & bit != 0)
}

/// From now on the process in `slot` is told of the channel's messages. The number after which it reads.
pub(crate) fn subscribe(tx: &Tx<'_>, slot: usize, channel: &[u8]) -> u64 {
    let since = tx.before_tickets();
    let place = &tx.control.slots()[slot];
    if place.interest.load(Relaxed) == 0 {
        place.cursor.store(since, Relaxed);
    }
    place.interest.fetch_or(bit(channel), AcqRel);
    since
}

/// The channels that a process listens to, anew (after one was left).
pub(crate) fn set_interest<'a>(control: &Control, slot: usize, channels: impl Iterator<Item = &'a [u8]>) {
    let bits = channels.fold(0, |bits, channel| bits | bit(channel));
    control.slots()[slot].interest.store(bits, Relaxed);
}

/// Sends a message; how many processes are told.
pub(crate) fn publish(
    tx: &mut Tx<'_>,
    sender: Owner,
    port: u32,
    channel: &[u8],
    payload: &[u8],
) -> Result<usize> {
    crate::key::StoredName::new("channel name", channel)?;
    tx.check_value(payload)?;
    let mut message = Vec::with_capacity(16 + channel.len() + payload.len());
    message.put_text(channel);
    message.put_u64(sender.number());
    message.put_u32(port);
    message.extend_from_slice(payload);
    let ticket = tx.ticket();
    tx.put(&Key::new(Table::Channel).u64(ticket), &message)?;
    let header = tx.control.header();
    header.channel_bytes.fetch_add(message.len() as u64, Relaxed);
    header.stats.messages.fetch_add(1, Relaxed);
    trim(tx)?;
    let bit = bit(channel);
    let control = tx.control;
    let listening = |slot: &crate::control::Slot| slot.interest.load(Acquire) & bit != 0;
    let told: Vec<usize> =
        control.slots_used().iter().enumerate().filter(|(_, slot)| listening(slot)).map(|(i, _)| i).collect();
    for slot in &told {
        tx.wake_slot(*slot);
    }
    Ok(told.len())
}

fn trim(tx: &mut Tx<'_>) -> Result<()> {
    let header = tx.control.header();
    let within = header.channel_bytes.load(Relaxed) <= CHANNEL_BACKLOG_BYTES;
    if within && !tx.id().is_multiple_of(CHANNEL_TRIM_EVERY) {
        return Ok(());
    }
    let readers = tx.control.slots_used().iter().filter(|slot| slot.interest.load(Relaxed) != 0);
    let passed = readers.map(|slot| slot.cursor.load(Relaxed)).min().unwrap_or(u64::MAX);
    for key in tx.keys(&Key::new(Table::Channel), CHANNEL_TRIM)? {
        let ticket = Take(&key[1..]).u64();
        let over = header.channel_bytes.load(Relaxed) > CHANNEL_BACKLOG_BYTES;
        if ticket > passed && !over {
            break;
        }
        let bytes = tx.get(&Key::new(Table::Channel).u64(ticket))?.map_or(0, <[u8]>::len) as u64;
        tx.delete_raw(&key)?;
        let left = header.channel_bytes.load(Relaxed).saturating_sub(bytes);
        header.channel_bytes.store(left, Relaxed);
        if ticket > passed {
            header.channel_floor.fetch_max(ticket, Relaxed);
        }
    }
    Ok(())
}

/// Messages after the process's mark; the mark moves. True: there are more.
pub(crate) fn read(
    view: &View<'_>,
    slot: usize,
    most: usize,
    since: impl Fn(&[u8]) -> Option<u64>,
    events: &mut Vec<Event>,
) -> Result<bool> {
    let place = &view.control.slots()[slot];
    let mark = place.cursor.load(Relaxed);
    if view.control.header().channel_floor.load(Relaxed) > mark {
        events.push(Event::MessagesLost);
    }
    let table = Key::new(Table::Channel);
    let mut last = mark.max(view.control.header().channel_floor.load(Relaxed));
    let mut more = false;
    for (count, row) in view.rows_from(&table, &table.u64(last + 1))?.enumerate() {
        if count == most {
            more = true;
            break;
        }
        let (key, value) = row?;
        last = Take(&key[1..]).u64();
        let mut take = Take(value);
        let (channel, sender, port) = (take.text(), take.u64(), take.u32());
        if since(channel).is_some_and(|since| last > since) {
            let (channel, payload) = (channel.to_vec(), take.0.to_vec());
            events.push(Event::Message { channel, sender, port, payload });
        }
    }
    place.cursor.store(last, Relaxed);
    Ok(more)
}
