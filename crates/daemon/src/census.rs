//! Who runs, on disk: so that workers which outlive the keeper *and* the daemon are found again.
//!
//! One line a worker, appended when it was started; who has ended meanwhile is told by pid and start time. It says
//! nothing about another boot or another process namespace. Not synced: a SIGKILL loses no page, and a power cut loses
//! the workers too. While the keeper lives nobody reads it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skep_core::WorkerId;

use crate::driver::Driver;
use crate::worker::Worker;

/// So many lines may speak of the dead before the file is written anew.
const LINES_OF_THE_DEAD_MAX: usize = 512;

/// A worker's process, and how it is ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) worker: WorkerId,
    pub(crate) app: String,
    pub(crate) pid: i32,
    /// In clock ticks since boot: with the pid, its identity.
    pub(crate) start_time: u64,
    pub(crate) kill_tree: bool,
    pub(crate) stop_signal: i32,
    pub(crate) grace_ms: u64,
}

/// The world that the pids belong to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct World {
    boot: String,
    namespace: PathBuf,
    /// What ran there were the apps of a `skep run`, not those of the home.
    #[serde(default)]
    foreground: bool,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Census {
    path: PathBuf,
    /// The file was written by this daemon, so that lines can be appended.
    begun: bool,
    lines: usize,
    foreground: bool,
}

/// Whether keeper and daemon of this home were killed, both, since the machine was started: what ran there is to run on. Means
/// nothing while a keeper lives; one that was stopped leaves no such trace, nor does one whose apps never had a worker.
#[must_use]
pub fn was_killed(home: &Path) -> bool {
    let census = Census::at(home, false);
    census.world().is_some_and(|world| !world.foreground) && !census.read().is_empty()
}

impl World {
    fn ours(foreground: bool) -> io::Result<World> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(World { boot, namespace: std::fs::read_link("/proc/self/ns/pid")?, foreground })
    }
}

impl Census {
    pub(crate) fn at(home: &Path, foreground: bool) -> Census {
        Census { path: home.join("workers"), begun: false, lines: 0, foreground }
    }

    /// The file's first line, if it speaks of this boot.
    fn world(&self) -> Option<World> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let world: World = serde_json::from_str(text.lines().next()?).ok()?;
        (Some(&world) == World::ours(world.foreground).ok().as_ref()).then_some(world)
    }

    /// Whom the file names, if it speaks of this boot. A line that was cut off is the last one and is left out.
    pub(crate) fn read(&self) -> Vec<Entry> {
        let Ok(text) = std::fs::read_to_string(&self.path) else { return Vec::new() };
        if self.world().is_none() {
            return Vec::new();
        }
        text.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Writes the file anew.
    fn replace(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut text = serde_json::to_string(&World::ours(self.foreground)?)? + "\n";
        for entry in entries {
            text += &(serde_json::to_string(entry)? + "\n");
        }
        let beside = self.path.with_extension("new");
        open(OpenOptions::new().create(true).truncate(true).write(true), &beside)?
            .write_all(text.as_bytes())?;
        std::fs::rename(&beside, &self.path)?;
        self.begun = true;
        self.lines = entries.len();
        Ok(())
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let line = serde_json::to_string(entry)? + "\n";
        self.lines += 1;
        open(OpenOptions::new().append(true), &self.path)?.write_all(line.as_bytes())
    }

    /// Nobody runs any more.
    pub(crate) fn close(&self) {
        // If it stays, whom it names has ended: that is seen by the next one.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.mode(0o600).open(path)
}

impl Worker {
    /// What is to be known of its process; `None` while it has none.
    pub(crate) fn entry(&self) -> Option<Entry> {
        let pid = self.pid.filter(|_| !self.exited)?;
        Some(Entry {
            worker: self.id(),
            app: self.spec.name.clone(),
            pid: i32::try_from(pid).ok()?,
            start_time: self.start_time,
            kill_tree: self.spec.treekill,
            stop_signal: self.spec.kill_signal.number(),
            grace_ms: self.spec.kill_timeout.0,
        })
    }
}

impl Driver {
    /// Writes down everybody who runs.
    pub(crate) fn take_census(&mut self) {
        let entries: Vec<Entry> = self.workers.values().filter_map(Worker::entry).collect();
        if let Err(error) = self.census.replace(&entries) {
            crate::diary::note(format_args!("cannot write down who runs: {error}"));
        }
    }

    /// Writes down that a worker was started.
    pub(crate) fn count_in(&mut self, id: WorkerId) {
        if !self.census.begun || self.census.lines > self.workers.len() + LINES_OF_THE_DEAD_MAX {
            return self.take_census();
        }
        let Some(entry) = self.workers.get(&id).and_then(Worker::entry) else { return };
        if self.census.append(&entry).is_err() {
            // Somebody has removed it: it is written anew, or it says why not.
            self.take_census();
        }
    }

    /// Begins the file, so that the first worker is but a line more.
    pub(crate) fn begin_census(&mut self) {
        if !self.census.begun {
            self.take_census();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(worker: u32) -> Entry {
        Entry {
            worker: WorkerId(worker),
            app: "web".to_owned(),
            pid: 7,
            start_time: 8,
            kill_tree: true,
            stop_signal: 15,
            grace_ms: 9,
        }
    }

    #[test]
    fn who_was_written_down_is_read_back_but_for_a_line_that_was_cut_off() {
        let home = tempfile::tempdir().unwrap();
        let mut census = Census::at(home.path(), false);
        assert_eq!(census.read(), []);
        census.replace(&[entry(1)]).unwrap();
        census.append(&entry(2)).unwrap();
        let whole = std::fs::read(&census.path).unwrap();
        std::fs::write(&census.path, [&whole[..], b"{\"worker\":3,\"ap"].concat()).unwrap();
        assert_eq!(census.read(), [entry(1), entry(2)]);
        census.close();
        assert_eq!(census.read(), []);
    }

    #[test]
    fn who_was_killed_is_to_be_started_again_but_not_what_ran_in_the_foreground() {
        let home = tempfile::tempdir().unwrap();
        assert!(!was_killed(home.path()));
        for foreground in [false, true] {
            let mut census = Census::at(home.path(), foreground);
            census.replace(&[]).unwrap();
            assert!(!was_killed(home.path()), "nobody ran");
            census.append(&entry(1)).unwrap();
            assert_eq!((was_killed(home.path()), census.read().len()), (!foreground, 1));
            census.close();
            assert!(!was_killed(home.path()), "it was stopped");
        }
    }

    #[test]
    fn another_boot_is_another_world() {
        let home = tempfile::tempdir().unwrap();
        let mut census = Census::at(home.path(), false);
        census.replace(&[entry(1)]).unwrap();
        let text = std::fs::read_to_string(&census.path).unwrap();
        let boot = World::ours(false).unwrap().boot;
        std::fs::write(&census.path, text.replace(&boot, "another")).unwrap();
        assert_eq!(census.read(), []);
    }
}
