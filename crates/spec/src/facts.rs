//! What resolving has to know of the machine, as questions.

use std::collections::BTreeMap;

/// The machine on which a command was typed. Paths are absolute.
pub trait Facts {
    /// The directory in which the command was typed.
    fn cwd(&self) -> &str;

    /// The environment of whoever typed the command.
    fn env(&self) -> BTreeMap<String, String>;

    /// What is at `path`, following links; `None` when there is nothing or it cannot be looked at.
    fn look(&self, path: &str) -> Option<Entry>;

    /// At most `bytes_max` bytes from the beginning of a file; `None` when it cannot be read.
    fn read(&self, path: &str, bytes_max: usize) -> Option<Vec<u8>>;

    /// The names in a directory, in no particular order; empty when it cannot be read.
    fn names_in(&self, directory: &str) -> Vec<String>;

    /// The absolute path of a program, searched for in `PATH` as a shell does.
    fn find_program(&self, name: &str) -> Option<String>;

    /// Whether there is a user of this name.
    fn has_user(&self, name: &str) -> bool;

    /// Whether there is a group of this name.
    fn has_group(&self, name: &str) -> bool;
}

/// The same machine, seen from another directory.
#[derive(Debug)]
pub struct Seen<'a, F: ?Sized> {
    /// The machine.
    pub facts: &'a F,
    /// The directory, absolute.
    pub from: String,
}

impl<F: Facts + ?Sized> Facts for Seen<'_, F> {
    fn cwd(&self) -> &str {
        &self.from
    }

    fn env(&self) -> BTreeMap<String, String> {
        self.facts.env()
    }

    fn look(&self, path: &str) -> Option<Entry> {
        self.facts.look(path)
    }

    fn read(&self, path: &str, bytes_max: usize) -> Option<Vec<u8>> {
        self.facts.read(path, bytes_max)
    }

    fn names_in(&self, directory: &str) -> Vec<String> {
        self.facts.names_in(directory)
    }

    fn find_program(&self, name: &str) -> Option<String> {
        self.facts.find_program(name)
    }

    fn has_user(&self, name: &str) -> bool {
        self.facts.has_user(name)
    }

    fn has_group(&self, name: &str) -> bool {
        self.facts.has_group(name)
    }
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A file, and whether whoever typed the command may execute it.
    File {
        /// There is a run bit that applies.
        executable: bool,
    },
    /// A directory.
    Directory,
    /// Something else: a device, a socket.
    Other,
}

/// `path` as seen from `base`, without `.` and `..` (by text alone, as a shell's `cd` does it).
pub fn absolute(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let from = if path.starts_with('/') { "" } else { base };
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The last part of a path.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path)
}

/// A file name's extension with its dot, in lower case; empty when it has none.
pub(crate) fn extension(path: &str) -> String {
    let name = base_name(path);
    match name.rfind('.') {
        Some(dot) if dot > 0 => name[dot..].to_ascii_lowercase(),
        _ => String::new(),
    }
}

#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    /// A machine that exists only in a test.
    #[derive(Debug, Default)]
    pub(crate) struct Machine {
        pub(crate) files: BTreeMap<String, (bool, String)>,
        pub(crate) programs: BTreeMap<String, String>,
        pub(crate) env: BTreeMap<String, String>,
    }

    impl Machine {
        /// A machine with the usual interpreters, and `/srv` as the current directory.
        pub(crate) fn usual() -> Self {
            let mut machine = Self::default();
            for name in ["node", "python3", "bash", "ruby", "npm", "bun", "sh"] {
                machine.programs.insert(name.into(), format!("/usr/bin/{name}"));
            }
            machine.env.insert("PATH".into(), "/usr/bin".into());
            machine
        }

        pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
            self.files.insert(path.into(), (false, text.into()));
            self
        }

        pub(crate) fn executable(mut self, path: &str, text: &str) -> Self {
            self.files.insert(path.into(), (true, text.into()));
            self
        }

        pub(crate) fn without(mut self, program: &str) -> Self {
            self.programs.remove(program);
            self
        }
    }

    impl Facts for Machine {
        fn cwd(&self) -> &str {
            "/srv"
        }

        fn env(&self) -> BTreeMap<String, String> {
            self.env.clone()
        }

        fn look(&self, path: &str) -> Option<Entry> {
            if let Some((executable, _)) = self.files.get(path) {
                return Some(Entry::File { executable: *executable });
            }
            let prefix = format!("{}/", path.trim_end_matches('/'));
            let is_directory = self.files.keys().any(|file| file.starts_with(&prefix));
            is_directory.then_some(Entry::Directory)
        }

        fn read(&self, path: &str, bytes_max: usize) -> Option<Vec<u8>> {
            self.files.get(path).map(|(_, text)| text.bytes().take(bytes_max).collect())
        }

        fn names_in(&self, directory: &str) -> Vec<String> {
            let prefix = format!("{}/", directory.trim_end_matches('/'));
            self.files.keys().filter_map(|file| file.strip_prefix(&prefix)).map(str::to_owned).collect()
        }

        fn find_program(&self, name: &str) -> Option<String> {
            if name.starts_with('/') {
                return self.files.get(name).filter(|(executable, _)| *executable).map(|_| name.to_owned());
            }
            self.programs.get(name).cloned()
        }

        fn has_user(&self, name: &str) -> bool {
            name == "www-data"
        }

        fn has_group(&self, name: &str) -> bool {
            name == "www-data"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_by_text_alone() {
        assert_eq!(absolute("/srv", "app.js"), "/srv/app.js");
        assert_eq!(absolute("/srv", "./a/../b.js"), "/srv/b.js");
        assert_eq!(absolute("/srv", "../../../x"), "/x");
        assert_eq!(absolute("/srv", "/opt//app/"), "/opt/app");
        assert_eq!(extension("/a.b/App.JS"), ".js");
        assert_eq!(extension("/a/.profile"), "");
        assert_eq!(base_name("/a/b/"), "b");
    }
}
