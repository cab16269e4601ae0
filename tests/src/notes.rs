//! A file to which apps write a line for everything that they do.

use std::fs;
use std::path::{Path, PathBuf};

use crate::deadline::Deadline;

/// Lines in words, the first of which is their kind.
#[derive(Debug)]
pub struct Notes {
    path: PathBuf,
}

impl Notes {
    /// An empty file of this name in a folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn new(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        fs::write(&path, "").expect("the folder is writable");
        Self { path }
    }

    /// Where apps write to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All lines.
    ///
    /// # Panics
    /// When the file is gone.
    pub fn all(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(&self.path).expect("the notes are there");
        text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// The lines of this kind.
    pub fn lines(&self, kind: &str) -> Vec<Vec<String>> {
        self.all().into_iter().filter(|words| words[0] == kind).collect()
    }

    /// Those lines, as soon as there are so many of them.
    pub fn wait(&self, kind: &str, count: usize) -> Vec<Vec<String>> {
        Deadline::until(&format!("{count} lines of {kind}"), || {
            let lines = self.lines(kind);
            (lines.len() >= count).then_some(lines)
        })
    }
}
