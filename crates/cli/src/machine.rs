//! The machine that resolving asks about: real files, the real `PATH`.

use rustix::fs::{Access, access};
use skep_spec::{Entry, Facts};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Where a command was typed.
#[derive(Debug)]
pub(crate) struct Machine {
    cwd: String,
    env: BTreeMap<String, String>,
    /// Variables that cannot be handed on because they are not UTF-8.
    pub(crate) unreadable: Vec<String>,
}

impl Machine {
    /// This process's directory and environment; an error text when the directory cannot be named.
    pub(crate) fn here() -> Result<Self, String> {
        let cwd = std::env::current_dir().map_err(|error| error.to_string())?;
        let cwd = cwd.into_os_string().into_string().map_err(|path| format!("{path:?} is not UTF-8"))?;
        let mut env = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => drop(env.insert(name, value)),
                (Ok(name), Err(_)) => unreadable.push(name),
                (Err(name), _) => unreadable.push(name.to_string_lossy().into_owned()),
            }
        }
        Ok(Self { cwd, env, unreadable })
    }
}

fn is_executable(path: &str) -> bool {
    Path::new(path).is_file() && access(path, Access::EXEC_OK).is_ok()
}

impl Facts for Machine {
    fn cwd(&self) -> &str {
        &self.cwd
    }

    fn env(&self) -> BTreeMap<String, String> {
        self.env.clone()
    }

    fn look(&self, path: &str) -> Option<Entry> {
        let metadata = fs::metadata(path).ok()?;
        Some(if metadata.is_dir() {
            Entry::Directory
        } else if metadata.is_file() {
            Entry::File { executable: is_executable(path) }
        } else {
            Entry::Other
        })
    }

    fn read(&self, path: &str, bytes_max: usize) -> Option<Vec<u8>> {
        let limit = u64::try_from(bytes_max).expect("Linux has at most 64 bits");
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn names_in(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn find_program(&self, name: &str) -> Option<String> {
        if name.contains('/') {
            return is_executable(name).then(|| name.to_owned());
        }
        let search = self.env.get("PATH")?;
        let directories = search.split(':').filter(|directory| !directory.is_empty());
        let mut paths = directories.map(|directory| Path::new(&self.cwd).join(directory).join(name));
        paths.find_map(|path| path.into_os_string().into_string().ok().filter(|path| is_executable(path)))
    }

    fn has_user(&self, name: &str) -> bool {
        // A database that cannot be asked (LDAP is down) is no reason to refuse: the start will tell.
        !matches!(nix::unistd::User::from_name(name), Ok(None))
    }

    fn has_group(&self, name: &str) -> bool {
        !matches!(nix::unistd::Group::from_name(name), Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_seen_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("data"), "0123456789").unwrap();
        fs::write(path("run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(path("run"), fs::Permissions::from_mode(0o755)).unwrap();
        let mut machine = Machine::here().unwrap();
        machine.env.insert("PATH".into(), format!("relative::{}", directory.path().display()));

        assert_eq!(machine.look(&path("data")), Some(Entry::File { executable: false }));
        assert_eq!(machine.look(&path("run")), Some(Entry::File { executable: true }));
        assert_eq!(machine.look(&path("")), Some(Entry::Directory));
        assert_eq!(machine.look(&path("none")), None);
        assert_eq!(machine.read(&path("data"), 4).as_deref(), Some(&b"0123"[..]));
        assert_eq!(machine.find_program("run"), Some(path("run")));
        assert_eq!(machine.find_program("data"), None);
        let mut names = machine.names_in(&path(""));
        names.sort();
        assert_eq!(names, ["data", "run"]);
    }
}
