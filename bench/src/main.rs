//! Side-by-side benchmarks against peers: `cargo xtask bench [name…] [--quick]`.
//!
//! Every figure is printed raw, every claim is a ratio against a peer measured in the same run, interleaved (A B A B)
//! because machines here are noisy. What skep promises stands in `promises.rs`; the last figures are kept in
//! `bench/results/`, and the table of SPECIFICATION.md is written from both. `--check` compares the two and measures
//! nothing, unless benchmarks are named.

mod balance;
mod blocked;
mod client;
mod commands;
mod crowd;
mod door;
mod drops;
mod footprint;
mod heal;
mod journal;
mod logs;
mod peers;
mod pool;
mod promises;
mod reloads;
mod report;
mod results;
mod soak;
mod subject;
mod throughput;
mod vitals;
mod wrk;

use anyhow::{Context, Result, bail};
use report::Report;
use skep_sys::clock::boottime_ns;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Interleaved repetitions.
    pub(crate) runs: usize,
    /// Seconds of load in each.
    pub(crate) seconds: u64,
}

/// Five repeats of three seconds, so that all of them fit into half an hour: docs/decisions/0014-half-an-hour-of-benchmarks.md.
const USUAL: Effort = Effort { runs: 5, seconds: 3 };
const QUICK: Effort = Effort { runs: 2, seconds: 2 };

type Bench = fn(Effort, &mut Report) -> Result<()>;

const BENCHES: &[(&str, &str, Bench)] = &[
    ("footprint", "memory and wake-ups of keeper and daemon beside PM2's daemon", footprint::run),
    ("commands", "wall time of commands beside PM2's and forever's", commands::run),
    ("heal", "a worker killed: how soon its successor is spawned and listens", heal::run),
    ("crowd", "200 apps at once", crowd::run),
    ("drops", "requests that fail when workers and supervisors are reloaded, killed, upgraded", drops::run),
    ("throughput", "requests a second and CPU beside Node's cluster and PM2", throughput::run),
    ("vitals", "what it costs a worker to count and tell how it is", vitals::run),
    ("blocked", "latency of the others while one worker is blocked", blocked::run),
    ("pool", "latency of the others while 8 computations run", pool::run),
    ("balance", "how evenly long connections are spread", balance::run),
    ("logs", "a million lines, a line of 10 MB, a torrent: seconds, CPU, bytes lost", logs::run),
    ("state", "shared state beside Redis 7", |effort, report| report.node("bench/state/bench.cjs", effort)),
    ("door", "the Redis door beside Redis, same client, and the memory of small keys", door::run),
    ("once", "8 workers ask for one token at once", |effort, report| {
        report.node("bench/once/bench.cjs", effort)
    }),
];

/// No figure but a yes or no, and some minutes: only by its own name.
const SOAK: &str = "soak";
/// Hours: only by its own name.
const RELOADS: &str = "reloads";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| args.iter().any(|arg| arg == name);
    if flag("--help") || flag("-h") {
        println!("skep-bench [name…] [--quick] [--check] [--table]\n");
        for (name, what, _) in BENCHES {
            println!("  {name:<12} {what}");
        }
        println!(
            "  {SOAK:<12} alone: a million requests (--requests=N) across reloads, scales, upgrades and SIGKILLs"
        );
        println!(
            "  {RELOADS:<12} alone: 100 reloads (--reloads=N) of each kind of app, Node and balance, two hours in all;"
        );
        println!(
            "  {:<12} one part of them: --app=http|express|fastify|https|ws --node=N --balance=auto|shared|ipc",
            ""
        );
        println!(
            "\n--quick measures twice for 2 s, not five times for 3 s. --check fails where the last results break"
        );
        println!(
            "SPECIFICATION.md, and measures nothing unless benchmarks are named. --table only writes its table."
        );
        return Ok(());
    }
    let names: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    if names == [SOAK] {
        let number = args.iter().find_map(|arg| arg.strip_prefix("--requests="));
        return soak::run(number.unwrap_or("1000000").parse().context("--requests takes a number")?);
    }
    if names == [RELOADS] {
        let selection = reloads::Selection::from(&args, flag("--quick"))?;
        let effort = Effort { runs: selection.reloads(), ..USUAL };
        let mut report = Report::begin(RELOADS, &report::machine(effort)?);
        reloads::run(&selection, &mut report)?;
        report.end()?;
        results::write_specification()?;
        return if flag("--check") { check(&names) } else { Ok(()) };
    }
    if let Some(alone) = names.iter().find(|name| [SOAK, RELOADS].contains(&name.as_str())) {
        bail!("{alone} takes its time: it is measured alone");
    }
    if let Some(unknown) = names.iter().find(|name| !BENCHES.iter().any(|(known, _, _)| known == **name)) {
        bail!("there is no benchmark {unknown}; --help lists them");
    }
    let only_reads = flag("--table") || (flag("--check") && names.is_empty());
    if !only_reads {
        measure(&names, if flag("--quick") { QUICK } else { USUAL })?;
    }
    if !flag("--check") || !names.is_empty() {
        results::write_specification()?;
    }
    if flag("--check") { check(&names) } else { Ok(()) }
}

fn measure(names: &[&String], effort: Effort) -> Result<()> {
    let machine = report::machine(effort)?;
    let all = boottime_ns();
    for &(name, what, bench) in BENCHES {
        if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
            println!("\n== {name}: {what}");
            let (mut report, begin) = (Report::begin(name, &machine), boottime_ns());
            bench(effort, &mut report)?;
            println!("{name} took {:.0} s", (boottime_ns() - begin) as f64 / 1e9);
            report.end()?;
        }
    }
    let minutes = (boottime_ns() - all) as f64 / 60e9;
    println!(
        "\nkept in bench/results after {minutes:.1} min; the table of SPECIFICATION.md is written from it"
    );
    Ok(())
}

/// Compares what was measured last with what is promised: of the benchmarks named, or of all.
fn check(names: &[&String]) -> Result<()> {
    let is_meant = |bench: &str| names.is_empty() || names.iter().any(|name| *name == bench);
    let rows = results::measured()?;
    let rows: Vec<_> = rows.iter().filter(|row| is_meant(row.promise.bench())).collect();
    rows.iter().for_each(|row| println!("{}", row.verdict()));
    match rows.iter().filter(|row| !row.is_kept()).count() {
        0 => Ok(()),
        bad => bail!("{bad} promises of SPECIFICATION.md are broken or not measured"),
    }
}
