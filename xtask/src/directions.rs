//! Which room may know which (ARCHITECTURE.md): crates depend on each other only downwards, and the pure ones
//! cannot reach a kernel even by accident.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::sh;

/// What a crate may depend on (development dependencies are free: tests may use what they like).
struct Room {
    name: &'static str,
    /// The other rooms that it may know.
    rooms: &'static [&'static str],
    outside: Outside,
}

/// Crates that are not ours.
enum Outside {
    /// Nothing but these.
    Only(&'static [&'static str]),
    /// Anything that does no input or output.
    Pure,
    /// Anything without a runtime: it must start in a millisecond and weigh next to nothing.
    NoRuntime,
    Any,
}

/// Doors to the kernel, to the clock and to chance.
const IO: [&str; 14] = [
    "libc",
    "rustix",
    "nix",
    "mio",
    "tokio",
    "async-std",
    "smol",
    "hyper",
    "socket2",
    "tempfile",
    "rand",
    "getrandom",
    "jiff",
    "chrono",
];
/// Runtimes and what drags them in.
const RUNTIMES: [&str; 7] = ["tokio", "mio", "hyper", "hyper-util", "async-std", "smol", "futures"];

const ROOMS: [Room; 18] = [
    Room { name: "skep-core", rooms: &[], outside: Outside::Only(&["serde", "thiserror"]) },
    // jiff knows the calendar and reads time zones; that it could read a clock too, `clippy.toml` cannot see.
    Room { name: "skep-jobs", rooms: &[], outside: Outside::Only(&["croner", "jiff", "serde", "thiserror"]) },
    Room { name: "skep-spec", rooms: &["skep-jobs"], outside: Outside::Pure },
    Room { name: "skep-node-ipc", rooms: &[], outside: Outside::Pure },
    // Shared memory between workers: it may know the kernel, but nothing of ours and no runtime.
    Room { name: "skep-state", rooms: &[], outside: Outside::NoRuntime },
    // A server of its own in a process of its own; it knows the kernel through the store and its own sockets.
    Room { name: "skep-door", rooms: &["skep-state", "skep-sys"], outside: Outside::NoRuntime },
    // A worker like any other program: it knows the kernel and HTTP, nothing of ours.
    Room { name: "skep-serve", rooms: &["skep-sys"], outside: Outside::Any },
    Room { name: "skep-sim", rooms: &["skep-core"], outside: Outside::Any },
    Room { name: "skep-sys", rooms: &[], outside: Outside::NoRuntime },
    Room { name: "skep-keeper", rooms: &["skep-sys"], outside: Outside::NoRuntime },
    // The core's words for time and for slots, so that both speak of the same; never its machine.
    Room { name: "skep-listeners", rooms: &["skep-sys", "skep-core"], outside: Outside::NoRuntime },
    Room { name: "skep-logs", rooms: &["skep-sys"], outside: Outside::Any },
    Room { name: "skep-api", rooms: &["skep-core", "skep-spec"], outside: Outside::Any },
    Room {
        name: "skep-daemon",
        rooms: &[
            "skep-core",
            "skep-jobs",
            "skep-spec",
            "skep-node-ipc",
            "skep-sys",
            "skep-keeper",
            "skep-listeners",
            "skep-logs",
            "skep-api",
            "skep-state",
        ],
        outside: Outside::Any,
    },
    // The dashboard is a client like any other; it knows the terminal and the API, and no home.
    Room { name: "skep-tui", rooms: &["skep-api", "skep-sys"], outside: Outside::Any },
    // Never skep-core, skep-node-ipc or skep-listeners: the command line talks to the API like anyone else. It is
    // also the binary, hence knows the entrances of the daemon and of the keeper.
    Room {
        name: "skep",
        rooms: &[
            "skep-api",
            "skep-spec",
            "skep-daemon",
            "skep-keeper",
            "skep-logs",
            "skep-sys",
            "skep-door",
            "skep-serve",
            "skep-tui",
        ],
        outside: Outside::Any,
    },
    // Lives in somebody else's process.
    Room { name: "skep-addon", rooms: &["skep-state"], outside: Outside::NoRuntime },
    Room { name: "xtask", rooms: &[], outside: Outside::NoRuntime },
];
/// Outside the house: they start the product or measure it, so they may know any room.
const GUESTS: [&str; 2] = ["skep-tests", "skep-bench"];

pub(crate) fn run() -> Result<()> {
    let faults = faults()?;
    if faults.is_empty() {
        println!("directions: every crate knows only the rooms below it");
        return Ok(());
    }
    bail!(
        "{}\nARCHITECTURE.md says which room may know which; xtask/src/directions.rs is the list",
        faults.join("\n")
    )
}

/// One sentence a wrong dependency.
fn faults() -> Result<Vec<String>> {
    let text = sh::output(sh::cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value =
        serde_json::from_str(&text).context("cargo metadata printed something that is no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata without packages")?;
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        if GUESTS.contains(&name) {
            continue;
        }
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            faults.push(format!("{name} has no entry in the list of rooms"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().context("a package without dependencies")?;
        for dependency in dependencies.iter().filter(|dependency| dependency["kind"].as_str() != Some("dev"))
        {
            let wanted = dependency["name"].as_str().context("a dependency without a name")?;
            if !allows(room, wanted, ours.contains(wanted)) {
                faults.push(format!("{name} must not depend on {wanted}"));
            }
        }
    }
    Ok(faults)
}

fn allows(room: &Room, dependency: &str, is_ours: bool) -> bool {
    if is_ours {
        return room.rooms.contains(&dependency);
    }
    match room.outside {
        Outside::Only(list) => list.contains(&dependency),
        Outside::Pure => !IO.contains(&dependency) && !RUNTIMES.contains(&dependency),
        Outside::NoRuntime => !RUNTIMES.contains(&dependency),
        Outside::Any => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crates_depend_on_each_other_only_downwards() {
        assert_eq!(faults().expect("cargo metadata runs"), Vec::<String>::new());
    }

    #[test]
    fn the_core_may_know_nothing_but_serde_and_thiserror() {
        let core = &ROOMS[0];
        assert!(allows(core, "serde", false));
        for wrong in ["tokio", "serde_json", "libc"] {
            assert!(!allows(core, wrong, false), "{wrong}");
        }
        assert!(!allows(core, "skep-sys", true));
    }

    #[test]
    fn a_pure_room_cannot_reach_the_kernel() {
        let spec = ROOMS.iter().find(|room| room.name == "skep-spec").expect("spec is a room");
        assert!(allows(spec, "toml", false));
        assert!(!allows(spec, "rustix", false));
        assert!(!allows(spec, "tokio", false));
    }
}
