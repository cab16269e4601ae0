//! Packages of the npm registry, pinned by committed lock files: Node 18 to 26, Bun and Deno (their binaries
//! are inside registry packages; no install script runs), the fixture apps' frameworks, and PM2.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{apt, paths, sh};

/// The Node majors that skep supports, oldest first.
pub(crate) const NODE_MAJORS: [u32; 5] = [18, 20, 22, 24, 26];

/// Node 18 to 26, Bun and Deno: `node/<major>/bin/node`, `bin/bun`, `bin/deno` under the tools.
pub(crate) fn runtimes() -> Result<()> {
    let tools = paths::tools();
    let home = tools.join("runtimes");
    if !clean_install(&paths::root().join("tests/tools"), &home)? {
        return Ok(());
    }
    let cpu = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => bail!(
            "no Node, Bun and Deno packages are known for {other}: the end-to-end tests need x86_64 or aarch64"
        ),
    };
    let modules = home.join("node_modules");
    for major in NODE_MAJORS {
        let package = modules.join(format!("node{major}-{cpu}"));
        link(&package.join("bin/node"), &tools.join(format!("node/{major}/bin/node")))?;
    }
    link(&modules.join(format!("bun-{cpu}/bin/bun")), &tools.join("bin/bun"))?;
    link(&modules.join(format!("deno-{cpu}/deno")), &tools.join("bin/deno"))?;
    stamp(&paths::root().join("tests/tools"), &home)
}

/// Express, Fastify, ws and socket.io beside the apps that use them, where Node looks for them; and what the tests of
/// our own package use.
pub(crate) fn fixtures() -> Result<()> {
    for folder in ["tests/fixtures", "examples/express", "npm/skep", "crates/door/tests/npm"] {
        let source = paths::root().join(folder);
        if clean_install(&source, &source)? {
            stamp(&source, &source)?;
        }
    }
    Ok(())
}

/// A peer that the strict client and the benchmarks measure: `pm2`, `forever`.
pub(crate) fn peer(name: &str) -> Result<()> {
    let source = paths::root().join("tests/tools").join(name);
    let home = paths::tools().join(name);
    if clean_install(&source, &home)? { stamp(&source, &home) } else { Ok(()) }
}

/// `npm ci` of `source`'s lock file in `home`; false when `home` already holds exactly that.
fn clean_install(source: &Path, home: &Path) -> Result<bool> {
    let lock = source.join("package-lock.json");
    let wanted = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    if fs::read(stamp_path(home)).is_ok_and(|have| have == wanted) {
        return Ok(false);
    }
    if paths::which("npm").is_none() {
        apt::install(&["nodejs", "npm"]).context("npm")?;
    }
    if paths::which("npm").is_none() {
        bail!(
            "npm is not installed: the end-to-end tests get their runtimes and fixtures from the npm registry; install Node.js with npm and try again"
        );
    }
    eprintln!("tools: npm ci for {}", source.display());
    if source != home {
        fs::create_dir_all(home).with_context(|| format!("cannot create {}", home.display()))?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), home.join(file)).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    sh::output(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(home),
    )?;
    Ok(true)
}

/// Says that `home` now holds what `source`'s lock file asks for: written last, so that an interrupted
/// installation is repeated.
fn stamp(source: &Path, home: &Path) -> Result<()> {
    fs::copy(source.join("package-lock.json"), stamp_path(home)).context("cannot write the stamp")?;
    Ok(())
}

/// Inside `node_modules`, so that removing that folder forgets the stamp too.
fn stamp_path(home: &Path) -> std::path::PathBuf {
    home.join("node_modules/.skep-stamp")
}

fn link(to: &Path, from: &Path) -> Result<()> {
    if !to.exists() {
        bail!(
            "{} is missing after `npm ci`: does the lock file hold a package for this machine?",
            to.display()
        );
    }
    let parent = from.parent().expect("a link below the tools has a parent");
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    if from.is_symlink() {
        fs::remove_file(from).with_context(|| format!("cannot replace {}", from.display()))?;
    }
    std::os::unix::fs::symlink(to, from).with_context(|| format!("cannot link {}", from.display()))
}
