//! Side-by-side benchmarks against peers: `cargo xtask bench [name…] [--quick]`.
//!
//! Every figure is printed raw, every claim is a ratio against a peer measured in the same run, interleaved (A B A B)
//! because machines here are noisy. A promise of SPECIFICATION.md that was measured is said to be kept or broken;
//! with `--check` a broken one is a failure.

mod balance;
mod blocked;
mod client;
mod commands;
mod door;
mod drops;
mod footprint;
mod heal;
mod report;
mod subject;
mod throughput;
mod wrk;

use anyhow::{Result, bail};
use report::Report;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Interleaved repetitions.
    pub(crate) runs: usize,
    /// Seconds of load in each.
    pub(crate) seconds: u64,
}

type Bench = fn(Effort, &mut Report) -> Result<()>;

const BENCHES: [(&str, &str, Bench); 8] = [
    ("footprint", "memory and wake-ups of keeper and daemon beside PM2's daemon", footprint::run),
    ("commands", "wall time of commands beside PM2's", commands::run),
    ("heal", "a worker killed: how soon its successor is spawned", heal::run),
    ("drops", "requests that fail when workers and supervisors are reloaded, killed, upgraded", drops::run),
    ("throughput", "requests a second and CPU beside Node's cluster and PM2", throughput::run),
    ("blocked", "latency of the others while one worker is blocked", blocked::run),
    ("door", "the Redis door beside Redis, same client, and the memory of small keys", door::run),
    ("balance", "how evenly long connections are spread", balance::run),
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| args.iter().any(|arg| arg == name);
    if flag("--help") || flag("-h") {
        println!("skep-bench [name…] [--quick] [--check]\n");
        for (name, what, _) in BENCHES {
            println!("  {name:<12} {what}");
        }
        return Ok(());
    }
    let effort =
        if flag("--quick") { Effort { runs: 2, seconds: 2 } } else { Effort { runs: 5, seconds: 5 } };
    let names: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    if let Some(unknown) = names.iter().find(|name| !BENCHES.iter().any(|(known, _, _)| known == **name)) {
        bail!("there is no benchmark {unknown}; --help lists them");
    }
    let mut report = Report::begin()?;
    for (name, what, bench) in BENCHES {
        if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
            report.section(name, what);
            bench(effort, &mut report)?;
        }
    }
    let broken = report.end()?;
    if broken > 0 && flag("--check") {
        bail!("{broken} promises of SPECIFICATION.md are broken");
    }
    Ok(())
}
