//! `cargo xtask bench`: builds skep and the benchmark in release, installs the peers, measures.

use std::process::Command;

use anyhow::Result;

use crate::{apt, paths, sh, tools};

/// Runs the benchmarks named in `args` (all without a name); flags go through.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    use tools::Group::{Bench, Fixtures, Forever, Pm2, Runtimes};
    tools::ensure(&[Runtimes, Fixtures, Pm2, Forever, Bench])?;
    apt::ensure(&[("redis-server", "redis-server")])?;
    sh::run(sh::cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "skep",
        "--package",
        "skep-bench",
    ]))?;
    // The add-on, for those that measure shared state.
    sh::run(
        Command::new(paths::tools().join("node/24/bin/node"))
            .arg(paths::root().join("npm/skep/build.cjs"))
            .env("CARGO_TARGET_DIR", paths::target()),
    )?;
    let release = paths::target().join("release");
    sh::run(
        Command::new(release.join("skep-bench"))
            .args(args)
            .env("SKEP_BIN", release.join("skep"))
            .env("SKEP_TOOLS", paths::tools()),
    )
}
