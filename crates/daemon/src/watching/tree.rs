//! The directories that are watched, by inotify: new ones are taken in, those that go are forgotten.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use rustix::io::Errno;

use super::rules::Rules;

/// So many directories are watched in all: each costs the kernel about a kilobyte, and a project that has more means
/// something else than it says.
const DIRECTORIES_MAX: usize = 50_000;
/// Bytes read at once: some hundred events.
const BUFFER_BYTES: usize = 16 * 1024;

/// All watched directories of all apps.
pub(crate) struct Tree {
    inotify: Inotify,
    paths: BTreeMap<i32, (WatchDescriptor, PathBuf)>,
    /// Roots that are not there.
    pub(crate) missing: Vec<PathBuf>,
    /// What could not be watched, in a sentence; the first such thing.
    pub(crate) trouble: Option<String>,
}

/// What was noticed.
#[derive(Debug, Default)]
pub(crate) struct Noticed {
    /// Files that changed, came or went.
    pub(crate) files: Vec<PathBuf>,
    /// More happened than the kernel could tell.
    pub(crate) overflow: bool,
}

impl Tree {
    /// Watches all that these rules want.
    ///
    /// # Errors
    /// When the kernel has no inotify instance left.
    pub(crate) fn build(rules: &[&Rules]) -> io::Result<Tree> {
        let inotify = Inotify::init()?;
        let mut tree = Tree { inotify, paths: BTreeMap::new(), missing: Vec::new(), trouble: None };
        for rule in rules {
            for root in rule.roots() {
                // A file is watched through its directory: editors replace it rather than write to it.
                let directory = if root.is_file() { root.parent().unwrap_or(root) } else { root };
                if !directory.is_dir() {
                    tree.missing.push(root.to_owned());
                } else if root.is_file() {
                    tree.add(directory);
                } else {
                    tree.add_all(directory, rules, &mut Vec::new());
                }
            }
        }
        Ok(tree)
    }

    /// A descriptor that becomes readable with the next event.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.inotify.as_fd().try_clone_to_owned()
    }

    /// Reads what has happened. Never blocks.
    pub(crate) fn read(&mut self, rules: &[&Rules]) -> io::Result<Noticed> {
        let mut noticed = Noticed::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let events: Vec<(i32, EventMask, Option<std::ffi::OsString>)> =
                match self.inotify.read_events(&mut buffer) {
                    Ok(events) => events
                        .map(|event| {
                            (event.wd.get_watch_descriptor_id(), event.mask, event.name.map(OsStr::to_owned))
                        })
                        .collect(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(noticed),
                    Err(error) => return Err(error),
                };
            if events.is_empty() {
                return Ok(noticed);
            }
            for (id, mask, name) in events {
                self.take(id, mask, name.as_deref(), rules, &mut noticed);
            }
        }
    }

    fn take(
        &mut self,
        id: i32,
        mask: EventMask,
        name: Option<&OsStr>,
        rules: &[&Rules],
        noticed: &mut Noticed,
    ) {
        if mask.contains(EventMask::Q_OVERFLOW) {
            noticed.overflow = true;
            return;
        }
        if mask.contains(EventMask::IGNORED) {
            if let Some((_, path)) = self.paths.remove(&id)
                && rules
                    .iter()
                    .flat_map(|rule| rule.roots())
                    .any(|root| root == path || (root.parent() == Some(&path) && !path.exists()))
            {
                self.missing.push(path);
            }
            return;
        }
        let Some((_, directory)) = self.paths.get(&id) else { return };
        let Some(name) = name else {
            if mask.contains(EventMask::MOVE_SELF) {
                let directory = directory.clone();
                self.forget(&directory);
            }
            return;
        };
        let path = directory.join(name);
        if !mask.contains(EventMask::ISDIR) {
            noticed.files.push(path);
        } else if mask.intersects(EventMask::MOVED_FROM) {
            self.forget(&path);
        } else if mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
            // Its files may have come before it was watched.
            self.add_all(&path, rules, &mut noticed.files);
        }
    }

    /// Watches a directory and those below it that the rules enter; collects the files that are there.
    fn add_all(&mut self, directory: &Path, rules: &[&Rules], files: &mut Vec<PathBuf>) {
        let mut open = vec![directory.to_owned()];
        while let Some(directory) = open.pop() {
            if !rules.iter().any(|rule| rule.enters(&directory)) || !self.add(&directory) {
                continue;
            }
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                match entry.file_type() {
                    // A link to a directory is not followed: it may lead back here.
                    Ok(kind) if kind.is_dir() => open.push(entry.path()),
                    Ok(_) => files.push(entry.path()),
                    Err(_) => {}
                }
            }
        }
    }

    /// Watches one directory. False when it cannot be.
    fn add(&mut self, directory: &Path) -> bool {
        if self.paths.len() >= DIRECTORIES_MAX {
            self.complain(format!(
                "more than {DIRECTORIES_MAX} directories would have to be watched; name fewer in `watch`, or more in \
                 `ignore_watch`"
            ));
            return false;
        }
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR
            | WatchMask::EXCL_UNLINK;
        match self.inotify.watches().add(directory, mask) {
            Ok(descriptor) => {
                let id = descriptor.get_watch_descriptor_id();
                self.paths.insert(id, (descriptor, directory.to_owned()));
                true
            }
            // It went meanwhile.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                false
            }
            Err(error) => {
                self.complain(not_watched(directory, &error));
                false
            }
        }
    }

    fn complain(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }

    /// A directory was moved away: what the kernel tells of it now would be told under a wrong name.
    fn forget(&mut self, directory: &Path) {
        let gone: Vec<i32> = self
            .paths
            .iter()
            .filter(|(_, (_, path))| path.starts_with(directory))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some((descriptor, _)) = self.paths.get(&id) {
                // IGNORED follows, which removes it here. An error means that it is gone already.
                let _ = self.inotify.watches().remove(descriptor.clone());
            }
        }
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("directories", &self.paths.len()).finish_non_exhaustive()
    }
}

/// Why something is not watched, and what to do about it.
pub(crate) fn not_watched(what: &Path, error: &io::Error) -> String {
    let limit = |machine: &str, namespace: &str, enough: u64| {
        let (name, value) = tighter(machine, namespace);
        let value = value.map(|value| format!(" ({value})")).unwrap_or_default();
        format!(
            "the kernel's limit {name}{value} is reached; raise it (`sysctl {name}={enough}`), or name fewer directories \
             in `watch`"
        )
    };
    let why = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC) => limit("fs.inotify.max_user_watches", "user.max_inotify_watches", 524_288),
        Some(Errno::MFILE) => limit("fs.inotify.max_user_instances", "user.max_inotify_instances", 1_024),
        _ => error.to_string(),
    };
    format!("{} is not watched: {why}", what.display())
}

/// Of two sysctls for one thing the one that holds: a container's user namespace may have a limit of its own, below the
/// machine's.
fn tighter<'a>(machine: &'a str, namespace: &'a str) -> (&'a str, Option<u64>) {
    let value = |name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
        text.trim().parse().ok()
    };
    match (value(machine), value(namespace)) {
        (Some(all), Some(own)) if own < all => (namespace, Some(own)),
        (all, _) => (machine, all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_spec::{AppSpec, Watch};
    use std::fs;

    /// Files that were noticed since the last time, by name.
    fn noticed(tree: &mut Tree, rules: &Rules) -> Vec<String> {
        let mut names: Vec<String> = tree
            .read(&[rules])
            .expect("inotify can be read")
            .files
            .iter()
            .filter(|file| rules.matters(file))
            .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    #[test]
    fn new_directories_are_watched_and_ignored_ones_are_not() {
        let home = tempfile::tempdir().expect("a folder");
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("node_modules/x")).expect("made");
        let cwd = home.path().display().to_string();
        let spec = AppSpec { cwd, watch: Watch::All(true), ..AppSpec::default() };
        let rules = Rules::of(&spec, Vec::new()).expect("rules");
        let mut tree = Tree::build(&[&rules]).expect("a tree");
        assert_eq!(tree.paths.len(), 1, "node_modules is not watched at all");
        fs::create_dir_all(at("a/b")).expect("made");
        fs::write(at("a/b/early.js"), "").expect("written");
        assert_eq!(noticed(&mut tree, &rules), ["early.js"], "there before its directory was watched");
        fs::write(at("a/b/late.js"), "").expect("written");
        fs::write(at("node_modules/x/i.js"), "").expect("written");
        assert_eq!(noticed(&mut tree, &rules), ["late.js"]);
        fs::rename(at("a"), at(".hidden")).expect("moved");
        assert!(noticed(&mut tree, &rules).is_empty());
        fs::write(at(".hidden/b/late.js"), "x").expect("written");
        assert!(noticed(&mut tree, &rules).is_empty());
        assert_eq!(tree.paths.len(), 1);
        drop(home);
        noticed(&mut tree, &rules);
        assert_eq!(tree.missing.len(), 1, "the root is gone, and that is known");
    }

    #[test]
    fn a_limit_of_the_kernel_is_named_with_its_remedy() {
        // Which of two holds is the machine's matter.
        for (error, sysctls) in [
            (28, ["fs.inotify.max_user_watches", "user.max_inotify_watches"]),
            (24, ["fs.inotify.max_user_instances", "user.max_inotify_instances"]),
        ] {
            let text = not_watched(Path::new("/srv"), &io::Error::from_raw_os_error(error));
            let named = sysctls.iter().any(|name| text.contains(&format!("(`sysctl {name}=")));
            assert!(text.contains("/srv") && named, "{text}");
        }
    }
}
