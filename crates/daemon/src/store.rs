//! The desired state on disk: what the user asked for, durable before the command is answered.
//!
//! One file, `state.json`, replaced as a whole (write, fsync, rename, fsync of the directory) with the one before
//! kept as `state.json.bak`. A file that cannot be read is set aside, never overwritten, and the one before is
//! taken; a file of a newer skep is refused.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skep_core::{AppId, Desired, Revision, SlotId};
use skep_spec::AppSpec;
use skep_sys::durable::Spare;

/// The permissions of the file.
const MODE: u32 = 0o600;

/// The layout of `state.json` that this version writes; older ones are read.
const VERSION: u32 = 1;

/// Everything that survives a reboot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// What the core wants to be true.
    pub(crate) desired: Desired,
    /// What the user asked for, by app and revision.
    pub(crate) specs: BTreeMap<AppId, BTreeMap<Revision, AppSpec>>,
    /// Slots that were up when the user stopped the daemon: `skep resurrect` starts them.
    #[serde(default)]
    pub(crate) resume: Vec<SlotId>,
}

impl State {
    pub(crate) fn new(
        desired: Desired,
        specs: BTreeMap<AppId, BTreeMap<Revision, AppSpec>>,
        resume: Vec<SlotId>,
    ) -> State {
        State { version: VERSION, desired, specs, resume }
    }
}

/// Why the desired state can be neither read nor written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file was written by a later release.
    #[error(
        "{path} was written by a newer skep (layout {found}, this one knows {VERSION}): \
         upgrade this skep, or set SKEP_HOME to another directory"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// The disk said no.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// "read" or "write".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// What was found at the start.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The state, unless this is a new home.
    pub(crate) state: Option<State>,
    /// What the user should hear about it.
    pub(crate) warnings: Vec<String>,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// `skep run` keeps nothing on disk: its container is its desired state.
    durable: bool,
    /// For the next state, made while nobody waited.
    spare: Option<Spare>,
}

impl Store {
    pub(crate) fn at(home: &Path) -> Store {
        Store { path: home.join("state.json"), durable: true, spare: None }
    }

    pub(crate) fn in_memory(home: &Path) -> Store {
        Store { path: home.join("state.json"), durable: false, spare: None }
    }

    /// Reads the state; a damaged file is set aside and the one before is used.
    pub(crate) fn load(&self) -> Result<Loaded, StoreError> {
        let mut warnings = Vec::new();
        if !self.durable {
            return Ok(Loaded { state: None, warnings });
        }
        for path in [self.path.clone(), self.backup()] {
            let text = match fs::read(&path) {
                Ok(text) => text,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(StoreError::Io { what: "read", path, source }),
            };
            match parse(&text) {
                Ok(state) if state.version > VERSION => {
                    return Err(StoreError::Newer { path, found: state.version });
                }
                Ok(state) => {
                    if !warnings.is_empty() {
                        warnings.push(format!("{}, the state before it, was loaded", path.display()));
                    }
                    return Ok(Loaded { state: Some(state), warnings });
                }
                Err(reason) => {
                    let aside = set_aside(&path).map_err(|source| StoreError::Io {
                        what: "set aside",
                        path: path.clone(),
                        source,
                    })?;
                    warnings.push(format!(
                        "{} is damaged ({reason}); it was kept as {}",
                        path.display(),
                        aside.display()
                    ));
                }
            }
        }
        if !warnings.is_empty() {
            warnings.push(
                "no state is left that can be read: there are no apps until some are started".to_owned(),
            );
        }
        Ok(Loaded { state: None, warnings })
    }

    /// Replaces the state. It is on the disk, but after a power cut the one before may be found until it is settled.
    pub(crate) fn save(&mut self, state: &State) -> Result<(), StoreError> {
        if !self.durable {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(state).expect("plain data with string keys is always JSON");
        self.keep_previous();
        let placed = match self.spare.take() {
            Some(spare) => spare.place(&self.path, &text),
            None => skep_sys::durable::place(&self.path, &text, MODE),
        };
        placed.map_err(|source| self.unwritten(source))
    }

    /// The next state will be saved sooner.
    pub(crate) fn make_ready(&mut self) {
        if self.durable && self.spare.is_none() {
            // Where there can be none it goes without.
            self.spare = self.path.parent().and_then(|home| Spare::within(home, MODE).ok());
        }
    }

    /// On return the state that was saved last survives a power cut.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        if !self.durable {
            return Ok(());
        }
        skep_sys::durable::sync_directory_of(&self.path).map_err(|source| self.unwritten(source))
    }

    fn unwritten(&self, source: io::Error) -> StoreError {
        StoreError::Io { what: "write", path: self.path.clone(), source }
    }

    /// The old file stays reachable as the backup. Failing to keep one is no reason to refuse the new state.
    fn keep_previous(&self) {
        let backup = self.backup();
        if self.path.exists() {
            let _ = fs::remove_file(&backup);
            let _ = fs::hard_link(&self.path, &backup);
        }
    }

    fn backup(&self) -> PathBuf {
        self.path.with_extension("json.bak")
    }
}

fn parse(text: &[u8]) -> Result<State, String> {
    #[derive(Deserialize)]
    struct Layout {
        version: u32,
    }
    let layout: Layout = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    if layout.version > VERSION {
        // Only its number is understood: enough to refuse it by name.
        return Ok(State {
            version: layout.version,
            ..State::new(Desired::default(), BTreeMap::new(), Vec::new())
        });
    }
    serde_json::from_slice(text).map_err(|e| e.to_string())
}

fn set_aside(path: &Path) -> io::Result<PathBuf> {
    for n in 1.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        let aside = PathBuf::from(name);
        if !aside.exists() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    unreachable!("the loop ends at the first free number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(resume: u32) -> State {
        State::new(Desired::default(), BTreeMap::new(), vec![SlotId(resume)])
    }

    fn resumed(store: &Store) -> (Option<u32>, usize) {
        let loaded = store.load().unwrap();
        (loaded.state.map(|s| s.resume[0].0), loaded.warnings.len())
    }

    #[test]
    fn a_new_home_has_no_state_and_what_was_saved_is_loaded() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::at(home.path());
        assert_eq!(resumed(&store), (None, 0));
        store.save(&state(1)).unwrap();
        store.save(&state(2)).unwrap();
        store.settle().unwrap();
        assert_eq!(resumed(&store), (Some(2), 0));
        store.make_ready();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "what is made ready has no name");
        store.save(&state(3)).unwrap();
        assert_eq!(resumed(&store), (Some(3), 0));
        fs::remove_file(home.path().join("state.json")).unwrap();
        assert_eq!(resumed(&store), (Some(2), 0), "the one before is kept");
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_the_one_before_is_used() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::at(home.path());
        store.save(&state(1)).unwrap();
        store.save(&state(2)).unwrap();
        fs::write(home.path().join("state.json"), b"{\"version\": 1, \"desi").unwrap();
        assert_eq!(resumed(&store), (Some(1), 2));
        assert!(home.path().join("state.json.damaged-1").exists());
    }

    #[test]
    fn when_no_file_can_be_read_that_is_said_and_both_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path());
        for name in ["state.json", "state.json.bak"] {
            fs::write(home.path().join(name), b"garbage").unwrap();
        }
        let loaded = store.load().unwrap();
        assert!(loaded.state.is_none());
        assert!(loaded.warnings.last().unwrap().contains("no state is left"), "{:?}", loaded.warnings);
        assert!(home.path().join("state.json.bak.damaged-1").exists());
    }

    #[test]
    fn a_file_of_a_newer_skep_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path());
        fs::write(home.path().join("state.json"), b"{\"version\": 99, \"unknown\": true}").unwrap();
        let error = store.load().unwrap_err().to_string();
        assert!(error.contains("newer skep (layout 99"), "{error}");
        assert!(home.path().join("state.json").exists());
    }

    #[test]
    fn a_home_that_cannot_be_written_is_named() {
        let error = Store::at(Path::new("/proc/none")).save(&state(1)).unwrap_err().to_string();
        assert!(error.starts_with("cannot write /proc/none/state.json"), "{error}");
    }
}
