//! `cargo xtask test`: every check, quickest failure first, the test runner's closing line last.

use std::process::Command;
use std::thread;

use anyhow::{Result, bail};

use crate::{cargo_tools, directions, npm, paths, sh, tools};

/// Whether the tools that we run may colour their output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    AsTerminal,
    Never,
}

type Step = (&'static str, fn() -> Result<()>);

/// In the order in which they run.
const STEPS: [Step; 8] = [
    ("fmt", fmt),
    ("directions", directions::run),
    ("clippy", clippy),
    ("deny", deny),
    ("doc", doc),
    ("doctest", doctest),
    ("node", node),
    ("test", test),
];

pub(crate) fn run(names: &[&str], colour: Colour) -> Result<()> {
    let steps = chosen(names)?;
    if colour == Colour::Never && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        return again_without_colour(names);
    }
    let needs_tools = steps.iter().any(|(name, _)| matches!(*name, "node" | "test"));
    // Downloads are not computation: they run beside the compiler.
    let download = needs_tools.then(|| thread::spawn(|| tools::ensure(&tools::FOR_TESTS)));
    let (last, first): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|(name, _)| matches!(*name, "node" | "test"));
    let mut failed = Vec::new();
    run_steps(&first, &mut failed);
    if let Some(download) = download
        && let Err(error) = download.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the installer panicked")))
    {
        bail!("the tests need tools that could not be installed: {error:#}");
    }
    run_steps(&last, &mut failed);
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

fn chosen(names: &[&str]) -> Result<Vec<Step>> {
    for name in names {
        if !STEPS.iter().any(|(known, _)| known == name) {
            let known: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
            bail!("there is no step {name:?}; there are: {}", known.join(", "));
        }
    }
    Ok(STEPS.into_iter().filter(|(name, _)| names.is_empty() || names.contains(name)).collect())
}

/// Every step runs even if one before it failed: one run tells everything that is wrong.
fn run_steps(steps: &[Step], failed: &mut Vec<&'static str>) {
    for (name, step) in steps {
        eprintln!("── {name}");
        if let Err(error) = step() {
            eprintln!("── {name} failed: {error:#}");
            failed.push(name);
        }
    }
}

/// Cargo and nextest read the wish from their environment, which a child gets and we must not change.
fn again_without_colour(names: &[&str]) -> Result<()> {
    sh::run(
        Command::new(std::env::current_exe()?)
            .arg("test")
            .args(names)
            .env("CARGO_TERM_COLOR", "never")
            .env("NO_COLOR", "1"),
    )
}

fn fmt() -> Result<()> {
    sh::run(sh::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    sh::run(sh::cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

fn doc() -> Result<()> {
    sh::run(
        sh::cargo()
            .args(["doc", "--locked", "--workspace", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn doctest() -> Result<()> {
    sh::run(sh::cargo().args(["test", "--locked", "--workspace", "--doc", "--quiet"]))
}

/// Licences, bans and sources always; advisories when their database can be reached, and says which.
fn deny() -> Result<()> {
    tools::ensure(&[tools::Group::Deny])?;
    let check = |what: &[&str]| {
        let mut command = cargo_tools::command(cargo_tools::DENY)?;
        command.args(["--locked", "check", "--hide-inclusion-graph"]).args(what);
        Ok::<_, anyhow::Error>(command)
    };
    sh::run(&mut check(&["bans", "licenses", "sources"])?)?;
    let fetched = sh::output(cargo_tools::command(cargo_tools::DENY)?.args(["--locked", "fetch", "db"]));
    match fetched {
        Ok(_) => sh::run(&mut check(&["advisories"])?),
        Err(_) => {
            eprintln!("deny: the advisory database cannot be reached from here; advisories were NOT checked");
            Ok(())
        }
    }
}

/// The npm package's own tests: what depends on Node's inside (the preload, its metrics) on each Node, the rest on the oldest and
/// on the newest.
fn node() -> Result<()> {
    let tests = node_tests()?;
    addon()?;
    let ends = [npm::NODE_MAJORS[0], npm::NODE_MAJORS[npm::NODE_MAJORS.len() - 1]];
    for major in npm::NODE_MAJORS {
        let inside = |test: &str| ["preload", "metrics"].iter().any(|name| test.contains(name));
        let mine = |test: &&String| ends.contains(&major) || inside(test);
        let node = paths::tools().join(format!("node/{major}/bin/node"));
        eprintln!("node: npm/ on Node {major}");
        sh::output(
            Command::new(node)
                .arg("--test")
                .args(tests.iter().filter(mine))
                .env("SKEP_TOOLS", paths::tools())
                .current_dir(paths::root()),
        )?;
    }
    Ok(())
}

/// The native add-on of the npm package, where its tests and the end-to-end tests look for it.
fn addon() -> Result<()> {
    let usual = paths::tools().join("node/22/bin/node");
    sh::run(
        Command::new(usual)
            .arg(paths::root().join("npm/skep/build.cjs"))
            .env("SKEP_ADDON_PROFILE", "dev")
            .env("CARGO_TARGET_DIR", paths::target()),
    )
}

/// Named one by one: what `node --test <folder>` means differs from Node to Node.
fn node_tests() -> Result<Vec<String>> {
    let listed = sh::output(Command::new("git").args(["ls-files", "npm"]).current_dir(paths::root()))?;
    let is_test = |path: &&str| [".test.cjs", ".test.mjs", ".test.js"].iter().any(|end| path.ends_with(end));
    let tests: Vec<String> = listed.lines().filter(is_test).map(str::to_owned).collect();
    if tests.is_empty() { bail!("git knows no tests in npm/") } else { Ok(tests) }
}

fn test() -> Result<()> {
    tools::ensure(&[tools::Group::Nextest])?;
    addon()?;
    sh::run(sh::cargo().args(["build", "--locked", "--package", "skep", "--quiet"]))?;
    sh::run(
        cargo_tools::command(cargo_tools::NEXTEST)?
            .args(["run", "--locked", "--workspace", "--no-fail-fast"])
            .env("SKEP_TOOLS", paths::tools())
            .env("SKEP_NODES", paths::tools().join("node"))
            .env("SKEP_BIN", paths::target().join("debug/skep")),
    )
}
