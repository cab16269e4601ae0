//! The daemon as a process: its descriptors, its tasks, its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use skep_core::{Event, Now};
use skep_keeper::wire::Request;
use skep_keeper::{DAEMON_CONTROL_FD, DAEMON_LINK_FD, Link, fault};
use skep_sys::signal::SignalFd;
use tokio::task::LocalSet;

use crate::boot::{Setting, boot};
use crate::driver::{Driver, Shared, moment, now};
use crate::patrol::until;
use crate::replies::SIGUSR2;
use crate::{cron, keeper, memory, patrol, rest, server, strays, succession, watching};

/// Sent to a process that writes beyond `RLIMIT_FSIZE` (signal(7); the same number on every Linux but MIPS).
const SIGXFSZ: i32 = 25;

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// The home directory.
    pub home: PathBuf,
    /// The apps of `skep run`, as a [`crate::RunFile`]: the daemon then ends with them and keeps nothing on disk.
    pub run: Option<PathBuf>,
    /// What ran when skep was last stopped is started at once: as a service of the machine.
    pub resurrect: bool,
}

/// Runs the daemon until the keeper closes the link or everything has been stopped.
///
/// # Errors
/// When a descriptor that the keeper should have handed over is missing, or the system has none left.
pub fn run(options: Options) -> io::Result<()> {
    let missing = |what| {
        io::Error::other(format!("{what} was not handed over; `skep __daemon` is the keeper's to start"))
    };
    let link = skep_sys::process::inherited_descriptor(DAEMON_LINK_FD)
        .ok_or_else(|| missing("the keeper's link"))?;
    let control = skep_sys::process::inherited_descriptor(DAEMON_CONTROL_FD)
        .ok_or_else(|| missing("the control socket"))?;
    skep_sys::process::set_name("skep-daemon");
    skep_sys::process::return_large_blocks();
    // Workers that are busy, or starting, must not keep those waiting who ask how they are. No harm where it is refused.
    let _ = skep_sys::sched::ask_for_short_turns();
    // A limit on file size is then an error of the write, which the logs deal with, and not the daemon's end.
    let signals = SignalFd::new(&[SIGXFSZ, SIGUSR2])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let tasks = LocalSet::new();
    let link_of_heir = tasks.block_on(&runtime, serve(options, Link::new(link), control, signals))?;
    // Its end tells another keeper that nobody works here any more.
    drop((tasks, runtime));
    drop(link_of_heir);
    Ok(())
}

async fn serve(
    options: Options,
    mut link: Link,
    control: OwnedFd,
    signals: SignalFd,
) -> io::Result<Option<OwnedFd>> {
    fault::point("daemon", "start");
    let inventory = keeper::greet(&mut link).await.map_err(io::Error::other)?;
    fault::point("daemon", "inventory");
    let keeper = succession::keeper_handle(inventory.keeper_pid);
    let for_heir = control.try_clone()?;
    let is_first = inventory.generation == 1;
    let strays =
        if is_first && options.run.is_none() { strays::end_all(&options.home).await } else { Vec::new() };
    let setting =
        Setting { home: options.home, skep: std::env::current_exe()?, foreground: options.run.is_some() };
    let driver = boot(setting, link, inventory)?;
    for stray in strays {
        let message = format!("{stray}, left behind by a skep that was killed, was ended");
        crate::diary::note(format_args!("{message}"));
        driver.borrow_mut().tell(skep_api::EventKind::Other, None, message);
    }
    if is_first && options.run.is_none() {
        driver.borrow_mut().make_files_ready();
    }
    let (end, replaced) = (Rc::clone(&driver.borrow().end), Rc::clone(&driver.borrow().replaced));
    crate::metrics::listen::begin(&driver);
    tokio::task::spawn_local(deadlines(Rc::clone(&driver)));
    tokio::task::spawn_local(log_work(Rc::clone(&driver)));
    tokio::task::spawn_local(own_signals(Rc::clone(&driver), signals));
    tokio::task::spawn_local(patrol::serve(Rc::clone(&driver)));
    tokio::task::spawn_local(cron::serve(Rc::clone(&driver)));
    tokio::task::spawn_local(memory::serve(Rc::clone(&driver)));
    tokio::task::spawn_local(watching::serve(Rc::clone(&driver)));
    tokio::task::spawn_local(crate::jobs::serve(Rc::clone(&driver)));
    tokio::task::spawn_local(server::serve(Rc::clone(&driver), control));
    let rest = Rc::clone(&driver.borrow().rest);
    rest.disturb(); // The start was work.
    tokio::task::spawn_local(rest::serve(rest));
    if options.resurrect && is_first {
        driver.borrow_mut().resurrect_at_boot();
    }
    if let Some(file) = &options.run {
        let mut driver = driver.borrow_mut();
        driver.begun = driver.begin_foreground(file);
        driver.check_foreground();
    }
    tokio::select! {
        // The keeper is gone, or gave this daemon up: another may be in charge already.
        reason = keeper::serve(Rc::clone(&driver)) => {
            succession::after(reason, &driver, keeper, for_heir.as_fd()).await.map(Some)
        }
        () = end.notified() => finish(&driver).await.map(|()| None),
        () = replaced.notified() => {
            let_others_finish().await;
            Ok(None)
        }
    }
}

/// SIGUSR2 to the daemon itself is understood as well as to the keeper.
async fn own_signals(driver: Shared, signals: SignalFd) -> io::Result<()> {
    let ready = crate::watch::watch(signals.as_fd().try_clone_to_owned()?, tokio::io::Interest::READABLE)?;
    loop {
        let mut guard = ready.readable().await?;
        for signal in signals.read()? {
            if signal == SIGUSR2 {
                driver.borrow_mut().reopen_logs();
            }
        }
        guard.clear_ready();
    }
}

/// Clients that wait for this very moment get their last line first: a few rounds of the loop write it.
async fn let_others_finish() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// Every worker has ended: what they wrote is in its files, the keeper may end too.
async fn finish(driver: &Shared) -> io::Result<()> {
    let_others_finish().await;
    crate::hosts::leave(driver).await;
    let mut driver = driver.borrow_mut();
    driver.save_shared_state();
    driver.census.close();
    driver.ask(&Request::Shutdown);
    driver.link.flush().map_err(io::Error::other)
}

/// A notice of the log files, for people.
fn words(notice: &skep_logs::Notice) -> String {
    use skep_logs::Notice;
    match notice {
        Notice::Blocked { path, reason } => {
            format!("{} cannot be written ({reason}); lines wait in their pipes", path.display())
        }
        Notice::Dropping { path } => format!("{} still cannot be written; lines are dropped", path.display()),
        Notice::Resumed { path, dropped_bytes } => {
            format!("{} is written again; {dropped_bytes} bytes were dropped", path.display())
        }
        Notice::Housekeeping { path, reason } => {
            format!("{} could not be tidied up: {reason}", path.display())
        }
        Notice::Rotated { path, to } => format!("{} was set aside as {}", path.display(), to.display()),
    }
}

/// Ticks when the core wants to.
async fn deadlines(driver: Shared) {
    let wake = Rc::clone(&driver.borrow().deadline_wake);
    loop {
        let next = driver.borrow().fleet.next_deadline();
        tokio::select! {
            () = until(next) => {
                if next.is_some_and(|next| next <= now()) {
                    driver.borrow_mut().handle(Event::Tick);
                }
            }
            () = wake.notified() => {}
        }
    }
}

/// Does what log files need beside new lines: retries, rotation by time, compression.
async fn log_work(driver: Shared) {
    let wake = Rc::clone(&driver.borrow().capture_wake);
    loop {
        let next = driver.borrow().capture.next_deadline().map(Now);
        tokio::select! {
            () = until(next) => driver.borrow_mut().capture.tick(moment()),
            () = wake.notified() => {}
        }
        driver.borrow_mut().log_news();
    }
}

impl Driver {
    fn log_news(&mut self) {
        while let Some(event) = self.capture.next_event() {
            match event {
                skep_logs::Event::Ended(stream) => self.written(stream),
                skep_logs::Event::Notice(notice) => {
                    let message = words(&notice);
                    crate::diary::note(format_args!("{message}"));
                    self.tell(skep_api::EventKind::Other, None, message);
                }
            }
        }
    }

    /// Handles what came up outside of an event.
    pub(crate) fn settle(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            self.handle(event);
        }
    }
}
