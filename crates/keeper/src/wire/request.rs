//! What the daemon asks of the keeper.

use super::adopt::Adopt;
use super::pass::Pass;
use super::spawn::Spawn;
use super::tlv::{Fields, Writer};
use super::{Malformed, needed, tag};

/// A request of the daemon. Each one but `Pass` is idempotent: after a crash the next daemon may repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The first message of a daemon; answered with `Welcome` and the whole inventory.
    Hello {
        /// The newest protocol version it speaks.
        version: u32,
        /// The oldest protocol version it speaks.
        oldest: u32,
    },
    /// Start a program. Answered with `Spawned` or `SpawnFailed`, later with `Exited`.
    Spawn(Box<Spawn>),
    /// Look after a process that a dead keeper had started. Answered as `Spawn`.
    Adopt(Box<Adopt>),
    /// Send a signal; not answered unless it failed. A child that is unknown or has ended is no failure.
    Signal {
        /// The child's number.
        child: u64,
        /// The signal's number.
        signal: i32,
        /// Who gets it.
        scope: Scope,
    },
    /// Kill the child's whole tree at this time, unless another time was named before it came: for what must not outlive
    /// a lease, whatever becomes of the daemon. A child that is unknown or has ended is no failure.
    Expire {
        /// The child's number.
        child: u64,
        /// On the boot clock, in nanoseconds.
        at_ns: u64,
    },
    /// Drop what is known about a child that has ended. For one that lives still, it is dropped when it ends.
    Forget {
        /// The child's number.
        child: u64,
    },
    /// Keep the attached descriptors and the note under this key, in place of what was there.
    Store {
        /// Opaque (at most [`super::KEY_BYTES_MAX`] bytes).
        key: Vec<u8>,
        /// Opaque (at most [`super::NOTE_BYTES_MAX`] bytes).
        note: Vec<u8>,
    },
    /// Pass a connection on. Answered with `Passed`.
    Pass(Box<Pass>),
    /// Close what is kept under this key.
    Drop {
        /// The key.
        key: Vec<u8>,
    },
    /// The end of this home: the keeper restarts no daemon any more. When the daemon has ended, what is left of
    /// the children is ended too (each with its own `Stop`), the keeper removes the socket file and exits.
    Shutdown,
    /// `Reply::Signal` was understood and is being acted upon. Without this, in
    /// [`crate::SIGNAL_ANSWER_MS_MAX`], the keeper ends all children itself.
    Handled {
        /// The signal's number.
        signal: i32,
    },
    /// Become this other program file (a newer skep) without losing a child or a descriptor. Answered with
    /// `UpgradeFailed` or, by the new keeper, with `Upgraded`.
    Upgrade {
        /// The absolute path of the program.
        path: Vec<u8>,
    },
}

/// Who gets a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The process itself.
    Process,
    /// Its process group (its number stays reserved while the child is not reaped, so no stranger is hit).
    Group,
    /// The process, its session, and all its descendants, also those that left the session.
    Tree,
}

impl Scope {
    const ALL: [Scope; 3] = [Scope::Process, Scope::Group, Scope::Tree];

    fn number(self) -> u8 {
        match self {
            Scope::Process => 0,
            Scope::Group => 1,
            Scope::Tree => 2,
        }
    }
}

const HELLO: u16 = 1;
const SPAWN: u16 = 2;
const SIGNAL: u16 = 3;
const FORGET: u16 = 4;
const STORE: u16 = 5;
const DROP: u16 = 6;
const SHUTDOWN: u16 = 7;
const HANDLED: u16 = 8;
const UPGRADE: u16 = 9;
const ADOPT: u16 = 10;
const EXPIRE: u16 = 11;
const PASS: u16 = 12;

impl Request {
    /// The greeting of this build.
    #[must_use]
    pub fn hello() -> Self {
        let (version, oldest) = super::speaks();
        Request::Hello { version, oldest }
    }

    /// Kind and payload for a packet.
    #[must_use]
    pub fn encode(&self) -> (u16, Vec<u8>) {
        let mut out = Writer::default();
        let kind = match self {
            Request::Hello { version, oldest } => {
                out.u32(tag::VERSION, *version).u32(tag::VERSION_OLDEST, *oldest);
                HELLO
            }
            Request::Spawn(spawn) => {
                spawn.encode(&mut out);
                SPAWN
            }
            Request::Adopt(adopt) => {
                adopt.encode(&mut out);
                ADOPT
            }
            Request::Pass(pass) => {
                pass.encode(&mut out);
                PASS
            }
            Request::Signal { child, signal, scope } => {
                out.u64(tag::CHILD, *child).i32(tag::SIGNAL, *signal).u8(tag::SCOPE, scope.number());
                SIGNAL
            }
            Request::Expire { child, at_ns } => {
                out.u64(tag::CHILD, *child).u64(tag::EXPIRES, *at_ns);
                EXPIRE
            }
            Request::Forget { child } => {
                out.u64(tag::CHILD, *child);
                FORGET
            }
            Request::Store { key, note } => {
                out.bytes(tag::KEY, key).bytes(tag::NOTE, note);
                STORE
            }
            Request::Drop { key } => {
                out.bytes(tag::KEY, key);
                DROP
            }
            Request::Shutdown => SHUTDOWN,
            Request::Handled { signal } => {
                out.i32(tag::SIGNAL, *signal);
                HANDLED
            }
            Request::Upgrade { path } => {
                out.bytes(tag::PATH, path);
                UPGRADE
            }
        };
        (kind, out.into_bytes())
    }

    /// The message of this kind and payload.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong; nothing in the bytes can make this panic.
    pub fn decode(kind: u16, payload: &[u8]) -> Result<Self, Malformed> {
        if kind == SPAWN {
            return Ok(Request::Spawn(Box::new(Spawn::decode(Fields::new(payload))?)));
        }
        if kind == ADOPT {
            return Ok(Request::Adopt(Box::new(Adopt::decode(Fields::new(payload))?)));
        }
        if kind == PASS {
            return Ok(Request::Pass(Box::new(Pass::decode(Fields::new(payload))?)));
        }
        let found = Found::read(Fields::new(payload))?;
        Ok(match kind {
            HELLO => Request::Hello {
                version: needed(found.version, tag::VERSION)?,
                oldest: needed(found.oldest, tag::VERSION_OLDEST)?,
            },
            SIGNAL => Request::Signal {
                child: needed(found.child, tag::CHILD)?,
                signal: needed(found.signal, tag::SIGNAL)?,
                scope: needed(found.scope, tag::SCOPE)?,
            },
            EXPIRE => Request::Expire {
                child: needed(found.child, tag::CHILD)?,
                at_ns: needed(found.at_ns, tag::EXPIRES)?,
            },
            FORGET => Request::Forget { child: needed(found.child, tag::CHILD)? },
            STORE => {
                Request::Store { key: needed(found.key, tag::KEY)?, note: found.note.unwrap_or_default() }
            }
            DROP => Request::Drop { key: needed(found.key, tag::KEY)? },
            SHUTDOWN => Request::Shutdown,
            HANDLED => Request::Handled { signal: needed(found.signal, tag::SIGNAL)? },
            UPGRADE => Request::Upgrade { path: needed(found.path, tag::PATH)? },
            _ => return Err(Malformed::UnknownKind { kind }),
        })
    }
}

#[derive(Default)]
struct Found {
    version: Option<u32>,
    oldest: Option<u32>,
    child: Option<u64>,
    signal: Option<i32>,
    scope: Option<Scope>,
    at_ns: Option<u64>,
    key: Option<Vec<u8>>,
    note: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
}

impl Found {
    fn read(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let mut found = Found::default();
        while let Some(field) = fields.next()? {
            match field.tag {
                tag::VERSION => found.version = Some(field.u32()?),
                tag::VERSION_OLDEST => found.oldest = Some(field.u32()?),
                tag::CHILD => found.child = Some(field.u64()?),
                tag::SIGNAL => found.signal = Some(field.i32()?),
                tag::SCOPE => {
                    let number = field.u8()?;
                    let scope = Scope::ALL.into_iter().find(|scope| scope.number() == number);
                    found.scope = Some(scope.ok_or(field.bad())?);
                }
                tag::EXPIRES => found.at_ns = Some(field.u64()?),
                tag::KEY => found.key = Some(field.owned()),
                tag::NOTE => found.note = Some(field.owned()),
                tag::PATH => found.path = Some(field.owned()),
                _ => {}
            }
        }
        Ok(found)
    }
}
