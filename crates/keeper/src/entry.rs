//! `skep __keeper …`: from arguments and inherited descriptors to a running keeper.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use skep_sys::process;

use crate::home::{Claim, Home};
use crate::run::{Config, log, run};
use crate::{KEEPER_CONTROL_FD, KEEPER_LOCK_FD};

/// Runs the keeper; `args` are those behind the verb. Call it before any thread is started. Returns when the home
/// was shut down.
#[must_use]
pub fn entry(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match enter(args.into_iter().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn enter(args: Vec<OsString>) -> io::Result<()> {
    let mut args = args.into_iter();
    match (args.next(), args.next()) {
        (Some(verb), Some(home)) if verb == "--home" => run(config(home.into())?),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is an inner part of skep and not to be started by hand; use `skep start`",
        )),
    }
}

fn config(home: PathBuf) -> io::Result<Config> {
    let inherited = |number| {
        process::inherited_descriptor(number).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("descriptor {number} was not handed over"))
        })
    };
    let claim = Claim { control: inherited(KEEPER_CONTROL_FD)?, lock: inherited(KEEPER_LOCK_FD)? };
    Ok(Home::at(home).keeper_config(claim))
}
