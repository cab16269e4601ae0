//! What follows a command that was told to stay: `--attach` shows what its apps write, `--no-daemon` stands in for the
//! daemon in the foreground, as in a container whose command is `pm2 start app.js --no-daemon`.

use super::say::Trouble;
use super::{Front, talk};
use crate::args::WaitArgs;
use crate::failure::Failure;
use crate::verbs;
use crate::verbs::logs::{Form, Look, Request, show};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;
use skep_sys::signal::SignalFd;
use std::io;

/// How PM2 dates the lines that it shows under `--no-daemon`.
const TIME_OF_DAY: &str = "HH:mm:ss";

/// Signals that end `--no-daemon`, and with it all apps.
const ENDING: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// The foreground of `--no-daemon`, from before the command on.
#[derive(Debug)]
pub(super) struct Foreground {
    signals: SignalFd,
    /// No daemon ran before the command: it ends with this process.
    owns_daemon: bool,
}

impl Foreground {
    /// Must be called before the command, in the program's only thread: a signal that comes while apps start ends them.
    pub(super) async fn take(front: &Front) -> Result<Self, Trouble> {
        let numbers = ENDING.map(Signal::as_raw);
        let signals = SignalFd::new(&numbers)
            .map_err(|error| Trouble::doing("signals cannot be waited for", &error))?;
        let owns_daemon = front.context.look().await?.is_none();
        Ok(Self { signals, owns_daemon })
    }

    /// The command has failed: nobody stays.
    pub(super) async fn give_up(self, front: &Front) -> Result<(), Trouble> {
        let wait = WaitArgs { no_wait: false, timeout: None };
        if self.owns_daemon { Ok(verbs::daemon::stop(&wait, &front.context).await?) } else { Ok(()) }
    }

    /// Shows what all apps write, until a signal comes or the daemon has ended. Then everything is stopped, unless the
    /// daemon had been there before.
    pub(super) async fn stay(self, front: &Front) -> Result<(), Trouble> {
        front.say.line("[--no-daemon] Continue to stream logs");
        let keeper = match front.context.connect_if_running().await? {
            Some(mut client) => client.daemon().await?.keeper_pid,
            None => return Ok(()),
        };
        front.say.line(&format!("[--no-daemon] Exit on target PM2 exit pid={keeper}"));
        let look = Look {
            form: Form::Origin,
            timestamp: Some(TIME_OF_DAY.to_owned()),
            highlight: None,
            color: front.output().color,
        };
        let (tell, told) = tokio::sync::oneshot::channel();
        let Self { signals, owns_daemon } = self;
        std::thread::spawn(move || drop(tell.send(wait(&signals))));
        let shown = tokio::select! {
            shown = show(following(Vec::new(), look), &front.context) => match shown {
                // The daemon has ended: there is nobody left to stand in for.
                Ok(()) | Err(Failure::Unreachable(_)) => Ok(()),
                Err(failure) => Err(failure.into()),
            },
            ended = told => match ended {
                Ok(Err(error)) => Err(Trouble::doing("signals cannot be waited for", &error)),
                Ok(Ok(())) | Err(_) => Ok(()),
            },
        };
        // Also when nobody reads what is shown any more: apps without this process would be nobody's.
        if owns_daemon {
            talk::kill(front).await?;
        }
        shown
    }
}

/// Until one of the signals has come.
fn wait(signals: &SignalFd) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(signals, PollFlags::IN)], None) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// `--attach`: what the apps of the command write from now on, until Ctrl-C.
pub(super) async fn attach(apps: Vec<String>, front: &Front) -> Result<(), Trouble> {
    if apps.is_empty() {
        return Ok(());
    }
    front.say.info(&format!("Log streaming apps: {}, exit with Ctrl-C", apps.join(" ")));
    let look = Look { form: Form::Origin, timestamp: None, highlight: None, color: front.output().color };
    Ok(show(following(apps, look), &front.context).await?)
}

fn following(targets: Vec<String>, look: Look) -> Request {
    Request { targets, stream: None, lines: Some(0), follow: true, since: None, grep: None, look }
}
