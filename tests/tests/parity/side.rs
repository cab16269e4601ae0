//! PM2 and skep, each in a place of its own.

use std::path::PathBuf;

use serde_json::{Map, Value};
use skep_tests::{Deadline, Outcome, Skep, finish, fixture, skep_binary, tool};

/// One of the two.
pub(crate) struct Side {
    pub(crate) place: Skep,
    pub(crate) program: PathBuf,
}

impl Side {
    pub(crate) fn pm2() -> Self {
        Self { place: Skep::new(), program: tool("pm2/node_modules/.bin/pm2") }
    }

    pub(crate) fn skep() -> Self {
        let place = Skep::new();
        let program = place.root().join("pm2");
        std::os::unix::fs::symlink(skep_binary(), &program).expect("the folder is the test's own");
        Self { place, program }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.place.root().join("pm2-home")
    }

    pub(crate) fn facts(&self) -> PathBuf {
        self.place.root().join("facts")
    }

    pub(crate) fn run(&self, line: &str) -> Outcome {
        let mut command = self.place.program(&self.program, words(line));
        command
            .env_remove("SKEP_HOME")
            .env_remove("NO_COLOR")
            .env("PM2_HOME", self.home())
            .env("PM2_DISABLE_VERSION_CHECK", "1")
            .env("FACTS", self.facts());
        finish(command)
    }

    pub(crate) fn processes(&self) -> Vec<Map<String, Value>> {
        let text = self.run("jlist").ok();
        // The first PM2 command of a home prints a banner before its answer.
        let json = text.lines().find(|line| line.starts_with('[')).expect("jlist prints a list");
        serde_json::from_str(json).expect("jlist prints JSON")
    }

    /// What a worker saw of its environment.
    pub(crate) fn facts_of(&self, name: &str) -> Value {
        let file = self.facts().join(format!("{name}.json"));
        let text = Deadline::until(&format!("{} is written", file.display()), || std::fs::read(&file).ok());
        serde_json::from_slice(&text).expect("the fixture writes JSON")
    }

    /// Text without colours, tables and what tells the two places apart.
    pub(crate) fn plain(&self, text: &str) -> Vec<String> {
        let home = self.home().display().to_string();
        let root = self.place.root().display().to_string();
        without_colors(text)
            .replace(&home, "HOME")
            .replace(&root, "ROOT")
            .lines()
            .map(|line| line.trim_end().to_owned())
            .filter(|line| !line.is_empty() && !line.starts_with(['┌', '├', '└', '│']))
            .filter(|line| !line.starts_with("host metrics") && !line.contains("PM2 daemon with pm2_home"))
            .filter(|line| !line.contains("PM2 Successfully daemonized"))
            .collect()
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace()
        .map(|word| match word.strip_prefix('@') {
            Some(name) => fixture(name).display().to_string(),
            None => word.to_owned(),
        })
        .collect()
}

fn without_colors(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |all, piece| all + piece.split_once('m').map_or("", |(_, rest)| rest))
}

/// The same command for both: the exit codes are the same, and so are the texts.
pub(crate) fn same(pm2: &Side, skep: &Side, line: &str) {
    let (theirs, ours) = same_code(pm2, skep, line);
    // Instances are done in any order, and are told when they are.
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let (printed, expected) = (sorted(skep.plain(&ours.stdout)), sorted(pm2.plain(&theirs.stdout)));
    assert_eq!(printed, expected, "`pm2 {line}` prints the same");
    assert_eq!(skep.plain(&ours.stderr), pm2.plain(&theirs.stderr), "`pm2 {line}` complains the same");
}

pub(crate) fn same_code(pm2: &Side, skep: &Side, line: &str) -> (Outcome, Outcome) {
    let (theirs, ours) = (pm2.run(line), skep.run(line));
    assert_eq!(ours.code, theirs.code, "`pm2 {line}`: {theirs:?} and {ours:?}");
    (theirs, ours)
}
