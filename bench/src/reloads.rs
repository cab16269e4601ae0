//! Rolling reloads of two workers, again and again, under every load at once: each kind of app on each Node and with each
//! balance. Counted is every request that was not answered completely and correctly, every keep-alive client of a plain server
//! that had to connect again, and the fewest workers that were ready at any time.
//!
//! A hundred reloads of all cells take two hours: cells can be chosen, and what was measured of the others stays in the results
//! until it is measured again. A promise counts as measured when every cell was.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use skep_sys::clock::boottime_ns;
use skep_tests::strict::{Counted, Failure, Loads, Target, all_kinds};
use skep_tests::{Node, NodeClient, Port, Readiness, Skep, Start, fixture, nodes};

use crate::report::Report;

/// Reloads of a cell.
const USUAL: usize = 100;
const QUICK: usize = 2;

const WORKERS: usize = 2;
/// What takes longer is cut off by right. The usual 1.6 s are for a machine that is not as busy as ours makes it.
const KILL_TIMEOUT: [&str; 2] = ["--kill-timeout", "30s"];
const WEBSOCKETS: usize = 10;

/// A load that gets no answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const APPS: [(&str, &str); 5] = [
    ("http", "http.cjs"),
    ("express", "express.js"),
    ("fastify", "fastify.mjs"),
    ("https", "https.js"),
    ("ws", "ws.js"),
];
const BALANCES: [&str; 3] = ["auto", "shared", "ipc"];

/// What is measured.
#[derive(Debug)]
pub(crate) struct Selection {
    reloads: usize,
    app: Option<String>,
    node: Option<String>,
    balance: Option<String>,
}

/// One of them.
struct Cell<'a> {
    app: &'a str,
    file: &'a str,
    node: &'a Node,
    balance: &'a str,
}

/// What came of it, in the order of its figures.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    failed: u64,
    total: u64,
    reconnected: u64,
    truncated: u64,
    ready: usize,
    reloads: usize,
}

impl Selection {
    /// `--reloads=N`, `--app=…`, `--node=…`, `--balance=…`; all cells without.
    pub(crate) fn from(args: &[String], quick: bool) -> Result<Selection> {
        let given = |name: &str| args.iter().find_map(|arg| arg.strip_prefix(name)).map(str::to_owned);
        let reloads = match given("--reloads=") {
            Some(number) => number.parse().context("--reloads takes a number")?,
            None => {
                if quick {
                    QUICK
                } else {
                    USUAL
                }
            }
        };
        let it =
            Selection { reloads, app: given("--app="), node: given("--node="), balance: given("--balance=") };
        let known = nodes();
        if !cells(&known).iter().any(|cell| it.takes(cell)) {
            bail!(
                "there is no such cell; --app is http, express, fastify, https or ws, --balance auto, shared or ipc"
            );
        }
        Ok(it)
    }

    /// Of each cell.
    pub(crate) fn reloads(&self) -> usize {
        self.reloads
    }

    fn takes(&self, cell: &Cell<'_>) -> bool {
        let is = |wanted: &Option<String>, it: &str| wanted.as_ref().is_none_or(|wanted| wanted == it);
        is(&self.app, cell.app)
            && is(&self.node, &cell.node.major.to_string())
            && is(&self.balance, cell.balance)
    }
}

fn cells(nodes: &[Node]) -> Vec<Cell<'_>> {
    let mut all = Vec::new();
    for balance in BALANCES {
        for node in nodes {
            all.extend(APPS.map(|(app, file)| Cell { app, file, node, balance }));
        }
    }
    all
}

impl Cell<'_> {
    fn name(&self) -> String {
        format!("{}, Node {}, {}", self.app, self.node.major, self.balance)
    }
}

pub(crate) fn run(selection: &Selection, report: &mut Report) -> Result<()> {
    report.goes_on()?;
    let nodes = nodes();
    let all = cells(&nodes);
    println!("{:<26} reloads   failed     of requests  reconnected  truncated  ready at least", "");
    for cell in all.iter().filter(|cell| selection.takes(cell)) {
        let begin = boottime_ns();
        print!("{:<26} ", cell.name());
        std::io::stdout().flush()?;
        let seen = reload(cell, selection.reloads).with_context(|| cell.name())?;
        println!(
            "{:>7} {:>8} {:>15} {:>12} {:>10} {:>7} of {WORKERS} ({:.0} s)",
            seen.reloads,
            seen.failed,
            seen.total,
            seen.reconnected,
            seen.truncated,
            seen.ready,
            (boottime_ns() - begin) as f64 / 1e9
        );
        report.keep(&figure(cell), seen.figures())?;
    }
    promise(&all, report);
    Ok(())
}

/// The name of a cell's figures.
fn figure(cell: &Cell<'_>) -> String {
    format!("{} (failed, total, reconnected, truncated, ready at least, reloads)", cell.name())
}

/// Says what holds of all cells, if all of them were measured.
fn promise(cells: &[Cell<'_>], report: &mut Report) {
    let seen: Vec<Seen> =
        cells.iter().filter_map(|cell| report.kept(&figure(cell)).and_then(Seen::of)).collect();
    if seen.len() < cells.len() {
        println!("{} of {} cells were measured until now", seen.len(), cells.len());
        return;
    }
    let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
    let reloads = sum(|seen| seen.reloads as u64);
    let note = format!("of {} in {reloads} reloads of {} cells", sum(|seen| seen.total), seen.len());
    report.promise("reloads.failed", sum(|seen| seen.failed) as f64, note);
    report.promise("reloads.reconnects", sum(|seen| seen.reconnected) as f64, "");
    let ready = seen.iter().map(|seen| seen.ready).min().unwrap_or_default();
    report.promise("reloads.ready", ready as f64, "");
}

/// One cell: a home of its own.
fn reload(cell: &Cell<'_>, times: usize) -> Result<Seen> {
    let (skep, port) = (Skep::with_node(cell.node), Port::free());
    let start = Start::program("bench", fixture(cell.file)).port(port.number()).instances(WORKERS);
    let start = start.flags(["--balance", cell.balance]).flags(KILL_TIMEOUT);
    let is_ws = cell.app == "ws";
    skep.start(&if is_ws { start.flags(["--drain-websockets", "close"]) } else { start });
    let target = match cell.app {
        "https" => Target::Tls(port.address(), fixture("https/cert.pem")),
        _ => Target::Tcp(port.address()),
    };
    let loads = Loads::start(all_kinds(&target))?;
    let mut websockets = is_ws.then(|| NodeClient::websockets("ws", &port, WEBSOCKETS));
    loads.wait(PATIENCE);
    let readiness = Readiness::watch(&skep, "bench");
    for _ in 0..times {
        let (before, mark) = (skep.app("bench").pids(), loads.mark());
        let said = skep.run(["reload", "bench"]);
        let after = skep.app("bench").pids();
        if said.code != Some(0) || after.iter().any(|pid| before.contains(pid)) {
            bail!("a reload did not renew {before:?}, but {after:?}: {}{}", said.stdout, said.stderr);
        }
        // Each load went on through it, and is in full swing when the next one begins.
        loads.wait_since(&mark, PATIENCE);
        if let Some(client) = &mut websockets {
            client.wait();
        }
    }
    let (ready, _) = readiness.stop();
    let mut seen = Seen { ready, reloads: times, ..Seen::default() };
    loads.stop().iter().for_each(|counted| seen.add(cell, counted));
    if let Some(client) = websockets {
        seen.add_websockets(&client.finish());
    }
    if seen.failed > 0 {
        // Whether it was cut off, and what else went on.
        println!("  the last that happened:\n{}", skep.run(["events"]).stdout);
    }
    Ok(seen)
}

impl Seen {
    fn add(&mut self, cell: &Cell<'_>, counted: &Counted) {
        let report = &counted.report;
        self.failed += report.failures();
        self.total += report.count();
        self.truncated +=
            report.failures_of(Failure::Truncated) + report.failures_of(Failure::ResetMidResponse);
        // Over TLS nothing can migrate.
        if cell.app != "https" {
            self.reconnected += counted.reconnects();
        }
        if report.failures() > 0 {
            println!("\n  {}: {report}", counted.name);
        }
    }

    /// A connection that ended without a word had an echo to come, or was about to ask for one.
    fn add_websockets(&mut self, said: &serde_json::Value) {
        let closes = said["closes"].as_object().into_iter().flatten();
        let silent = closes.filter(|(code, _)| !["1000", "1001", "1012"].contains(&code.as_str()));
        let cut: u64 = silent.filter_map(|(_, count)| count.as_u64()).sum();
        let errors = said["errors"].as_array().map_or(0, Vec::len) as u64;
        self.failed += cut + errors;
        self.total += said["echoes"].as_u64().unwrap_or_default() + cut + errors;
        if cut + errors > 0 {
            println!("\n  WebSockets: {said}");
        }
    }

    fn figures(self) -> Vec<f64> {
        let Seen { failed, total, reconnected, truncated, ready, reloads } = self;
        [failed, total, reconnected, truncated, ready as u64, reloads as u64]
            .map(|figure| figure as f64)
            .into()
    }

    fn of(figures: &[f64]) -> Option<Seen> {
        let [failed, total, reconnected, truncated, ready, reloads] = figures else { return None };
        let [failed, total, reconnected, truncated] =
            [failed, total, reconnected, truncated].map(|it| *it as u64);
        Some(Seen {
            failed,
            total,
            reconnected,
            truncated,
            ready: *ready as usize,
            reloads: *reloads as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_can_be_chosen() {
        let nodes = [18, 26].map(|major| Node { major, bin: "/bin".into() });
        let all = cells(&nodes);
        let chosen = |node: Option<&str>, app: Option<&str>| {
            let owned = |name: Option<&str>| name.map(str::to_owned);
            let selection = Selection { reloads: 1, app: owned(app), node: owned(node), balance: None };
            all.iter().filter(|cell| selection.takes(cell)).count()
        };
        assert_eq!(chosen(None, None), 2 * 15);
        assert_eq!((chosen(Some("26"), None), chosen(Some("26"), Some("ws"))), (15, 3));
        assert_eq!(chosen(Some("19"), None), 0);
    }

    #[test]
    fn figures_are_read_as_they_were_written() {
        let seen = Seen { failed: 1, total: 2, reconnected: 3, truncated: 4, ready: 5, reloads: 6 };
        let again = Seen::of(&seen.figures()).unwrap();
        assert_eq!(seen.figures(), again.figures());
        assert!(Seen::of(&[1.0]).is_none());
    }
}
