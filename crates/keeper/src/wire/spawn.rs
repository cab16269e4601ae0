//! The order to start a program.

use std::os::fd::RawFd;

use super::tlv::{Field, Fields, Writer};
use super::{Malformed, needed, tag};

/// A program to start, with the exact bytes of everything.
///
/// The child gets its own session and process group, the default signal dispositions, an empty signal mask, and
/// exactly the descriptors listed in `fds`: nothing is inherited from the keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// The caller's number for the child, unique for ever; a second order with the same number starts nothing
    /// and is answered with what became of the first one.
    pub child: u64,
    /// Opaque bytes that come back in the inventory (at most [`super::NOTE_BYTES_MAX`]).
    pub note: Vec<u8>,
    /// Program and arguments. A program without a slash is looked for in the `PATH` of `env`.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment, each entry `NAME=value`. An entry `LISTEN_PID=` without a value gets the child's pid as its
    /// value (`sd_listen_fds(3)`).
    pub env: Vec<Vec<u8>>,
    /// Working directory; empty: `/`.
    pub cwd: Vec<u8>,
    /// Whom it runs as; `None`: as the keeper.
    pub credentials: Option<Credentials>,
    /// File mode creation mask; `None`: the keeper's.
    pub umask: Option<u32>,
    /// Resource limits to set; those not named are the ones the keeper was started with.
    pub limits: Vec<Limit>,
    /// Niceness to set (-20–19); `None`: the keeper's.
    pub nice: Option<i32>,
    /// Whether it may never gain privileges by executing set-user-id programs.
    pub no_new_privileges: bool,
    /// Whether to install the bind interception; its notification descriptor comes with [`super::Reply::Spawned`]
    /// and [`super::Reply::Child`].
    pub bind_share: bool,
    /// Whether all that the child left behind is killed when it ends, before its exit is reported.
    pub kill_tree: bool,
    /// How the keeper ends it when it must do so without a daemon.
    pub stop: Stop,
    /// Its descriptors: (number in the child, where it comes from). At most [`super::FDS_MAX`].
    pub fds: Vec<(RawFd, FdSource)>,
}

/// Ids to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// A resource limit, as in `setrlimit(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The number of the resource (`RLIMIT_…`).
    pub resource: u32,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// How to end a child: a signal, and after a grace `SIGKILL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The polite signal's number.
    pub signal: i32,
    /// Milliseconds from the polite signal to `SIGKILL`.
    pub grace_ms: u64,
}

impl Default for Stop {
    /// `SIGTERM` and 1,600 ms, PM2's `kill_timeout`.
    fn default() -> Self {
        Stop { signal: 15, grace_ms: 1600 }
    }
}

/// Where a child's descriptor comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FdSource {
    /// The next one of the descriptors attached to the message.
    Attached,
    /// `/dev/null`, opened for reading and writing.
    Null,
    /// A descriptor in the safe-box.
    Stored {
        /// Its key.
        key: Vec<u8>,
        /// Which one of the descriptors under this key, from 0.
        index: u32,
    },
}

impl Spawn {
    /// A program with nothing but a number and its arguments: empty environment, `/` as its directory, standard
    /// descriptors on `/dev/null`.
    #[must_use]
    pub fn new(child: u64, argv: Vec<Vec<u8>>) -> Self {
        Spawn {
            child,
            note: Vec::new(),
            argv,
            env: Vec::new(),
            cwd: Vec::new(),
            credentials: None,
            umask: None,
            limits: Vec::new(),
            nice: None,
            no_new_privileges: false,
            bind_share: false,
            kill_tree: true,
            stop: Stop::default(),
            fds: (0..3).map(|target| (target, FdSource::Null)).collect(),
        }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.u64(tag::CHILD, self.child).bytes(tag::NOTE, &self.note).bytes(tag::CWD, &self.cwd);
        for argument in &self.argv {
            out.bytes(tag::ARGUMENT, argument);
        }
        for entry in &self.env {
            out.bytes(tag::ENVIRONMENT, entry);
        }
        if let Some(credentials) = &self.credentials {
            out.nested(tag::CREDENTIALS, |out| credentials.encode(out));
        }
        if let Some(umask) = self.umask {
            out.u32(tag::UMASK, umask);
        }
        for limit in &self.limits {
            out.nested(tag::LIMIT, |out| limit.encode(out));
        }
        if let Some(nice) = self.nice {
            out.i32(tag::NICE, nice);
        }
        out.flag(tag::NO_NEW_PRIVILEGES, self.no_new_privileges);
        out.flag(tag::BIND_SHARE, self.bind_share).flag(tag::KILL_TREE, self.kill_tree);
        out.nested(tag::STOP, |out| self.stop.encode(out));
        for (target, source) in &self.fds {
            out.nested(tag::DESCRIPTOR, |out| source.encode(*target, out));
        }
    }

    pub(super) fn decode(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let mut spawn = Spawn::new(0, Vec::new());
        spawn.fds.clear();
        let mut child = None;
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::CHILD => child = Some(field.u64()?),
                tag::NOTE => spawn.note = field.owned(),
                tag::ARGUMENT => spawn.argv.push(field.owned()),
                tag::ENVIRONMENT => spawn.env.push(field.owned()),
                tag::CWD => spawn.cwd = field.owned(),
                tag::CREDENTIALS => spawn.credentials = Some(Credentials::decode(field.fields())?),
                tag::UMASK => spawn.umask = Some(field.u32()?),
                tag::LIMIT => spawn.limits.push(Limit::decode(field.fields())?),
                tag::NICE => spawn.nice = Some(field.i32()?),
                tag::NO_NEW_PRIVILEGES => spawn.no_new_privileges = field.flag()?,
                tag::BIND_SHARE => spawn.bind_share = field.flag()?,
                tag::KILL_TREE => spawn.kill_tree = field.flag()?,
                tag::STOP => spawn.stop = Stop::decode(field.fields())?,
                tag::DESCRIPTOR => spawn.fds.push(FdSource::decode(field)?),
                _ => {}
            }
        }
        spawn.child = needed(child, tag::CHILD)?;
        if spawn.argv.is_empty() {
            return Err(Malformed::Missing { tag: tag::ARGUMENT });
        }
        Ok(spawn)
    }
}

impl Credentials {
    fn encode(&self, out: &mut Writer) {
        out.u32(tag::UID, self.uid).u32(tag::GID, self.gid);
        for group in &self.groups {
            out.u32(tag::GROUP, *group);
        }
    }

    fn decode(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let (mut uid, mut gid, mut groups) = (None, None, Vec::new());
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::UID => uid = Some(field.u32()?),
                tag::GID => gid = Some(field.u32()?),
                tag::GROUP => groups.push(field.u32()?),
                _ => {}
            }
        }
        Ok(Credentials { uid: needed(uid, tag::UID)?, gid: needed(gid, tag::GID)?, groups })
    }
}

impl Limit {
    fn encode(&self, out: &mut Writer) {
        out.u32(tag::RESOURCE, self.resource).u64(tag::SOFT, self.soft).u64(tag::HARD, self.hard);
    }

    fn decode(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let (mut resource, mut soft, mut hard) = (None, None, None);
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::RESOURCE => resource = Some(field.u32()?),
                tag::SOFT => soft = Some(field.u64()?),
                tag::HARD => hard = Some(field.u64()?),
                _ => {}
            }
        }
        Ok(Limit {
            resource: needed(resource, tag::RESOURCE)?,
            soft: needed(soft, tag::SOFT)?,
            hard: needed(hard, tag::HARD)?,
        })
    }
}

impl Stop {
    pub(crate) fn encode(&self, out: &mut Writer) {
        out.i32(tag::SIGNAL, self.signal).u64(tag::GRACE_MS, self.grace_ms);
    }

    pub(crate) fn decode(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let mut stop = Stop::default();
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::SIGNAL => stop.signal = field.i32()?,
                tag::GRACE_MS => stop.grace_ms = field.u64()?,
                _ => {}
            }
        }
        Ok(stop)
    }
}

const SOURCE_ATTACHED: u8 = 0;
const SOURCE_NULL: u8 = 1;
const SOURCE_STORED: u8 = 2;

impl FdSource {
    fn encode(&self, target: RawFd, out: &mut Writer) {
        out.i32(tag::TARGET, target);
        match self {
            FdSource::Attached => out.u8(tag::SOURCE, SOURCE_ATTACHED),
            FdSource::Null => out.u8(tag::SOURCE, SOURCE_NULL),
            FdSource::Stored { key, index } => {
                out.u8(tag::SOURCE, SOURCE_STORED).bytes(tag::KEY, key).u32(tag::INDEX, *index)
            }
        };
    }

    fn decode(field: Field<'_>) -> Result<(RawFd, Self), Malformed> {
        let (mut target, mut source, mut key, mut index) = (None, None, None, 0);
        let mut fields = field.fields();
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::TARGET => target = Some(field.i32()?),
                tag::SOURCE => source = Some(field.u8()?),
                tag::KEY => key = Some(field.owned()),
                tag::INDEX => index = field.u32()?,
                _ => {}
            }
        }
        let target = needed(target, tag::TARGET)?;
        let source = match needed(source, tag::SOURCE)? {
            SOURCE_ATTACHED => FdSource::Attached,
            SOURCE_NULL => FdSource::Null,
            SOURCE_STORED => FdSource::Stored { key: needed(key, tag::KEY)?, index },
            _ => return Err(field.bad()),
        };
        Ok((target, source))
    }
}
