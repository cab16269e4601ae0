//! More and fewer slots.

use crate::app::App;
use crate::slot::{Slot, Wish};
use crate::turn::Turn;
use crate::{RestartCounts, Revision, SlotId};

impl App {
    /// Slots that commands can name.
    pub(crate) fn instances(&self) -> usize {
        self.slots.iter().filter(|slot| slot.wish != Wish::Gone).count()
    }

    /// Adds slots until there are `instances`, the lowest free index first. A slot that is on its way out still has
    /// its index (a worker with this `NODE_APP_INSTANCE` lives): it comes back instead of being doubled.
    pub(crate) fn grow(
        &mut self,
        turn: &mut Turn<'_>,
        instances: u32,
        wish: Wish,
        revision: Revision,
    ) -> Vec<SlotId> {
        let mut missing = (instances as usize).saturating_sub(self.instances());
        let mut grown = Vec::new();
        let mut index = 0;
        while missing > 0 {
            let at = self.slots.partition_point(|slot| slot.index < index);
            match self.slots.get_mut(at).filter(|slot| slot.index == index) {
                Some(slot) if slot.wish != Wish::Gone => {
                    index += 1;
                    continue;
                }
                Some(slot) => {
                    (slot.wish, slot.revision, slot.created) = (wish, revision, turn.now);
                    slot.counts = RestartCounts::default();
                    slot.forgive();
                    grown.push(slot.id);
                }
                None => {
                    let id = turn.next_slot();
                    self.slots.insert(at, Slot::new(id, index, wish, revision, turn.now));
                    grown.push(id);
                }
            }
            index += 1;
            missing -= 1;
            turn.dirty = true;
        }
        grown
    }

    /// Takes slots away until there are `instances`, the highest index first. They drain in the pass that follows.
    pub(crate) fn shrink(&mut self, turn: &mut Turn<'_>, instances: u32) -> Vec<SlotId> {
        let surplus = self.instances().saturating_sub(instances as usize);
        let mut gone = Vec::new();
        for slot in self.slots.iter_mut().rev().filter(|slot| slot.wish != Wish::Gone).take(surplus) {
            slot.wish = Wish::Gone;
            slot.forgive();
            gone.push(slot.id);
            turn.dirty = true;
        }
        gone
    }
}
