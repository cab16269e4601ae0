//! `skep __keeper …`: from arguments and inherited descriptors to a running keeper.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use skep_sys::process;

use crate::home::{Claim, Home};
use crate::run::{CHECK_ANSWER, Cause, Config, Heritage, check, inherit, log, resume, run};
use crate::{KEEPER_CONTROL_FD, KEEPER_LINK_FD, KEEPER_LOCK_FD};

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
    let words: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        ["--home", _] => run(config(PathBuf::from(&args[1]))?),
        ["--home", _, "--heir", generation, version, soft, hard] => {
            let heritage = Heritage {
                link: inherited(KEEPER_LINK_FD)?,
                version: number(version)?,
                generation: number(generation)?,
                descriptor_limit: (number(soft)?, number(hard)?),
            };
            inherit(config(PathBuf::from(&args[1]))?, heritage)
        }
        ["--check-state", state] => {
            check(number(state)?)?;
            io::stdout().write_all(CHECK_ANSWER.as_bytes())
        }
        ["--resume", state, "--previous", previous] => {
            resume(number(state)?, Cause::Upgrade { previous: number(previous)? })
        }
        ["--resume", state, "--because", reason] => {
            resume(number(state)?, Cause::RolledBack { reason: (*reason).to_owned() })
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is an inner part of skep and not to be started by hand; use `skep start`",
        )),
    }
}

fn number<T: FromStr>(text: &str) -> io::Result<T> {
    let error = || io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?} is no number"));
    text.parse().map_err(|_| error())
}

fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    process::inherited_descriptor(number).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("descriptor {number} was not handed over"))
    })
}

fn config(home: PathBuf) -> io::Result<Config> {
    let claim = Claim { control: inherited(KEEPER_CONTROL_FD)?, lock: inherited(KEEPER_LOCK_FD)? };
    Ok(Home::at(home).keeper_config(claim))
}
