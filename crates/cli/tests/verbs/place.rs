//! A home of its own for each test, stopped at its end.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const SKEP: &str = env!("CARGO_BIN_EXE_skep");

/// A directory with scripts, and a skep home in it.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a shell script.
    pub(crate) fn script(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a script can be written");
    }

    /// The command `skep …`, to be run in the directory.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(SKEP);
        command.args(line.split_whitespace()).current_dir(self.directory.path());
        command.env("SKEP_HOME", self.path("home")).env_remove("CLICOLOR_FORCE").stdin(Stdio::null());
        command
    }

    /// Runs `skep …` to its end.
    pub(crate) fn skep(&self, line: &str) -> Said {
        said(self.command(line).output().expect("skep can be run"))
    }

    /// As [`Place::skep`], and it must succeed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let said = self.skep(line);
        assert_eq!(said.code, 0, "skep {line}: {said:?}");
        said.out
    }

    /// Starts `skep …` with its output to be read.
    pub(crate) fn spawn(&self, line: &str) -> Child {
        self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skep can be run")
    }
}

pub(crate) fn said(output: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).expect("skep speaks UTF-8");
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.command("kill -s").output());
    }
}
