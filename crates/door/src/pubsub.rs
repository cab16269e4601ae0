//! Who listens to which channel.

use std::collections::HashMap;

use crate::glob;

/// A message on its way; it is delivered when the transaction that sent it is done.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) sharded: bool,
    pub(crate) channel: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// Three kinds of subscriptions; listeners are places in the door's row of clients.
#[derive(Debug, Default)]
pub(crate) struct PubSub {
    pub(crate) channels: HashMap<Vec<u8>, Vec<usize>>,
    pub(crate) patterns: HashMap<Vec<u8>, Vec<usize>>,
    pub(crate) shards: HashMap<Vec<u8>, Vec<usize>>,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Channel,
    Pattern,
    Shard,
}

impl PubSub {
    fn of(&mut self, subject: Subject) -> &mut HashMap<Vec<u8>, Vec<usize>> {
        match subject {
            Subject::Channel => &mut self.channels,
            Subject::Pattern => &mut self.patterns,
            Subject::Shard => &mut self.shards,
        }
    }

    pub(crate) fn join(&mut self, subject: Subject, name: &[u8], slot: usize) {
        self.of(subject).entry(name.to_vec()).or_default().push(slot);
    }

    pub(crate) fn leave(&mut self, subject: Subject, name: &[u8], slot: usize) {
        let names = self.of(subject);
        if let Some(listeners) = names.get_mut(name) {
            listeners.retain(|listener| *listener != slot);
            if listeners.is_empty() {
                names.remove(name);
            }
        }
    }

    /// Who gets a message, each with the pattern that it came by.
    pub(crate) fn listeners<'a>(
        &'a self,
        channel: &'a [u8],
        sharded: bool,
    ) -> impl Iterator<Item = (usize, Option<&'a [u8]>)> {
        let own = if sharded { &self.shards } else { &self.channels };
        let direct = own.get(channel).into_iter().flatten().map(|slot| (*slot, None));
        let matching =
            self.patterns.iter().filter(move |(pattern, _)| !sharded && glob::matches(pattern, channel));
        direct.chain(
            matching.flat_map(|(pattern, slots)| slots.iter().map(move |slot| (*slot, Some(&pattern[..])))),
        )
    }
}
