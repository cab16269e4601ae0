//! `cargo xtask tools`: everything that tests and benchmarks need, installed once, by one process at a time.

use std::fs::{self, File};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use crate::{apt, cargo_tools, npm, paths, python};

/// What can be asked for by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Runtimes,
    Fixtures,
    Python,
    Pm2,
    Forever,
    Deny,
    Nextest,
    Openrc,
    Bench,
}

/// Every group and its name.
const GROUPS: [(&str, Group); 9] = [
    ("runtimes", Group::Runtimes),
    ("fixtures", Group::Fixtures),
    ("python", Group::Python),
    ("pm2", Group::Pm2),
    ("forever", Group::Forever),
    ("deny", Group::Deny),
    ("nextest", Group::Nextest),
    ("openrc", Group::Openrc),
    ("bench", Group::Bench),
];

/// What the end-to-end tests start.
pub(crate) const FOR_TESTS: [Group; 5] =
    [Group::Runtimes, Group::Fixtures, Group::Python, Group::Pm2, Group::Openrc];

pub(crate) fn run(names: &[&str]) -> Result<()> {
    let mut groups = Vec::new();
    for name in names {
        let Some((_, group)) = GROUPS.iter().find(|(known, _)| known == name) else {
            let known: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
            bail!("there is no group of tools {name:?}; there are: {}", known.join(", "));
        };
        groups.push(*group);
    }
    if groups.is_empty() {
        groups.extend(GROUPS.iter().map(|(_, group)| *group));
    }
    ensure(&groups)?;
    println!("tools: {} is complete", paths::tools().display());
    Ok(())
}

/// Installs what is missing; the groups download side by side. A second process waits for the first one's lock.
pub(crate) fn ensure(groups: &[Group]) -> Result<()> {
    let _lock = lock()?;
    apt::ensure(&apt::FOR_TESTS)?;
    let failures: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = groups.iter().map(|group| scope.spawn(move || install(*group))).collect();
        running
            .into_iter()
            .filter_map(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow!("an installer panicked"))).err()
            })
            .map(|error| format!("{error:#}"))
            .collect()
    });
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n")) }
}

fn install(group: Group) -> Result<()> {
    match group {
        Group::Runtimes => npm::runtimes().context("Node, Bun and Deno"),
        Group::Fixtures => npm::fixtures().context("the fixture apps' packages"),
        Group::Python => python::install().context("the Python servers"),
        Group::Pm2 => npm::peer("pm2").context("PM2"),
        Group::Forever => npm::peer("forever").context("forever"),
        Group::Deny => cargo_tools::ensure(cargo_tools::DENY).context("cargo-deny"),
        Group::Openrc => apt::openrc().context("OpenRC"),
        Group::Nextest => cargo_tools::ensure(cargo_tools::NEXTEST).context("cargo-nextest"),
        Group::Bench => apt::ensure(&apt::FOR_BENCH).context("the load generator"),
    }
}

/// Held until it is dropped; the kernel gives it up when its holder dies.
fn lock() -> Result<File> {
    let tools = paths::tools();
    fs::create_dir_all(&tools).with_context(|| format!("cannot create {}", tools.display()))?;
    let path = tools.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
