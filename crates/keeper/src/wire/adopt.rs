//! The order to look after a process that another keeper started.

use super::spawn::Stop;
use super::tlv::{Fields, Writer};
use super::{Malformed, needed, tag};

/// A process that a keeper which is dead now had started. It is not our child: it is followed by its pidfd, and how it
/// ends is never known. The bind notification descriptor comes along if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopt {
    /// The caller's number for it, as in [`super::Spawn`].
    pub child: u64,
    /// Opaque bytes that come back in the inventory.
    pub note: Vec<u8>,
    /// Its pid, process group and session.
    pub pid: i32,
    /// When it was started, in clock ticks since boot: another process of this pid is not meant.
    pub start_time: u64,
    /// As in [`super::Spawn`].
    pub kill_tree: bool,
    /// As in [`super::Spawn`].
    pub stop: Stop,
}

impl Adopt {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.u64(tag::CHILD, self.child).bytes(tag::NOTE, &self.note).i32(tag::PID, self.pid);
        out.u64(tag::START_TIME, self.start_time).flag(tag::KILL_TREE, self.kill_tree);
        out.nested(tag::STOP, |out| self.stop.encode(out));
    }

    pub(super) fn decode(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let (mut child, mut pid, mut start_time) = (None, None, None);
        let (mut note, mut kill_tree, mut stop) = (Vec::new(), false, Stop::default());
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::CHILD => child = Some(field.u64()?),
                tag::NOTE => note = field.owned(),
                tag::PID => pid = Some(field.i32()?),
                tag::START_TIME => start_time = Some(field.u64()?),
                tag::KILL_TREE => kill_tree = field.flag()?,
                tag::STOP => stop = Stop::decode(field.fields())?,
                _ => {}
            }
        }
        Ok(Adopt {
            child: needed(child, tag::CHILD)?,
            note,
            pid: needed(pid, tag::PID)?,
            start_time: needed(start_time, tag::START_TIME)?,
            kill_tree,
            stop,
        })
    }
}
