//! Where things are: the repository, the target directory in force, the tools.

use std::path::{Path, PathBuf};

/// The root of the repository: xtask's manifest is one folder below it.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lives one folder below the root")
}

/// Cargo's target directory, as the user set it; `target/` otherwise.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Everything that `cargo xtask tools` installs. `SKEP_TOOLS` moves it, so that several clones can share one.
pub(crate) fn tools() -> PathBuf {
    match std::env::var_os("SKEP_TOOLS") {
        Some(dir) => root().join(dir),
        None => target().join("skep-tools"),
    }
}

/// The first executable file of that name in `PATH`.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
