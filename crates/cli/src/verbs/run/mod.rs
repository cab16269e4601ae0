//! `run`: this very process becomes the keeper (pid 1 in a container), lives as long as its apps, and ends as they did.
//!
//! What they write goes to standard output and standard error. The exit code is 0 after SIGTERM or SIGINT and a clean
//! stop; the app's own (128 plus the signal that killed it) when it ended for good by itself; 1 when
//! skep gave it up.

mod apps;
mod pause;
pub(crate) mod relay;

pub(crate) use apps::Manner;

use crate::failure::Failure;
use crate::run_args::RunCommand;
use crate::session::{Context, unusable};
use crate::verbs::start::here;
use relay::Relays;
use skep_api::ErrorCode;
use skep_daemon::{RunFile, exit_file};
use skep_keeper::home::{Claim, Home};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The file with the apps, in the home; the daemon reads it.
const RUN_FILE: &str = "run.json";
/// The daemon's option that names it.
const RUN_OPTION: &str = "--run";

/// Runs the apps until they have ended.
pub(crate) fn run(args: &RunCommand, manner: Manner, context: &Context) -> Result<(), Failure> {
    if let Some(delay) = args.manner.delay
        && pause::is_cut_short(delay).map_err(|error| Failure::out_of_resources(&error))?
    {
        return Ok(());
    }
    let apps = apps::read(args, manner, &here(&context.output)?, context)?;
    let (home, claim) = claim(context)?;
    let result = keep(RunFile { apps, stays: args.manner.no_auto_exit }, &home, claim);
    if home != context.home()? {
        // A home of our own goes with us; what cannot be removed is found there by its name.
        drop(fs::remove_dir_all(home.path()));
    }
    match result? {
        0 => Ok(()),
        code => Err(Failure::Told(code)),
    }
}

/// The usual home, so that `skep list` sees the app; or, where a skep lives already, one of our own inside it.
fn claim(context: &Context) -> Result<(Home, Claim), Failure> {
    let home = context.home()?;
    if let Some(claim) = home.claim().map_err(unusable)? {
        return Ok((home, claim));
    }
    let own = Home::at(home.path().join(format!("run-{}", std::process::id())));
    let Some(claim) = own.claim().map_err(unusable)? else {
        let message = format!("{} is in use by another skep", own.path().display());
        return Err(Failure::new(ErrorCode::Conflict, message, "set SKEP_HOME to another directory"));
    };
    let path = own.path().display();
    context.output.say(&format!("skep runs here already; to look at this app use `skep --home {path} list`"));
    Ok((own, claim))
}

/// Becomes the keeper; gives the exit code that the daemon left.
fn keep(run: RunFile, home: &Home, claim: Claim) -> Result<u8, Failure> {
    let failed = |action: &str, path: &Path, error: &io::Error| {
        let message = format!("cannot {action} {}: {error}", path.display());
        Failure::new(ErrorCode::StorageFailed, message, "set SKEP_HOME to a directory that can be written")
    };
    let file = home.path().join(RUN_FILE);
    let text = serde_json::to_vec(&run).map_err(|error| io::Error::other(error.to_string()))?;
    skep_sys::durable::replace(&file, &text, 0o600).map_err(|error| failed("write", &file, &error))?;
    let exit = exit_file(home.path());
    match fs::remove_file(&exit) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(failed("remove the old", &exit, &error));
        }
        Ok(()) | Err(_) => {}
    }
    let relays = Relays::place().map_err(|error| {
        let message = format!("standard output cannot be relayed: {error}");
        Failure::new(ErrorCode::Internal, message, "let it be a pipe: `skep run … | cat`")
    })?;
    let mut config = home.keeper_config(claim);
    config.daemon_argv.push(RUN_OPTION.as_bytes().to_vec());
    config.daemon_argv.push(file.as_os_str().as_bytes().to_vec());
    let kept = skep_keeper::run(config);
    relays.finish();
    kept.map_err(|error| {
        let message = format!("the keeper cannot start: {error}");
        Failure::new(ErrorCode::Internal, message, "`ulimit -a` shows what this process may use")
    })?;
    let code = left_code(&exit);
    // The app's environment has no business on the disk any longer.
    drop(fs::remove_file(&file));
    drop(fs::remove_file(&exit));
    Ok(code)
}

/// The exit code in the file. There is none when the stop was ordered by a command (`skep kill`), which is a clean
/// end; a daemon that could not write it has said so on standard error.
fn left_code(exit: &Path) -> u8 {
    match fs::read_to_string(exit) {
        Ok(text) => text.trim().parse().unwrap_or(crate::failure::exit::FAILURE),
        Err(error) if error.kind() == ErrorKind::NotFound => crate::failure::exit::OK,
        Err(_) => crate::failure::exit::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_exit_code_is_the_one_that_was_left() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("run.exit");
        assert_eq!(left_code(&file), 0, "the stop was ordered by a command");
        fs::write(&file, "").unwrap();
        assert_eq!(left_code(&file), 1, "the disk is full");
        fs::write(&file, "137\n").unwrap();
        assert_eq!(left_code(&file), 137);
    }
}
