//! Where a skep lives: one directory for one user, holding the control socket, the lock and the logs.
//!
//! Nobody else may own or write to it: whoever can replace the socket or the files commands our processes. Finding,
//! checking, claiming and starting are here; what is in the files is others' business.

mod check;
mod error;
mod start;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use error::HomeError;
pub(crate) use start::OURSELVES;
pub use start::{Claim, Heir};

use crate::SOCKET_FILE;

/// The lock that the keeper holds while it lives; its content is the keeper's pid.
const LOCK_FILE: &str = "keeper.lock";

/// Standard output and error of keeper and daemon.
const LOG_FILE: &str = "daemon.log";

/// A home directory; it need not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// The home that the environment says: `SKEP_HOME`, else `$XDG_STATE_HOME/skep`, else `~/.skep`.
    ///
    /// # Errors
    /// [`HomeError::Nowhere`] when none of the variables is set.
    pub fn resolve() -> Result<Self, HomeError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// As [`Home::resolve`], from any source of variables. An empty variable counts as not set, and so does a
    /// relative `XDG_STATE_HOME` (the XDG Base Directory Specification says so); a relative `SKEP_HOME` is taken from
    /// the working directory.
    ///
    /// # Errors
    /// [`HomeError::Nowhere`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, HomeError> {
        let path_in = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = path_in("SKEP_HOME") {
            return Ok(Home::at(path));
        }
        if let Some(path) = path_in("XDG_STATE_HOME").filter(|path| path.is_absolute()) {
            return Ok(Home::at(path.join("skep")));
        }
        path_in("HOME").map(|path| Home::at(path.join(".skep"))).ok_or(HomeError::Nowhere)
    }

    /// The home in this directory; a relative path is taken from the working directory.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Home { path: std::path::absolute(&path).unwrap_or(path) }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join(SOCKET_FILE)
    }

    /// The log of keeper and daemon themselves.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG_FILE)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join(LOCK_FILE)
    }

    /// The keeper's pid as it wrote it down; `None` when there is no keeper or it could not write. Informative only:
    /// the number may be out of date.
    #[must_use]
    pub fn keeper_pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.lock()).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(variables: &[(&str, &str)]) -> Result<Home, HomeError> {
        Home::from_variables(|wanted| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_most_specific_variable_wins() {
        let all = [("SKEP_HOME", "/a"), ("XDG_STATE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(home(&all).expect("home").path(), Path::new("/a"));
        assert_eq!(home(&all[1..]).expect("home").path(), Path::new("/b/skep"));
        assert_eq!(home(&all[2..]).expect("home").path(), Path::new("/c/.skep"));
    }

    #[test]
    fn empty_variables_and_a_relative_xdg_directory_are_passed_over() {
        let odd = [("SKEP_HOME", ""), ("XDG_STATE_HOME", "relative"), ("HOME", "/c")];
        assert_eq!(home(&odd).expect("home").path(), Path::new("/c/.skep"));
        let text = home(&[("HOME", "")]).expect_err("nowhere").to_string();
        assert!(text.contains("SKEP_HOME"), "{text}");
    }

    #[test]
    fn a_relative_skep_home_is_below_the_working_directory() {
        let here = std::env::current_dir().expect("cwd");
        assert_eq!(home(&[("SKEP_HOME", "x")]).expect("home").path(), here.join("x"));
    }
}
