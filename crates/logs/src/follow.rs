//! Who listens to which streams.

use crate::{Chunk, Keep, Source, SubscriptionId};

type Filter = Box<dyn Fn(&Source) -> bool>;
type Listener = Box<dyn FnMut(&Chunk<'_>) -> Keep>;

/// The subscribers. Nothing is copied, or even looked at, while there is none for a stream.
#[derive(Default)]
pub(crate) struct Followers {
    last_id: u64,
    all: Vec<(SubscriptionId, Filter, Listener)>,
}

impl std::fmt::Debug for Followers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all.iter().map(|(id, ..)| id)).finish()
    }
}

// === impl Followers ===

impl Followers {
    pub(crate) fn add(&mut self, filter: Filter, listener: Listener) -> SubscriptionId {
        self.last_id += 1;
        let id = SubscriptionId(self.last_id);
        self.all.push((id, filter, listener));
        id
    }

    pub(crate) fn remove(&mut self, id: SubscriptionId) {
        self.all.retain(|(other, ..)| *other != id);
    }

    /// Whether anyone listens to the stream.
    pub(crate) fn want(&self, source: &Source) -> bool {
        self.all.iter().any(|(_, filter, _)| filter(source))
    }

    pub(crate) fn deliver(&mut self, chunk: &Chunk<'_>) {
        self.all.retain_mut(|(_, filter, listener)| !filter(chunk.source) || listener(chunk) == Keep::Going);
    }
}
