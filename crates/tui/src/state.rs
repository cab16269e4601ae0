//! Everything that the dashboard knows.

use skep_api::{AppView, DaemonView, JobView, SlotView, Status};

use crate::event::{Command, Verb};
use crate::filter::Filter;
use crate::history::History;
use crate::log::Log;

/// What is shown below the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pane {
    /// The log of the selected worker.
    #[default]
    Log,
    /// What the selected worker tells of itself, and its actions.
    Worker,
    /// All jobs.
    Jobs,
    /// How the figures of the selected worker went.
    Graphs,
}

impl Pane {
    pub(crate) const ALL: [Self; 4] = [Self::Log, Self::Worker, Self::Jobs, Self::Graphs];

    /// The next one, or the one before.
    pub(crate) fn step(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|pane| *pane == self).unwrap_or_default();
        Self::ALL[(at as isize + by).rem_euclid(Self::ALL.len() as isize) as usize]
    }
}

/// What lies over everything and takes the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Dialog {
    /// Nothing.
    #[default]
    None,
    /// The keys.
    Help,
    /// Shall it be done? To all of the app, or to one worker of it.
    Confirm { question: String, all: Command, one: Option<(String, Command)> },
    /// How many workers shall it have?
    Scale { app: String, now: u32, wanted: u32 },
}

/// Whether the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Link {
    /// Nothing was heard yet.
    #[default]
    Waiting,
    /// It does.
    Up,
    /// It does not; what is shown is as it was.
    Lost(String),
}

/// The last line of the screen, when there is something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) is_trouble: bool,
}

/// Everything that the dashboard knows.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) link: Link,
    pub(crate) unix_ms: u64,
    pub(crate) apps: Vec<AppView>,
    pub(crate) jobs: Vec<JobView>,
    pub(crate) daemon: Option<DaemonView>,
    /// The selected slot, and where it stood: when it is gone, its neighbour is selected.
    pub(crate) selected: Option<u32>,
    pub(crate) cursor: usize,
    pub(crate) pane: Pane,
    pub(crate) filter: Filter,
    pub(crate) history: History,
    pub(crate) log: Log,
    /// The selected action of the selected worker, and the selected job.
    pub(crate) action: usize,
    pub(crate) job: usize,
    pub(crate) dialog: Dialog,
    pub(crate) message: Option<Message>,
    /// Commands under way.
    pub(crate) under_way: usize,
}

impl State {
    /// All workers' places, app by app.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&AppView, &SlotView)> {
        self.apps.iter().flat_map(|app| app.slots.iter().map(move |slot| (app, slot)))
    }

    /// Those that are shown.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&AppView, &SlotView)> {
        self.all().filter(|(app, slot)| self.filter.shows(app, slot))
    }

    /// The selected one.
    pub(crate) fn row(&self) -> Option<(&AppView, &SlotView)> {
        self.rows().find(|(_, slot)| Some(slot.id) == self.selected)
    }

    /// The selected job.
    pub(crate) fn selected_job(&self) -> Option<&JobView> {
        self.jobs.get(self.job)
    }

    /// A worker's id as a target, unless an app or a namespace goes by the same word and would be meant instead.
    pub(crate) fn target_of(&self, slot: u32) -> Option<String> {
        let word = slot.to_string();
        let taken = self.apps.iter().any(|app| app.name == word || app.namespace == word);
        (!taken).then_some(word)
    }

    /// Whether something of the app runs.
    pub(crate) fn runs(app: &AppView) -> bool {
        app.slots.iter().any(|slot| !matches!(slot.status, Status::Stopped | Status::Errored))
    }

    /// Says something in the last line.
    pub(crate) fn say(&mut self, text: impl Into<String>, is_trouble: bool) {
        self.message = Some(Message { text: crate::plain::plain(&text.into()), is_trouble });
    }
}

/// The question before a command to an app.
pub(crate) fn question(verb: Verb, app: &AppView) -> String {
    let workers = crate::human::count(app.slots.len(), "worker");
    match verb {
        Verb::Start => format!("Start {}?", app.name),
        Verb::Stop => format!("Stop {}, {workers}?", app.name),
        Verb::Restart => format!("Restart {}, {workers} at once?", app.name),
        Verb::Reload => format!("Reload {}, {workers} one after the other?", app.name),
    }
}
