//! What the keeper tells the daemon.

use skep_sys::spawn::Stage;
use skep_sys::wait::ExitStatus;

use super::pass::Passed;
use super::tlv::{Field, Fields, Writer};
use super::{Malformed, needed, tag};

/// A message of the keeper. What happens to children is derived from the keeper's table, not queued: a daemon
/// that was slow, stopped or replaced learns each child's latest state, however many events it missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The answer to `Hello`; the inventory follows: `Child`s, `Stored`s, `InventoryEnd`.
    Welcome {
        /// The protocol version from now on; 0: none in common (the daemon must end; see `build`).
        version: u32,
        /// The keeper's pid.
        keeper: i32,
        /// How many daemons this keeper has started, this one included (for seq spaces: "generation << 32").
        generation: u64,
        /// The keeper's build, for people ("0.1.0").
        build: Vec<u8>,
        /// The limit on open files that the keeper was started with, soft and hard.
        descriptor_limit: (u64, u64),
    },
    /// A child in the inventory. The bind notification descriptor comes along if it has one.
    Child {
        /// Its number.
        child: u64,
        /// The note of its `Spawn`.
        note: Vec<u8>,
        /// What became of it.
        state: ChildState,
    },
    /// Descriptors in the inventory.
    Stored {
        /// Their key.
        key: Vec<u8>,
        /// Their note.
        note: Vec<u8>,
    },
    /// The inventory is complete.
    InventoryEnd,
    /// The program was executed. The bind notification descriptor comes along if it was asked for.
    Spawned {
        /// The child's number.
        child: u64,
        /// Its pid, process group and session.
        pid: i32,
        /// When it was started, in clock ticks since boot (`/proc/PID/stat`, field 22): with the pid, its identity.
        start_time: u64,
    },
    /// There is no process. Kept until `Forget`.
    SpawnFailed {
        /// The child's number.
        child: u64,
        /// The step that failed.
        stage: Stage,
        /// Why.
        errno: i32,
    },
    /// The child ended (and with `kill_tree` all that it left behind was killed). Kept until `Forget`.
    Exited {
        /// The child's number.
        child: u64,
        /// How.
        status: ExitStatus,
    },
    /// A signal could not be sent.
    SignalFailed {
        /// The child's number.
        child: u64,
        /// Why, for example `EPERM` for a set-user-id program.
        errno: i32,
    },
    /// The descriptors could not be stored; what was under the key before is still there.
    StoreFailed {
        /// The key.
        key: Vec<u8>,
        /// Why: `EMFILE` (descriptors have run out), `E2BIG` (key or note too long), `ENOSPC` (too many keys).
        errno: i32,
    },
    /// What came of a `Pass`. A duplicate of the connection comes along if it was taken out of a queue.
    Passed {
        /// The daemon's number for it.
        ticket: u64,
        /// What came of it.
        outcome: Passed,
    },
    /// The keeper itself got this signal; answer with `Handled`.
    Signal {
        /// Its number: SIGTERM, SIGINT, SIGHUP, SIGQUIT or SIGUSR2.
        signal: i32,
    },
    /// The keeper is a new program now; the daemon should end, and a new one will be started.
    Upgraded {
        /// The new keeper's build.
        build: Vec<u8>,
    },
    /// The keeper is still the old program.
    UpgradeFailed {
        /// Why, for people.
        reason: Vec<u8>,
    },
    /// A request was not understood (a newer daemon's, or garbage) and ignored.
    Unknown {
        /// The kind's number.
        kind: u16,
        /// Why, for people.
        reason: Vec<u8>,
    },
}

/// What became of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// The process exists but its program is not executed yet; `Spawned` or `SpawnFailed` will follow.
    Starting,
    /// It runs.
    Running {
        /// Its pid, process group and session.
        pid: i32,
        /// Clock ticks since boot.
        start_time: u64,
    },
    /// It has ended.
    Exited {
        /// The pid it had.
        pid: i32,
        /// How.
        status: ExitStatus,
    },
    /// It could not be started.
    Failed {
        /// The step that failed.
        stage: Stage,
        /// Why.
        errno: i32,
    },
}

const WELCOME: u16 = 1;
const CHILD: u16 = 2;
const STORED: u16 = 3;
const INVENTORY_END: u16 = 4;
const SPAWNED: u16 = 5;
const SPAWN_FAILED: u16 = 6;
const EXITED: u16 = 7;
const SIGNAL_FAILED: u16 = 8;
const STORE_FAILED: u16 = 9;
const SIGNAL: u16 = 10;
const UPGRADED: u16 = 11;
const UPGRADE_FAILED: u16 = 12;
const UNKNOWN: u16 = 13;
const PASSED: u16 = 14;

impl Reply {
    /// Kind and payload for a packet.
    #[must_use]
    pub fn encode(&self) -> (u16, Vec<u8>) {
        let mut out = Writer::default();
        let kind = match self {
            Reply::Welcome { version, keeper, generation, build, descriptor_limit: (soft, hard) } => {
                out.u64(tag::SOFT, *soft).u64(tag::HARD, *hard);
                out.u32(tag::VERSION, *version).i32(tag::PID, *keeper);
                out.u64(tag::GENERATION, *generation).bytes(tag::BUILD, build);
                WELCOME
            }
            Reply::Child { child, note, state } => {
                out.u64(tag::CHILD, *child).bytes(tag::NOTE, note);
                out.nested(tag::STATE, |out| state.encode(out));
                CHILD
            }
            Reply::Stored { key, note } => {
                out.bytes(tag::KEY, key).bytes(tag::NOTE, note);
                STORED
            }
            Reply::InventoryEnd => INVENTORY_END,
            Reply::Spawned { child, pid, start_time } => {
                out.u64(tag::CHILD, *child).i32(tag::PID, *pid).u64(tag::START_TIME, *start_time);
                SPAWNED
            }
            Reply::SpawnFailed { child, stage, errno } => {
                out.u64(tag::CHILD, *child).u8(tag::STAGE, stage.number()).i32(tag::ERRNO, *errno);
                SPAWN_FAILED
            }
            Reply::Exited { child, status } => {
                out.u64(tag::CHILD, *child);
                encode_status(*status, &mut out);
                EXITED
            }
            Reply::SignalFailed { child, errno } => {
                out.u64(tag::CHILD, *child).i32(tag::ERRNO, *errno);
                SIGNAL_FAILED
            }
            Reply::StoreFailed { key, errno } => {
                out.bytes(tag::KEY, key).i32(tag::ERRNO, *errno);
                STORE_FAILED
            }
            Reply::Passed { ticket, outcome } => {
                out.u64(tag::TICKET, *ticket);
                outcome.encode(&mut out);
                PASSED
            }
            Reply::Signal { signal } => {
                out.i32(tag::SIGNAL, *signal);
                SIGNAL
            }
            Reply::Upgraded { build } => {
                out.bytes(tag::BUILD, build);
                UPGRADED
            }
            Reply::UpgradeFailed { reason } => {
                out.bytes(tag::REASON, reason);
                UPGRADE_FAILED
            }
            Reply::Unknown { kind, reason } => {
                out.u32(tag::KIND, u32::from(*kind)).bytes(tag::REASON, reason);
                UNKNOWN
            }
        };
        (kind, out.into_bytes())
    }

    /// The message of this kind and payload.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong; nothing in the bytes can make this panic.
    pub fn decode(kind: u16, payload: &[u8]) -> Result<Self, Malformed> {
        let found = Found::read(Fields::new(payload))?;
        let child = || needed(found.child, tag::CHILD);
        let errno = || needed(found.errno, tag::ERRNO);
        let key = || needed(found.key.clone(), tag::KEY);
        let note = || found.note.clone().unwrap_or_default();
        let reason = || found.reason.clone().unwrap_or_default();
        let build = || found.build.clone().unwrap_or_default();
        Ok(match kind {
            WELCOME => Reply::Welcome {
                version: needed(found.version, tag::VERSION)?,
                keeper: needed(found.pid, tag::PID)?,
                generation: needed(found.generation, tag::GENERATION)?,
                build: build(),
                descriptor_limit: found.soft.zip(found.hard).unwrap_or((u64::MAX, u64::MAX)),
            },
            CHILD => Reply::Child { child: child()?, note: note(), state: needed(found.state, tag::STATE)? },
            STORED => Reply::Stored { key: key()?, note: note() },
            INVENTORY_END => Reply::InventoryEnd,
            SPAWNED => Reply::Spawned {
                child: child()?,
                pid: needed(found.pid, tag::PID)?,
                start_time: needed(found.start_time, tag::START_TIME)?,
            },
            SPAWN_FAILED => Reply::SpawnFailed {
                child: child()?,
                stage: needed(found.stage, tag::STAGE)?,
                errno: errno()?,
            },
            EXITED => Reply::Exited { child: child()?, status: found.exit.status()? },
            SIGNAL_FAILED => Reply::SignalFailed { child: child()?, errno: errno()? },
            STORE_FAILED => Reply::StoreFailed { key: key()?, errno: errno()? },
            PASSED => Reply::Passed {
                ticket: needed(found.ticket, tag::TICKET)?,
                outcome: Passed::of(found.outcome, found.errno)?,
            },
            SIGNAL => Reply::Signal { signal: needed(found.signal, tag::SIGNAL)? },
            UPGRADED => Reply::Upgraded { build: build() },
            UPGRADE_FAILED => Reply::UpgradeFailed { reason: reason() },
            UNKNOWN => Reply::Unknown { kind: needed(found.kind, tag::KIND)?, reason: reason() },
            _ => return Err(Malformed::UnknownKind { kind }),
        })
    }
}

#[derive(Default)]
struct Found {
    version: Option<u32>,
    pid: Option<i32>,
    generation: Option<u64>,
    build: Option<Vec<u8>>,
    child: Option<u64>,
    note: Option<Vec<u8>>,
    state: Option<ChildState>,
    key: Option<Vec<u8>>,
    start_time: Option<u64>,
    stage: Option<Stage>,
    errno: Option<i32>,
    exit: Exit,
    signal: Option<i32>,
    reason: Option<Vec<u8>>,
    kind: Option<u16>,
    ticket: Option<u64>,
    outcome: Option<u8>,
    soft: Option<u64>,
    hard: Option<u64>,
}

impl Found {
    fn read(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let mut found = Found::default();
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::VERSION => found.version = Some(field.u32()?),
                tag::SOFT => found.soft = Some(field.u64()?),
                tag::HARD => found.hard = Some(field.u64()?),
                tag::PID => found.pid = Some(field.i32()?),
                tag::GENERATION => found.generation = Some(field.u64()?),
                tag::BUILD => found.build = Some(field.owned()),
                tag::CHILD => found.child = Some(field.u64()?),
                tag::NOTE => found.note = Some(field.owned()),
                tag::STATE => found.state = Some(ChildState::decode(field.fields())?),
                tag::KEY => found.key = Some(field.owned()),
                tag::START_TIME => found.start_time = Some(field.u64()?),
                tag::STAGE => found.stage = Some(Stage::from_number(field.u8()?).ok_or(field.bad())?),
                tag::ERRNO => found.errno = Some(field.i32()?),
                tag::SIGNAL => found.signal = Some(field.i32()?),
                tag::REASON => found.reason = Some(field.owned()),
                tag::TICKET => found.ticket = Some(field.u64()?),
                tag::OUTCOME => found.outcome = Some(field.u8()?),
                tag::KIND => found.kind = Some(u16::try_from(field.u32()?).map_err(|_| field.bad())?),
                _ => found.exit.take(field)?,
            }
        }
        Ok(found)
    }
}

/// The fields of an exit status, wherever they appear.
#[derive(Debug, Default, Clone, Copy)]
struct Exit {
    code: Option<i32>,
    signal: Option<i32>,
    core_dumped: bool,
}

impl Exit {
    fn take(&mut self, field: Field<'_>) -> Result<(), Malformed> {
        match field.tag {
            tag::EXIT_CODE => self.code = Some(field.i32()?),
            tag::EXIT_SIGNAL => self.signal = Some(field.i32()?),
            tag::CORE_DUMPED => self.core_dumped = field.flag()?,
            _ => {}
        }
        Ok(())
    }

    fn status(self) -> Result<ExitStatus, Malformed> {
        match (self.code, self.signal) {
            (Some(code), None) => Ok(ExitStatus::Code(code)),
            (None, Some(signal)) => Ok(ExitStatus::Signal { signal, core_dumped: self.core_dumped }),
            (Some(_), Some(_)) => Err(Malformed::BadValue { tag: tag::EXIT_CODE }),
            (None, None) => Ok(ExitStatus::Unknown),
        }
    }
}

fn encode_status(status: ExitStatus, out: &mut Writer) {
    match status {
        ExitStatus::Code(code) => out.i32(tag::EXIT_CODE, code),
        ExitStatus::Signal { signal, core_dumped } => {
            out.i32(tag::EXIT_SIGNAL, signal).flag(tag::CORE_DUMPED, core_dumped)
        }
        ExitStatus::Unknown => out,
    };
}

const STARTING: u8 = 0;
const RUNNING: u8 = 1;
const ENDED: u8 = 2;
const FAILED: u8 = 3;

impl ChildState {
    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            ChildState::Starting => {
                out.u8(tag::STATE, STARTING);
            }
            ChildState::Running { pid, start_time } => {
                out.u8(tag::STATE, RUNNING).i32(tag::PID, *pid).u64(tag::START_TIME, *start_time);
            }
            ChildState::Exited { pid, status } => {
                out.u8(tag::STATE, ENDED).i32(tag::PID, *pid);
                encode_status(*status, out);
            }
            ChildState::Failed { stage, errno } => {
                out.u8(tag::STATE, FAILED).u8(tag::STAGE, stage.number()).i32(tag::ERRNO, *errno);
            }
        }
    }

    pub(crate) fn decode(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let (mut state, mut pid, mut start_time, mut stage, mut errno) = (None, None, None, None, None);
        let mut exit = Exit::default();
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::STATE => state = Some(field.u8()?),
                tag::PID => pid = Some(field.i32()?),
                tag::START_TIME => start_time = Some(field.u64()?),
                tag::STAGE => stage = Some(Stage::from_number(field.u8()?).ok_or(field.bad())?),
                tag::ERRNO => errno = Some(field.i32()?),
                _ => exit.take(field)?,
            }
        }
        Ok(match needed(state, tag::STATE)? {
            STARTING => ChildState::Starting,
            RUNNING => ChildState::Running {
                pid: needed(pid, tag::PID)?,
                start_time: needed(start_time, tag::START_TIME)?,
            },
            ENDED => ChildState::Exited { pid: needed(pid, tag::PID)?, status: exit.status()? },
            FAILED => {
                ChildState::Failed { stage: needed(stage, tag::STAGE)?, errno: needed(errno, tag::ERRNO)? }
            }
            _ => return Err(Malformed::BadValue { tag: tag::STATE }),
        })
    }
}
