//! The edge: what the machine must not know. One task draws; others wait for the daemon, the keyboard and signals.

mod input;
mod link;
mod terminal;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::event::{Effect, Event};
use crate::state::State;
use crate::view::Theme;
use terminal::Screen;

/// Events that wait to be taken in. Whoever has more (a log that floods) waits.
const EVENTS_WAITING: usize = 1_024;

/// A way to connect to the daemon, or why there is none.
pub type Connect = Arc<dyn Fn() -> Result<UnixStream, String> + Send + Sync>;

/// How to show it.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Colours are wanted.
    pub color: bool,
}

/// Why it could not begin, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum MonitError {
    /// Not a terminal.
    #[error("`skep monit` draws on a terminal, and {0} is none")]
    NoTerminal(&'static str),
    /// A terminal that cannot move its cursor.
    #[error("`skep monit` cannot draw on a terminal that calls itself dumb (TERM=dumb)")]
    Dumb,
    /// The terminal does not do as it is told.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Somebody quit.
    Quit,
    /// By this signal.
    Signal(i32),
}

/// Shows the dashboard until somebody quits. Must be called within a tokio runtime.
///
/// # Errors
/// When there is no terminal, or none that can be drawn on.
pub async fn run(options: Options, connect: Connect) -> Result<End, MonitError> {
    terminal::check()?;
    // Before there is another thread: they inherit what is blocked.
    let signals = input::signals()?;
    let (events, mut coming) = mpsc::channel(EVENTS_WAITING);
    let mut screen = Screen::open()?;
    input::begin(signals, events.clone());
    let mut hands = Hands::new(connect, events);
    let theme = Theme { color: options.color };
    let mut state = State::default();
    let mut batch = Vec::new();
    loop {
        screen.draw(&state, &theme)?;
        if coming.recv_many(&mut batch, EVENTS_WAITING).await == 0 {
            return Ok(End::Quit);
        }
        for event in batch.drain(..) {
            let signal = if let Event::Signal(number) = &event { Some(*number) } else { None };
            for effect in state.handle(event) {
                if effect == Effect::Quit {
                    return Ok(signal.map_or(End::Quit, End::Signal));
                }
                hands.carry_out(effect);
            }
        }
    }
}

/// What carries effects out.
struct Hands {
    connect: Connect,
    events: mpsc::Sender<Event>,
    /// Look at the fleet now.
    look: Arc<Notify>,
    watching: JoinHandle<()>,
    following: Option<JoinHandle<()>>,
}

impl Hands {
    fn new(connect: Connect, events: mpsc::Sender<Event>) -> Self {
        let look = Arc::new(Notify::new());
        let watching = tokio::spawn(link::watch(Arc::clone(&connect), events.clone(), Arc::clone(&look)));
        Self { connect, events, look, watching, following: None }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Quit => {}
            Effect::Follow(slot) => {
                if let Some(task) = self.following.take() {
                    task.abort();
                }
                self.following = slot.map(|slot| {
                    tokio::spawn(link::follow(Arc::clone(&self.connect), self.events.clone(), slot))
                });
            }
            Effect::Do(command) => {
                let (connect, events) = (Arc::clone(&self.connect), self.events.clone());
                let look = Arc::clone(&self.look);
                tokio::spawn(async move {
                    let result = link::give(&connect, &events, &command).await;
                    // The dashboard may have ended meanwhile.
                    let _ = events.send(Event::Finished(result)).await;
                    look.notify_one();
                });
            }
        }
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.watching.abort();
        if let Some(task) = self.following.take() {
            task.abort();
        }
    }
}
