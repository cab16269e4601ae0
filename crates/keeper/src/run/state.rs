//! The keeper's state as bytes, to be carried through an `execve` into another version of itself.
//!
//! The same tag–length–value encoding as on the wire: a reader skips what it does not know. Descriptors are their
//! numbers, which survive `execve`. A writer that stores something which an older reader must not skip raises
//! [`FORMAT_OLDEST_READER`].

use std::os::fd::RawFd;

use skep_sys::spawn::Limit;

use super::children::Told;
use crate::wire::tlv::{Field, Fields, Writer};
use crate::wire::{ChildState, Malformed, Stop, needed, tag};

/// The format that this build writes.
const FORMAT: u32 = 1;
/// The oldest format that a reader must understand to read what this build writes.
const FORMAT_OLDEST_READER: u32 = 1;

/// The longest state that is read, in bytes: more than the table and the safe-box can ever hold.
pub(crate) const STATE_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// All that a keeper knows, as plain data.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) home: Vec<u8>,
    pub(crate) control: RawFd,
    pub(crate) lock: RawFd,
    pub(crate) daemon_argv: Vec<Vec<u8>>,
    pub(crate) descriptor_limit: Option<(u64, u64)>,
    pub(crate) generation: u64,
    pub(crate) daemon: Option<SavedDaemon>,
    pub(crate) ending: bool,
    pub(crate) signalled: Vec<i32>,
    pub(crate) children: Vec<SavedChild>,
    pub(crate) stored: Vec<SavedFds>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedDaemon {
    pub(crate) pid: i32,
    pub(crate) link: Option<RawFd>,
    /// The protocol version that was agreed upon with it; 0 before its greeting.
    pub(crate) version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedChild {
    pub(crate) id: u64,
    pub(crate) note: Vec<u8>,
    pub(crate) kill_tree: bool,
    pub(crate) stop: Stop,
    pub(crate) notify: Option<RawFd>,
    pub(crate) state: ChildState,
    /// Of a starting child: where its outcome will be told, and its pid.
    pub(crate) starting: Option<(RawFd, i32)>,
    pub(crate) start_time: u64,
    pub(crate) expires_ns: Option<u64>,
    /// It is not our child.
    pub(crate) foreign: bool,
    pub(crate) told: Told,
    pub(crate) forgotten: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedFds {
    pub(crate) key: Vec<u8>,
    pub(crate) note: Vec<u8>,
    pub(crate) fds: Vec<RawFd>,
}

impl Saved {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u32(tag::VERSION, FORMAT).u32(tag::VERSION_OLDEST, FORMAT_OLDEST_READER);
        out.bytes(tag::PATH, &self.home).i32(tag::CONTROL_FD, self.control).i32(tag::LOCK_FD, self.lock);
        for argument in &self.daemon_argv {
            out.bytes(tag::ARGUMENT, argument);
        }
        if let Some((soft, hard)) = self.descriptor_limit {
            out.u64(tag::SOFT, soft).u64(tag::HARD, hard);
        }
        out.u64(tag::GENERATION, self.generation).flag(tag::ENDING, self.ending);
        for signal in &self.signalled {
            out.i32(tag::SIGNAL, *signal);
        }
        if let Some(daemon) = &self.daemon {
            out.nested(tag::DAEMON, |out| daemon.encode(out));
        }
        for child in &self.children {
            out.nested(tag::CHILD, |out| child.encode(out));
        }
        for stored in &self.stored {
            out.nested(tag::STORED, |out| stored.encode(out));
        }
        out.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut saved = Saved { control: -1, lock: -1, ..Saved::default() };
        let (mut oldest, mut soft, mut hard) = (None, None, None);
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::VERSION_OLDEST => oldest = Some(field.u32()?),
                tag::PATH => saved.home = field.owned(),
                tag::CONTROL_FD => saved.control = field.i32()?,
                tag::LOCK_FD => saved.lock = field.i32()?,
                tag::ARGUMENT => saved.daemon_argv.push(field.owned()),
                tag::SOFT => soft = Some(field.u64()?),
                tag::HARD => hard = Some(field.u64()?),
                tag::GENERATION => saved.generation = field.u64()?,
                tag::ENDING => saved.ending = field.flag()?,
                tag::SIGNAL => saved.signalled.push(field.i32()?),
                tag::DAEMON => saved.daemon = Some(SavedDaemon::decode(field.fields())?),
                tag::CHILD => saved.children.push(SavedChild::decode(field)?),
                tag::STORED => saved.stored.push(SavedFds::decode(field.fields())?),
                _ => {}
            }
        }
        if needed(oldest, tag::VERSION_OLDEST)? > FORMAT {
            return Err(Malformed::BadValue { tag: tag::VERSION_OLDEST });
        }
        for (missing, tag) in [
            (saved.home.is_empty(), tag::PATH),
            (saved.control < 0, tag::CONTROL_FD),
            (saved.lock < 0, tag::LOCK_FD),
            (saved.daemon_argv.is_empty(), tag::ARGUMENT),
        ] {
            if missing {
                return Err(Malformed::Missing { tag });
            }
        }
        saved.descriptor_limit = soft.zip(hard);
        Ok(saved)
    }

    /// All descriptors that must be open.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut all = vec![self.control, self.lock];
        all.extend(self.daemon.as_ref().and_then(|daemon| daemon.link));
        for child in &self.children {
            all.extend(child.notify);
            all.extend(child.starting.map(|(fd, _)| fd));
        }
        all.extend(self.stored.iter().flat_map(|stored| &stored.fds));
        all
    }

    /// All pids that must be our children, ended or not.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let of_child = |child: &SavedChild| match child.state {
            ChildState::Starting => child.starting.map(|(_, pid)| pid),
            ChildState::Running { .. } if child.foreign => None,
            ChildState::Running { pid, .. } => Some(pid),
            ChildState::Exited { .. } | ChildState::Failed { .. } => None,
        };
        let daemon = self.daemon.as_ref().map(|daemon| daemon.pid);
        self.children.iter().filter_map(of_child).chain(daemon).collect()
    }

    pub(crate) fn limit(&self, resource: u32) -> Option<Limit> {
        self.descriptor_limit.map(|(soft, hard)| Limit { resource, soft, hard })
    }
}

impl SavedDaemon {
    fn encode(&self, out: &mut Writer) {
        out.i32(tag::PID, self.pid).u32(tag::VERSION, self.version);
        if let Some(link) = self.link {
            out.i32(tag::FD, link);
        }
    }

    fn decode(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let (mut pid, mut link, mut version) = (None, None, 0);
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::PID => pid = Some(field.i32()?),
                tag::FD => link = Some(field.i32()?),
                tag::VERSION => version = field.u32()?,
                _ => {}
            }
        }
        Ok(SavedDaemon { pid: needed(pid, tag::PID)?, link, version })
    }
}

impl SavedChild {
    fn encode(&self, out: &mut Writer) {
        out.u64(tag::CHILD, self.id).bytes(tag::NOTE, &self.note).flag(tag::KILL_TREE, self.kill_tree);
        out.nested(tag::STOP, |out| self.stop.encode(out)).nested(tag::STATE, |out| self.state.encode(out));
        out.u64(tag::START_TIME, self.start_time).u8(tag::TOLD, self.told.number());
        out.flag(tag::FORGOTTEN, self.forgotten).flag(tag::FOREIGN, self.foreign);
        if let Some(at_ns) = self.expires_ns {
            out.u64(tag::EXPIRES, at_ns);
        }
        if let Some(notify) = self.notify {
            out.i32(tag::NOTIFY_FD, notify);
        }
        if let Some((fd, pid)) = self.starting {
            out.i32(tag::STATUS_FD, fd).i32(tag::PID, pid);
        }
    }

    fn decode(whole: Field<'_>) -> Result<Self, Malformed> {
        let (mut id, mut state, mut status_fd, mut pid) = (None, None, None, None);
        let mut child = SavedChild {
            id: 0,
            note: Vec::new(),
            kill_tree: false,
            stop: Stop::default(),
            notify: None,
            state: ChildState::Starting,
            starting: None,
            start_time: 0,
            expires_ns: None,
            foreign: false,
            told: Told::Nothing,
            forgotten: false,
        };
        let mut fields = whole.fields();
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::CHILD => id = Some(field.u64()?),
                tag::NOTE => child.note = field.owned(),
                tag::KILL_TREE => child.kill_tree = field.flag()?,
                tag::STOP => child.stop = Stop::decode(field.fields())?,
                tag::STATE => state = Some(ChildState::decode(field.fields())?),
                tag::START_TIME => child.start_time = field.u64()?,
                tag::EXPIRES => child.expires_ns = Some(field.u64()?),
                tag::TOLD => child.told = Told::from_number(field.u8()?).ok_or(field.bad())?,
                tag::FORGOTTEN => child.forgotten = field.flag()?,
                tag::FOREIGN => child.foreign = field.flag()?,
                tag::NOTIFY_FD => child.notify = Some(field.i32()?),
                tag::STATUS_FD => status_fd = Some(field.i32()?),
                tag::PID => pid = Some(field.i32()?),
                _ => {}
            }
        }
        child.id = needed(id, tag::CHILD)?;
        child.state = needed(state, tag::STATE)?;
        child.starting = status_fd.zip(pid);
        if matches!(child.state, ChildState::Starting) && child.starting.is_none() {
            return Err(whole.bad());
        }
        Ok(child)
    }
}

impl SavedFds {
    fn encode(&self, out: &mut Writer) {
        out.bytes(tag::KEY, &self.key).bytes(tag::NOTE, &self.note);
        for fd in &self.fds {
            out.i32(tag::FD, *fd);
        }
    }

    fn decode(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let (mut key, mut note, mut fds) = (None, Vec::new(), Vec::new());
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::KEY => key = Some(field.owned()),
                tag::NOTE => note = field.owned(),
                tag::FD => fds.push(field.i32()?),
                _ => {}
            }
        }
        Ok(SavedFds { key: needed(key, tag::KEY)?, note, fds })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use skep_sys::wait::ExitStatus;

    use super::*;

    fn example() -> Saved {
        let child = |id, state, starting| SavedChild {
            id,
            note: b"web:0".to_vec(),
            kill_tree: true,
            stop: Stop { signal: 2, grace_ms: 7 },
            notify: (id == 2).then_some(9),
            state,
            starting,
            start_time: 77,
            expires_ns: (id == 2).then_some(5),
            foreign: id == 4,
            told: Told::Spawned,
            forgotten: id == 3,
        };
        Saved {
            home: b"/h".to_vec(),
            control: 3,
            lock: 4,
            daemon_argv: vec![b"skep".to_vec(), b"".to_vec()],
            descriptor_limit: Some((1024, u64::MAX)),
            generation: 5,
            daemon: Some(SavedDaemon { pid: 42, link: Some(6), version: 1 }),
            ending: false,
            signalled: vec![15],
            children: vec![
                child(1, ChildState::Starting, Some((8, 100))),
                child(2, ChildState::Running { pid: 101, start_time: 77 }, None),
                child(4, ChildState::Running { pid: 103, start_time: 77 }, None),
                child(3, ChildState::Exited { pid: 102, status: ExitStatus::Code(1) }, None),
            ],
            stored: vec![SavedFds { key: b"l:0".to_vec(), note: vec![0, 255], fds: vec![10, 11] }],
        }
    }

    #[test]
    fn a_state_survives_its_encoding() {
        let saved = example();
        assert_eq!(Saved::decode(&saved.encode()).expect("decodes"), saved);
        assert_eq!(saved.descriptors(), [3, 4, 6, 8, 9, 10, 11]);
        assert_eq!(saved.pids(), [100, 101, 42]);
    }

    #[test]
    fn a_newer_writer_may_add_fields_but_can_also_refuse_us() {
        let mut bytes = example().encode();
        let mut more = Writer::default();
        more.bytes(60_000, b"from the future");
        bytes.extend(more.into_bytes());
        assert_eq!(Saved::decode(&bytes).expect("decodes"), example());
        let mut refusal = Writer::default();
        refusal.u32(tag::VERSION_OLDEST, FORMAT + 1);
        bytes.extend(refusal.into_bytes());
        assert_eq!(Saved::decode(&bytes), Err(Malformed::BadValue { tag: tag::VERSION_OLDEST }));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Saved::decode(&bytes);
        }

        #[test]
        fn a_damaged_state_never_panics(place in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut bytes = example().encode();
            let place = place.index(bytes.len());
            bytes[place] = value;
            let _ = Saved::decode(&bytes);
        }
    }
}
