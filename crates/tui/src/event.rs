//! What comes in and what goes out.

use skep_api::{AppView, DaemonView, JobAct, JobView, LogLine};

/// What happens to the dashboard.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody pressed a key.
    Key(Key),
    /// The terminal has another size: it is drawn again.
    Resized,
    /// The daemon told how things stand.
    Seen(Box<Seen>),
    /// The daemon does not answer, and why.
    Lost(String),
    /// The log of a slot begins anew: what follows are its last lines, then new ones.
    LogBegins(u32),
    /// A line of the log of a slot.
    Log(u32, LogLine),
    /// Something happened on the way to a command's goal.
    Told(String),
    /// A command ended: well, or why not.
    Finished(Result<String, String>),
    /// A signal asks for the end.
    Signal(i32),
    /// The keyboard is gone.
    InputGone,
}

/// One look at the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// All apps.
    pub apps: Vec<AppView>,
    /// All jobs.
    pub jobs: Vec<JobView>,
    /// The daemon.
    pub daemon: DaemonView,
}

/// A key that means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// Enter.
    Enter,
    /// Backspace.
    Backspace,
    /// Escape.
    Esc,
    /// Ctrl-C, which ends it from wherever one is.
    Interrupt,
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// End.
    Quit,
    /// Follow the log of this slot and of no other.
    Follow(Option<u32>),
    /// Give the daemon a command.
    Do(Command),
}

/// A command to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start, stop, restart or reload an app or a worker.
    Act(Verb, String),
    /// Another number of workers for an app.
    Scale(String, u32),
    /// An action that a worker offers.
    Trigger {
        /// The worker's slot.
        slot: String,
        /// The action's name.
        action: String,
    },
    /// Something with a job.
    Job(String, JobAct),
}

/// What can be done to apps and workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Start what does not run.
    Start,
    /// Stop.
    Stop,
    /// Restart in place.
    Restart,
    /// Replace one after the other.
    Reload,
}

impl Verb {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }
}
