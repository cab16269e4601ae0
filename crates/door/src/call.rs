//! One command under way: its arguments, what it may touch, where its answer goes.

use skep_state::{Space, Tx, View};

use crate::client::Client;
use crate::door::Door;
use crate::fault::{Done, Fault, NOT_A_FLOAT, NOT_AN_INTEGER, text};
use crate::numbers;
use crate::resp::Reply;

/// What a command may do with the store.
#[derive(Debug)]
pub(crate) enum Access<'a, 't> {
    /// Nothing: it does not need it.
    None,
    Read(View<'t>),
    Write(&'a mut Tx<'t>),
}

impl<'t> Access<'_, 't> {
    /// What the command sees. The table of commands says who needs the store.
    pub(crate) fn view(&self) -> View<'_> {
        match self {
            Self::None => unreachable!("the table says that this command does without the store"),
            Self::Read(view) => *view,
            Self::Write(tx) => tx.view(),
        }
    }

    pub(crate) fn tx(&mut self) -> &mut Tx<'t> {
        match self {
            Self::Write(tx) => tx,
            Self::None | Self::Read(_) => unreachable!("the table says that this command does not write"),
        }
    }

    /// Whether others may wait for this access to end: for the writer's lock, or for the pages that a snapshot keeps.
    pub(crate) fn is_waited_for(&self) -> bool {
        match self {
            Self::None | Self::Read(_) => true,
            Self::Write(tx) => tx.is_waited_for(),
        }
    }

    /// Whether who waits for it may have waited for earlier commands, too.
    pub(crate) fn is_of_group(&self) -> bool {
        match self {
            Self::None | Self::Read(_) => false,
            Self::Write(tx) => tx.is_of_group(),
        }
    }

    /// For handing a call's access on to another call.
    pub(crate) fn again(&mut self) -> Access<'_, 't> {
        match self {
            Self::None => Access::None,
            Self::Read(view) => Access::Read(*view),
            Self::Write(tx) => Access::Write(tx),
        }
    }
}

/// Where a command comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The client's own next command.
    Client,
    /// A blocked command, tried again.
    Blocked,
    /// Within EXEC.
    Exec,
    /// Within a script.
    Script,
}

/// A command under way.
#[derive(Debug)]
pub(crate) struct Call<'a, 't> {
    pub(crate) args: &'a [&'a [u8]],
    pub(crate) access: Access<'a, 't>,
    pub(crate) out: &'a mut Reply,
    pub(crate) client: &'a mut Client,
    pub(crate) door: &'a mut Door,
    pub(crate) space: Space,
    pub(crate) from: From,
}

pub(crate) type Handler = for<'a, 't> fn(&mut Call<'a, 't>) -> Done;

impl Call<'_, '_> {
    pub(crate) fn integer(&self, at: usize) -> Result<i64, Fault> {
        integer(self.args[at])
    }

    pub(crate) fn float(&self, at: usize) -> Result<f64, Fault> {
        numbers::float(self.args[at]).ok_or(NOT_A_FLOAT)
    }

    /// The wall clock, in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        match &self.access {
            Access::None => self.door.now().0,
            Access::Read(view) => view.now().0,
            Access::Write(tx) => tx.now().0,
        }
    }

    /// A key got what a blocked command may wait for.
    pub(crate) fn ready(&mut self, key: &[u8]) {
        self.door.ready(self.space, key);
    }

    /// Tells subscribers of keyspace events.
    pub(crate) fn event(&mut self, class: u16, event: &str, key: &[u8]) {
        if self.door.notify.wants(class) {
            self.door.notify_event(class, event, self.space, key);
        }
    }

    /// Whether a command may wait: not within a transaction or a script.
    pub(crate) fn may_block(&self) -> bool {
        matches!(self.from, From::Client | From::Blocked)
    }
}

pub(crate) fn integer(bytes: &[u8]) -> Result<i64, Fault> {
    numbers::integer(bytes).ok_or(NOT_AN_INTEGER)
}

/// A count that may not be negative; `complaint` otherwise.
pub(crate) fn positive(bytes: &[u8], complaint: &'static str) -> Result<u64, Fault> {
    u64::try_from(numbers::integer(bytes).ok_or(text(complaint))?).map_err(|_| text(complaint))
}

/// Whether an argument is this word, in any case.
pub(crate) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}
