//! `cargo xtask bench`: builds skep and the benchmark in release, installs the peers, measures.

use std::process::Command;

use anyhow::Result;

use crate::{paths, sh, tools};

/// Runs the benchmarks named in `args` (all without a name); flags go through.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    tools::ensure(&[tools::Group::Runtimes, tools::Group::Pm2, tools::Group::Bench])?;
    sh::run(sh::cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "skep",
        "--package",
        "skep-bench",
    ]))?;
    let release = paths::target().join("release");
    sh::run(Command::new(release.join("skep-bench")).args(args).env("SKEP_BIN", release.join("skep")))
}
