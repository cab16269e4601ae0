//! The peers: PM2 and forever, each with a home of its own.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use skep_tests::{Deadline, process, tool};
use tempfile::TempDir;

use crate::subject::usual;

/// PM2.
#[derive(Debug)]
pub(crate) struct Pm2 {
    home: TempDir,
}

/// forever: a monitor process an app, no daemon.
#[derive(Debug)]
pub(crate) struct Forever {
    home: TempDir,
}

/// A program from npm on the usual Node, silent.
fn program(path: &str, args: &[&str]) -> Command {
    let mut search = usual().bin.into_os_string();
    search.push(":");
    search.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(tool(path));
    command.args(args).env("PATH", search);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Pm2 {
    pub(crate) fn new() -> Result<Pm2> {
        Ok(Pm2 { home: tempfile::tempdir().context("a home for PM2")? })
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = program("pm2/node_modules/.bin/pm2", args);
        command.env("PM2_HOME", self.home.path());
        command
    }

    /// Runs a command, which must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> Result<()> {
        let status = self.command(args).status()?;
        ensure!(status.success(), "pm2 {args:?} failed");
        Ok(())
    }

    /// Its daemon.
    pub(crate) fn daemon(&self) -> Option<u32> {
        std::fs::read_to_string(self.home.path().join("pm2.pid")).ok()?.trim().parse().ok()
    }

    /// The processes of its apps.
    pub(crate) fn workers(&self) -> Vec<u32> {
        self.daemon().map(process::children).unwrap_or_default()
    }

    /// Its file of an app's standard output.
    pub(crate) fn log(&self, app: &str) -> std::path::PathBuf {
        self.home.path().join(format!("logs/{app}-out.log"))
    }
}

impl Drop for Pm2 {
    fn drop(&mut self) {
        drop(self.command(&["kill"]).status());
    }
}

impl Forever {
    pub(crate) fn new() -> Result<Forever> {
        Ok(Forever { home: tempfile::tempdir().context("a home for forever")? })
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = program("forever/node_modules/.bin/forever", args);
        command.env("FOREVER_ROOT", self.home.path());
        command
    }

    /// What all of its processes have in their environment.
    fn mark(&self) -> String {
        format!("FOREVER_ROOT={}", self.home.path().display())
    }

    /// Waits until one app has a process, and answers its monitor and it.
    pub(crate) fn only(&self) -> (u32, u32) {
        Deadline::until("forever has started it", || {
            let all = process::with_environment(&self.mark());
            let monitor = *all
                .iter()
                .find(|pid| process::parent(**pid).is_some_and(|parent| !all.contains(&parent)))?;
            Some((monitor, *process::children(monitor).first()?))
        })
    }
}

impl Drop for Forever {
    fn drop(&mut self) {
        // `stopall` overlooks a monitor that is just starting its app anew.
        for pid in process::with_environment(&self.mark()) {
            drop(process::signal(pid, Signal::KILL));
        }
    }
}
