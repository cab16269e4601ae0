//! What all clients share: the store, who listens, who waits, scripts, settings.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use skep_state::{Space, Store, WallMs};

use crate::client::{Blocked, Nothing};
use crate::connection::Connection;
use crate::cursors::Cursors;
use crate::lua::Scripts;
use crate::notify::{KEYEVENT, KEYSPACE, Notify};
use crate::pubsub::{Message, PubSub};
use crate::resp::Reply;
use crate::table::Table;

/// What a transaction leads to once it is done.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) messages: Vec<Message>,
    /// Keys that got what somebody waits for.
    pub(crate) ready: VecDeque<(Space, Vec<u8>)>,
}

impl Effects {
    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.ready.clear();
    }
}

/// Running totals for INFO.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) commands: u64,
    pub(crate) connections: u64,
    pub(crate) rejected: u64,
}

/// The shared state of the door.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) store: Store,
    pub(crate) table: Table,
    pub(crate) password: Option<String>,
    pub(crate) pubsub: PubSub,
    pub(crate) notify: Notify,
    pub(crate) cursors: Cursors,
    scripts: Option<Rc<Scripts>>,
    /// Connections by slot; the one whose command runs is not in its place.
    pub(crate) row: Vec<Option<Box<Connection>>>,
    pub(crate) waiting: HashMap<(Space, Vec<u8>), VecDeque<usize>>,
    /// When blocked commands give up: nanoseconds since boot, slot.
    pub(crate) deadlines: BTreeSet<(u64, usize)>,
    pub(crate) effects: Effects,
    /// Slots of clients that got bytes or have to be closed.
    pub(crate) touched: Vec<usize>,
    /// Slots of clients whose received commands can go on.
    pub(crate) go_on: Vec<usize>,
    pub(crate) next_id: u64,
    pub(crate) started_ns: u64,
    pub(crate) totals: Totals,
    pub(crate) dirty_config: HashMap<String, String>,
    /// Why a transaction had to be given up, where the store's error does not tell it.
    pub(crate) undone: Option<String>,
    chance: u64,
}

impl Door {
    pub(crate) fn new(store: Store, password: Option<String>) -> Self {
        let started_ns = skep_sys::clock::boottime_ns();
        let seed = skep_sys::clock::wall_ns() ^ (u64::from(std::process::id()) << 32);
        Self {
            store,
            table: Table::new(),
            password,
            pubsub: PubSub::default(),
            notify: Notify::default(),
            cursors: Cursors::default(),
            scripts: None,
            row: Vec::new(),
            waiting: HashMap::new(),
            deadlines: BTreeSet::new(),
            effects: Effects::default(),
            touched: Vec::new(),
            go_on: Vec::new(),
            next_id: 0,
            started_ns,
            totals: Totals::default(),
            dirty_config: HashMap::new(),
            undone: None,
            chance: seed | 1,
        }
    }

    pub(crate) fn now(&self) -> WallMs {
        WallMs(skep_sys::clock::wall_ns() / 1_000_000)
    }

    /// The next random number (xorshift64*): for samples, never for secrets.
    pub(crate) fn chance(&mut self) -> u64 {
        self.chance ^= self.chance >> 12;
        self.chance ^= self.chance << 25;
        self.chance ^= self.chance >> 27;
        self.chance.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The Lua machine, made when it is first needed.
    pub(crate) fn scripts(&mut self) -> Result<Rc<Scripts>, mlua::Error> {
        if let Some(scripts) = &self.scripts {
            return Ok(Rc::clone(scripts));
        }
        let scripts = Rc::new(Scripts::new()?);
        self.scripts = Some(Rc::clone(&scripts));
        Ok(scripts)
    }

    /// Forgets every script.
    pub(crate) fn forget_scripts(&mut self) {
        self.scripts = None;
    }

    pub(crate) fn has_scripts(&self) -> Option<&Scripts> {
        self.scripts.as_deref()
    }

    pub(crate) fn ready(&mut self, space: Space, key: &[u8]) {
        if self.waiting.is_empty() {
            return;
        }
        let place = (space, key.to_vec());
        if self.waiting.contains_key(&place) && !self.effects.ready.contains(&place) {
            self.effects.ready.push_back(place);
        }
    }

    pub(crate) fn notify_event(&mut self, class: u16, event: &str, space: Space, key: &[u8]) {
        if !self.notify.wants(class) {
            return;
        }
        let database = space.number();
        if self.notify.has(KEYSPACE) {
            let channel = [format!("__keyspace@{database}__:").as_bytes(), key].concat();
            let message = Message { sharded: false, channel, payload: event.as_bytes().to_vec() };
            self.effects.messages.push(message);
        }
        if self.notify.has(KEYEVENT) {
            let channel = format!("__keyevent@{database}__:{event}").into_bytes();
            self.effects.messages.push(Message { sharded: false, channel, payload: key.to_vec() });
        }
    }

    /// Registers a blocked command's keys; those where it already waits keep its place in line.
    pub(crate) fn wait(&mut self, slot: usize, blocked: &Blocked) {
        for key in &blocked.keys {
            let line = self.waiting.entry(key.clone()).or_default();
            if !line.contains(&slot) {
                line.push_back(slot);
            }
        }
        if let Some(deadline) = blocked.deadline_ns {
            self.deadlines.insert((deadline, slot));
        }
    }

    /// The inverse of [`Door::wait`].
    pub(crate) fn wait_no_more(&mut self, slot: usize, blocked: &Blocked) {
        for key in &blocked.keys {
            if let Some(line) = self.waiting.get_mut(key) {
                line.retain(|waiter| *waiter != slot);
                if line.is_empty() {
                    self.waiting.remove(key);
                }
            }
        }
        if let Some(deadline) = blocked.deadline_ns {
            self.deadlines.remove(&(deadline, slot));
        }
    }

    /// Sends the messages of the transaction that is done. `own`: the client that is not in its place in the row.
    pub(crate) fn deliver(&mut self, mut own: Option<&mut Connection>) {
        for message in std::mem::take(&mut self.effects.messages) {
            let listeners: Vec<(usize, Option<Vec<u8>>)> = self
                .pubsub
                .listeners(&message.channel, message.sharded)
                .map(|(slot, pattern)| (slot, pattern.map(<[u8]>::to_vec)))
                .collect();
            for (slot, pattern) in listeners {
                if let Some(own) = own.as_deref_mut().filter(|own| own.client.slot == slot) {
                    write_message(&mut own.reply, &message, pattern.as_deref());
                } else if let Some(other) = self.row.get_mut(slot).and_then(Option::as_mut) {
                    write_message(&mut other.reply, &message, pattern.as_deref());
                    self.touched.push(slot);
                }
            }
        }
    }

    /// Blocked commands whose time is over get their answer.
    pub(crate) fn give_up_waiting(&mut self, now_ns: u64) {
        while let Some((deadline, slot)) = self.deadlines.first().copied()
            && deadline <= now_ns
        {
            self.deadlines.remove(&(deadline, slot));
            let Some(other) = self.row.get_mut(slot).and_then(Option::as_mut) else { continue };
            let Some(blocked) = other.client.blocked.take() else { continue };
            match blocked.nothing {
                Nothing::Null => other.reply.null(),
                Nothing::NullArray => other.reply.null_array(),
            }
            self.wait_no_more(slot, &blocked);
            self.touched.push(slot);
            self.go_on.push(slot);
        }
    }
}

fn write_message(out: &mut Reply, message: &Message, pattern: Option<&[u8]>) {
    match pattern {
        Some(pattern) => {
            out.push(4);
            out.text("pmessage");
            out.bulk(pattern);
        }
        None => {
            out.push(3);
            out.text(if message.sharded { "smessage" } else { "message" });
        }
    }
    out.bulk(&message.channel);
    out.bulk(&message.payload);
}
