//! The names of things: small numbers that say what they number.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// An application: one name, one policy, some slots. Never reused.
    AppId(u32)
}
id! {
    /// A place for one instance; PM2's `pm_id`. Unique in the fleet. Counting restarts at 0 when the
    /// last app is gone, as PM2's does, because people type these numbers.
    SlotId(u32)
}
id! {
    /// One process, from its spawn to its exit. Starts at 1, never used twice, not even after a reboot;
    /// fits an `int32`, because it is Node's `cluster.worker.id`.
    WorkerId(u32)
}
id! {
    /// One command under way. The driver numbers them and never uses a number twice, not even after its own restart: ops
    /// live on in the snapshot.
    OpId(u64)
}
id! {
    /// Which of an app's specifications a worker runs. Opaque here: the driver keeps the specification
    /// of every revision that [`crate::Desired::revisions`] names or a live worker runs.
    Revision(u32)
}
