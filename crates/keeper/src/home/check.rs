//! Making the directory, and refusing one that others can tamper with.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::{Home, HomeError};

/// Permission bits that let others replace what is in a directory.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The directory's own bits when we make it: nobody else even looks.
const PRIVATE: u32 = 0o700;

impl Home {
    /// Makes the directory if it is absent and refuses an unsafe one.
    ///
    /// # Errors
    /// A [`HomeError`] that says what to do.
    pub fn prepare(&self) -> Result<(), HomeError> {
        let path = self.path();
        match self.check() {
            Err(HomeError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        if let Some(parent) = path.parent() {
            // Above us ordinary permissions are right: these are the user's directories, for example ~/.local/state.
            std::fs::create_dir_all(parent).map_err(|source| failed("create", parent, source))?;
        }
        match std::fs::DirBuilder::new().mode(PRIVATE).create(path) {
            // Another skep was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(|source| failed("create", path, source))?,
        }
        self.check()
    }

    /// Refuses a directory that is unsafe or absent.
    pub(super) fn check(&self) -> Result<(), HomeError> {
        let path = self.path().to_owned();
        let found = std::fs::metadata(&path).map_err(|source| failed("use", &path, source))?;
        if !found.is_dir() {
            return Err(HomeError::NotDirectory { path });
        }
        let us = rustix::process::geteuid().as_raw();
        if found.uid() != us {
            return Err(HomeError::ForeignOwner { path, owner: found.uid(), us });
        }
        if found.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(HomeError::OpenToOthers { path, mode: found.mode() & 0o7777 });
        }
        Ok(())
    }
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> HomeError {
    HomeError::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_home_is_private_and_its_parents_are_made() {
        let place = tempfile::tempdir().expect("dir");
        let home = Home::at(place.path().join("state/deep/skep"));
        home.prepare().expect("made");
        home.prepare().expect("still good");
        let mode = fs::metadata(home.path()).expect("stat").mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_home_that_others_can_write_to_is_refused_with_a_remedy() {
        let place = tempfile::tempdir().expect("dir");
        for mode in [0o770, 0o702, 0o1777] {
            fs::set_permissions(place.path(), Permissions::from_mode(mode)).expect("chmod");
            let error = Home::at(place.path()).prepare().expect_err("refused");
            assert!(matches!(error, HomeError::OpenToOthers { .. }), "{error}");
            assert!(error.to_string().contains("chmod go-w"), "{error}");
        }
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("chmod");
        Home::at(place.path()).prepare().expect("readable is no harm");
    }

    #[test]
    fn a_foreign_home_and_a_file_are_refused() {
        let error = Home::at("/dev/null").prepare().expect_err("file");
        assert!(matches!(error, HomeError::NotDirectory { .. }), "{error}");
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().expect("dir");
        std::os::unix::fs::chown(place.path(), Some(12345), None).expect("chown");
        let error = Home::at(place.path()).prepare().expect_err("foreign");
        assert!(matches!(error, HomeError::ForeignOwner { owner: 12345, .. }), "{error}");
    }

    #[test]
    fn an_impossible_place_is_an_error_with_its_path() {
        let error = Home::at("/proc/nowhere/skep").prepare().expect_err("impossible");
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
    }
}
