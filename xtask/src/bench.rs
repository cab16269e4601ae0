//! `cargo xtask bench`: builds skep and the benchmark in release, installs the peers, measures.

use std::process::Command;

use anyhow::Result;

use crate::{apt, paths, sh, tools};

/// Runs the benchmarks named in `args` (all without a name); flags go through.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let named = args.iter().any(|arg| !arg.starts_with('-'));
    let others: Vec<&str> = args.iter().copied().filter(|arg| *arg != STATE).collect();
    if args.contains(&STATE) && others.iter().all(|arg| arg.starts_with('-')) {
        return state(args);
    }
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
    sh::run(Command::new(release.join("skep-bench")).args(&others).env("SKEP_BIN", release.join("skep")))?;
    if !named || args.contains(&STATE) { state(args) } else { Ok(()) }
}

/// The benchmark of shared state, which is a Node.js program: its callers are.
const STATE: &str = "state";

fn state(args: &[&str]) -> Result<()> {
    tools::ensure(&[tools::Group::Runtimes, tools::Group::Fixtures])?;
    apt::ensure(&[("redis-server", "redis-server")])?;
    sh::run(sh::cargo().args(["build", "--release", "--locked", "--package", "skep"]))?;
    let node = paths::tools().join("node/22/bin/node");
    sh::run(
        Command::new(&node)
            .arg(paths::root().join("npm/skep/build.cjs"))
            .env("CARGO_TARGET_DIR", paths::target()),
    )?;
    let quick = if args.contains(&"--quick") { "1" } else { "5" };
    sh::run(
        Command::new(&node)
            .arg(paths::root().join("bench/state/bench.cjs"))
            .args(args.iter().filter(|arg| arg.starts_with('-')))
            .env("ROUNDS", quick)
            .env("SKEP_BIN", paths::target().join("release/skep")),
    )
}
