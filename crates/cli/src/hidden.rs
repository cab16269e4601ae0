//! The verbs that only skep itself uses: `__keeper`, `__daemon`, `__door`, `__serve`, `__listen-pid` and `__relay`.
//!
//! They are told apart before the command line is parsed, so that processes which live for months never touch the
//! pages of the parser.

use crate::verbs::daemon::service;
use crate::verbs::run::relay;
use crate::verbs::serve;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The hidden verb that sets `LISTEN_PID` to its own process id and becomes the program that follows
/// (sd_listen_fds(3): a program takes the sockets only if the variable carries its own id).
const LISTEN_PID_VERB: &str = "__listen-pid";
/// The hidden verb that stands between the daemon and a standard output that cannot be opened by its name.
pub(crate) const RELAY_VERB: &str = "__relay";
/// The hidden first word after which a command line is PM2's, for callers who cannot choose the name that they call the
/// program by: `require('skep/pm2')`.
pub(crate) const PM2_VERB: &str = "__pm2";
/// The hidden verb that serves the shared state in the Redis protocol: the store's folder, and the listening socket as
/// descriptor 3; one on TCP as descriptor 4, if its password is in the environment.
const DOOR_VERB: &str = "__door";
const DOOR_LISTENER_FD: i32 = 3;
const DOOR_PORT_FD: i32 = 4;
const DOOR_PASSWORD: &str = "SKEP_DOOR_PASSWORD";
/// What the shell returns for a program that cannot be executed.
const EXIT_CANNOT_EXECUTE: u8 = 126;

/// Runs a hidden verb; `None` when the arguments are no such thing.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    match args.next()?.to_str()? {
        skep_keeper::KEEPER_VERB => Some(skep_keeper::entry(args)),
        skep_keeper::DAEMON_VERB => Some(daemon(args)),
        LISTEN_PID_VERB => Some(listen_pid(args)),
        DOOR_VERB => Some(door(args)),
        serve::WORKER_VERB => Some(serve::worker(args)),
        RELAY_VERB => Some(if relay::copy().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        _ => None,
    }
}

fn daemon(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let home = match (args.next(), args.next()) {
        (Some(flag), Some(home)) if flag == "--home" => PathBuf::from(home),
        _ => {
            eprintln!("skep: this is an inner part of skep and not to be started by hand; use `skep start`");
            return ExitCode::FAILURE;
        }
    };
    let mut options = skep_daemon::Options { home, run: None, resurrect: false };
    match (args.next(), args.next()) {
        (Some(flag), Some(file)) if flag == "--run" => options.run = Some(PathBuf::from(file)),
        (Some(flag), None) if flag == service::RESURRECT_OPTION => options.resurrect = true,
        _ => {}
    }
    match skep_daemon::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skep: the daemon ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn door(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let unix: Vec<_> = skep_sys::process::inherited_descriptor(DOOR_LISTENER_FD).into_iter().collect();
    let password = std::env::var(DOOR_PASSWORD).ok();
    // Without a password nobody is let in from there.
    let port = password.as_ref().and_then(|_| skep_sys::process::inherited_descriptor(DOOR_PORT_FD));
    let tcp: Vec<_> = port.into_iter().collect();
    let (Some(store), false) = (args.next(), unix.is_empty() && tcp.is_empty()) else {
        eprintln!("skep: this is an inner part of skep and not to be started by hand; use `skep start`");
        return ExitCode::FAILURE;
    };
    skep_sys::process::set_name("skep-door");
    // It belongs to the keeper: one that follows a dead keeper starts a door of its own.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    match skep_door::serve(skep_door::Options { store: store.into(), unix, tcp, password }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skep: the Redis door ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn listen_pid(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = args.next() else {
        eprintln!("skep: {LISTEN_PID_VERB} needs a program to become");
        return ExitCode::from(EXIT_CANNOT_EXECUTE);
    };
    let error = Command::new(&program).args(args).env("LISTEN_PID", std::process::id().to_string()).exec();
    eprintln!("skep: {} cannot be executed: {error}", program.display());
    ExitCode::from(EXIT_CANNOT_EXECUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_verbs_are_not_hidden_ones() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(run(args(&["skep"])).is_none());
        assert!(run(args(&["skep", "start", "__daemon"])).is_none());
    }
}
