//! Tools that are crates: cargo-deny and cargo-nextest.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{paths, sh};

/// A tool, pinned: a new release of it must not break an old commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    /// Our own build leaves out what we do not use.
    features: &'static [&'static str],
}

/// Licences, advisories, bans and sources of the dependencies.
pub(crate) const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", features: &[] };
/// The test runner: a process a test, groups, time limits.
pub(crate) const NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    version: "0.9.151",
    features: &["--no-default-features", "--features", "default-no-update"],
};

/// Installs a tool unless the machine or the tools folder has one already.
pub(crate) fn ensure(tool: Tool) -> Result<()> {
    if find(tool).is_some() {
        return Ok(());
    }
    let root = paths::tools().join("cargo");
    let build = paths::tools().join("cargo-build");
    eprintln!("tools: cargo install {}@{} (some minutes, once)", tool.name, tool.version);
    sh::output(
        sh::cargo()
            .args(["install", "--locked", "--debug", "--no-track", "--force", "--root"])
            .arg(&root)
            .arg(format!("{}@{}", tool.name, tool.version))
            .args(tool.features)
            // A debug build without debug information: it is built more often than it runs.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_TARGET_DIR", &build)
            .env_remove("RUSTFLAGS"),
    )?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}

/// The command that runs an installed tool.
pub(crate) fn command(tool: Tool) -> Result<Command> {
    let program =
        find(tool).with_context(|| format!("{} is not installed; run `cargo xtask tools`", tool.name))?;
    let mut command = Command::new(program);
    // What `cargo deny …` would hand to it: its own name without `cargo-`.
    command.arg(tool.name.trim_start_matches("cargo-")).current_dir(paths::root());
    Ok(command)
}

fn find(tool: Tool) -> Option<PathBuf> {
    let own = paths::tools().join("cargo/bin").join(tool.name);
    if own.exists() { Some(own) } else { paths::which(tool.name) }
}
