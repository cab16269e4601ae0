//! Lines on a host: over ssh, or here when the host is `localhost`.

use super::Manner;
use super::target::Host;
use std::fmt;
use std::fs::File;
use std::io;
use std::process::{Command, ExitStatus, Stdio};

/// How a line ended that did not succeed.
#[derive(Debug)]
pub(super) enum Ended {
    Code(i32),
    Signal,
    NotStarted(io::Error),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal => f.write_str("ended by a signal"),
            Self::NotStarted(error) => write!(f, "not started: {error}"),
        }
    }
}

fn judge(status: io::Result<ExitStatus>) -> Result<(), Ended> {
    let status = status.map_err(Ended::NotStarted)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Ended::Code(code)),
        None => Err(Ended::Signal),
    }
}

/// A line of this machine's own, as PM2 runs it: by bash.
fn bash(line: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg("-c").arg(line);
    command
}

/// Runs a line here, whatever the host.
pub(super) fn here(line: &str) -> Result<(), Ended> {
    judge(bash(line).status())
}

/// Runs lines on a host.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) host: &'a Host,
    pub(super) manner: Manner,
}

impl Runner<'_> {
    fn command(&self, line: &str) -> Command {
        if self.host.is_here() {
            return bash(line);
        }
        let mut command = Command::new("ssh");
        for option in &self.host.options {
            command.arg("-o").arg(option);
        }
        if self.host.needs_tty {
            command.arg("-t");
        }
        if self.host.forward_agent {
            command.arg("-A");
        }
        if let Some(port) = &self.host.port {
            command.arg("-p").arg(port);
        }
        if let Some(key) = &self.host.key {
            command.arg("-i").arg(key);
        }
        command.arg(self.host.destination()).arg(line);
        command
    }

    pub(super) fn run(&self, line: &str) -> Result<(), Ended> {
        judge(self.command(line).status())
    }

    /// What a line prints.
    pub(super) fn ask(&self, line: &str) -> Result<String, Ended> {
        let output = self.command(line).stderr(Stdio::inherit()).output().map_err(Ended::NotStarted)?;
        judge(Ok(output.status))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a script that lies here, there; what follows its name are its arguments.
    pub(super) fn run_file(&self, line: &str) -> Result<(), Ended> {
        let (name, args) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let script = File::open(name).map_err(Ended::NotStarted)?;
        judge(self.command(&format!("bash -s -- {args}")).stdin(script).status())
    }
}
