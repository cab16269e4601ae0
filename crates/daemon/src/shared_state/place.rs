//! Where the store of a home lies: in memory if it can, and where the next daemon finds it again.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Memory that processes of one machine share (shm_overview(7)).
const SHM: &str = "/dev/shm";

/// In the home: where its store lies now.
const PLACE_FILE: &str = "shared.place";

/// In every store's folder: which home it belongs to.
const OWNER_FILE: &str = "home";

/// Where a store may lie, the best first: shared memory, the session's memory, and the home's own disk where there is
/// no (or too little) shared memory. A folder that somebody chose stands alone.
pub(super) fn candidates(home: &Path, chosen: Option<&Path>) -> Vec<PathBuf> {
    if let Some(chosen) = chosen {
        return vec![chosen.to_path_buf()];
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let memory = [Some(PathBuf::from(SHM)), runtime].into_iter().flatten();
    let mut places: Vec<PathBuf> = memory.map(|folder| folder.join(name(home))).collect();
    places.push(home.join("shared"));
    // Workers of the daemon before may have one of them open: that one it is.
    places.sort_by_key(|place| !place.join("control").exists());
    places
}

/// `skep-<uid>-<hash of the home>`.
fn name(home: &Path) -> String {
    let home = home.canonicalize().unwrap_or_else(|_| home.to_path_buf());
    format!("{}{:016x}", prefix(), fnv1a(home.as_os_str().as_encoded_bytes()))
}

fn prefix() -> String {
    format!("skep-{}-", rustix::process::getuid().as_raw())
}

/// FNV-1a with 64 bits (draft-eastlake-fnv): the same in every build, which the standard library's hashes need not be.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Where the store of the daemon before lies.
pub(super) fn last(home: &Path) -> Option<PathBuf> {
    std::fs::read(home.join(PLACE_FILE)).ok().map(path_of)
}

/// Writes down whose store it is, for [`sweep`], and where the home's store is, for [`last`].
pub(super) fn sign(store: &Path, home: &Path) -> io::Result<()> {
    let owner = home.canonicalize().unwrap_or_else(|_| home.to_path_buf());
    note(&home.join(PLACE_FILE), store)?;
    note(&store.join(OWNER_FILE), &owner)
}

/// The home's store is nowhere: no worker has it open, and the next that is opened may lie elsewhere.
pub(super) fn forget(home: &Path) {
    // If it stays, a later store is signed over it.
    let _ = std::fs::remove_file(home.join(PLACE_FILE));
}

fn note(file: &Path, path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if std::fs::read(file).ok().as_deref() == Some(bytes) {
        return Ok(());
    }
    // Where memory was before a power cut is of no use.
    skep_sys::durable::swap(file, bytes, 0o600)
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Frees the memory of stores whose home was removed: nobody could name them any more.
pub(super) fn sweep() {
    let Ok(entries) = std::fs::read_dir(SHM) else { return };
    let ours = rustix::process::getuid().as_raw();
    for entry in entries.flatten() {
        let path = entry.path();
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix()));
        let owned = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == ours);
        if named && owned && is_orphan(&path) {
            // Another daemon may be sweeping too: what is gone is gone.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

fn is_orphan(store: &Path) -> bool {
    let Ok(home) = std::fs::read(store.join(OWNER_FILE)) else { return false };
    let home = path_of(home);
    home.is_absolute() && matches!(home.try_exists(), Ok(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_name_however_it_is_spelled() {
        let root = tempfile::tempdir().expect("room for a folder");
        let link = root.path().join("link");
        let home = root.path().join("home");
        std::fs::create_dir(&home).expect("made");
        std::os::unix::fs::symlink(&home, &link).expect("linked");
        assert_eq!(name(&home), name(&link));
        assert_ne!(name(&home), name(root.path()));
    }

    #[test]
    fn a_store_that_is_there_comes_before_a_better_place() {
        let home = tempfile::tempdir().expect("room for a folder");
        assert_eq!(candidates(home.path(), None).last(), Some(&home.path().join("shared")));
        std::fs::create_dir(home.path().join("shared")).expect("made");
        std::fs::write(home.path().join("shared/control"), "").expect("written");
        assert_eq!(candidates(home.path(), None).first(), Some(&home.path().join("shared")));
        assert_eq!(candidates(home.path(), Some(Path::new("/x"))), [PathBuf::from("/x")]);
    }

    #[test]
    fn a_store_is_an_orphan_only_when_its_home_is_known_and_gone() {
        let (store, home) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
        assert!(!is_orphan(store.path()), "nobody signed it");
        sign(store.path(), home.path()).expect("signed");
        assert!(!is_orphan(store.path()));
        home.close().expect("removed");
        assert!(is_orphan(store.path()));
    }
}
