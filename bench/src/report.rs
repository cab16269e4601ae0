//! Figures: printed raw, with their medians, and kept in `bench/results/`.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use skep_tests::tool;

use crate::Effort;
use crate::promises::promise;
use crate::results::{Measured, Results, shown};
use crate::subject::usual;

/// What was measured of one thing, once a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    pub(crate) values: Vec<f64>,
}

impl Series {
    pub(crate) fn one(value: f64) -> Self {
        Self { values: vec![value] }
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }
}

/// One benchmark's report.
#[derive(Debug)]
pub(crate) struct Report {
    bench: &'static str,
    results: Results,
}

/// What a benchmark in another language says, as JSON in its last line.
#[derive(Debug, Deserialize)]
struct Foreign {
    figures: BTreeMap<String, Vec<f64>>,
    promises: BTreeMap<String, Measured>,
}

impl Report {
    pub(crate) fn begin(bench: &'static str, machine: &BTreeMap<String, String>) -> Report {
        let results = Results {
            date: jiff::ZonedDateTime::now().date().to_string(),
            machine: machine.clone(),
            ..Results::default()
        };
        Report { bench, results }
    }

    /// Prints a series and keeps it; answers its median.
    pub(crate) fn series(&mut self, what: &str, unit: &str, series: &Series) -> f64 {
        let raw: Vec<String> = series.values.iter().map(|value| format!("{value:.2}")).collect();
        println!("{what:<52} median {:>10.2} {unit:<8} [{}]", series.median(), raw.join(" "));
        self.results.figures.insert(format!("{what} ({unit})"), series.values.clone());
        series.median()
    }

    /// Prints how many of how many failed, and keeps it.
    pub(crate) fn count(&mut self, what: &str, failed: u64, total: u64, more: &str) {
        println!("{what:<62} {failed:>6} failed of {total:>6} ({more})");
        self.results.figures.insert(format!("{what} (failed, total)"), vec![failed as f64, total as f64]);
    }

    /// What was measured earlier stays, unless it is measured anew.
    pub(crate) fn goes_on(&mut self) -> Result<()> {
        if let Some(last) = Results::last(self.bench)? {
            self.results.figures = last.figures;
        }
        Ok(())
    }

    /// Keeps figures that were printed otherwise, at once: what comes next may take hours.
    pub(crate) fn keep(&mut self, what: &str, figures: Vec<f64>) -> Result<()> {
        self.results.figures.insert(what.to_owned(), figures);
        self.results.keep(self.bench)
    }

    /// Figures of this run, or of earlier ones that it goes on.
    pub(crate) fn kept(&self, what: &str) -> Option<&[f64]> {
        self.results.figures.get(what).map(Vec::as_slice)
    }

    /// Says whether a promise is kept; `note` holds the figures behind it.
    pub(crate) fn promise(&mut self, key: &str, value: f64, note: impl Into<String>) {
        let promise = promise(key);
        assert_eq!(promise.bench(), self.bench, "a benchmark speaks for itself");
        let kept = if promise.limit.holds(value) { "kept  " } else { "BROKEN" };
        println!("{kept} {}: {} ({})", promise.what, shown(value), promise.limit);
        self.results.promises.insert(key.to_owned(), Measured { value, note: note.into() });
    }

    /// The ratio of two series, pair by pair (the runs are interleaved), as a median.
    pub(crate) fn ratio(&self, ours: &Series, theirs: &Series) -> f64 {
        let pairs = ours.values.iter().zip(&theirs.values).map(|(ours, theirs)| ours / theirs);
        Series { values: pairs.collect() }.median()
    }

    /// Runs a benchmark that is a Node.js program: its callers are. It prints for people, and what is to be kept as one
    /// line of JSON into the file that `RESULTS` names.
    pub(crate) fn node(&mut self, script: &str, effort: Effort) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let results = folder.path().join("results.json");
        let status = Command::new(usual().bin.join("node"))
            .arg(skep_tests::root().join(script))
            .env("ROUNDS", effort.runs.to_string())
            .env("SKEP_BIN", skep_tests::skep_binary())
            .env("RESULTS", &results)
            .status()
            .with_context(|| format!("cannot run {script}"))?;
        ensure!(status.success(), "{script} failed: {status}");
        let said = std::fs::read(&results).with_context(|| format!("{script} wrote no results"))?;
        let Foreign { figures, promises } = serde_json::from_slice(&said)?;
        self.results.figures.extend(figures);
        for (key, Measured { value, note }) in promises {
            self.promise(&key, value, note);
        }
        Ok(())
    }

    /// Writes the results.
    pub(crate) fn end(self) -> Result<()> {
        self.results.keep(self.bench)
    }
}

/// Where it is measured, and with which versions of what.
pub(crate) fn machine(effort: Effort) -> Result<BTreeMap<String, String>> {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    let cpu = read("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown");
    let machine = BTreeMap::from([
        ("kernel".to_owned(), read("/proc/sys/kernel/osrelease")?),
        ("processors".to_owned(), skep_sys::cpus::available().to_string()),
        ("cpu".to_owned(), model.to_owned()),
        ("load at begin".to_owned(), read("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned()),
        ("skep".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("profile".to_owned(), if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
        ("node".to_owned(), version(Command::new(usual().bin.join("node")).arg("--version"))),
        ("pm2".to_owned(), package_version("pm2/node_modules/pm2")?),
        ("forever".to_owned(), package_version("forever/node_modules/forever")?),
        ("redis".to_owned(), version(Command::new("redis-server").arg("--version"))),
        ("runs".to_owned(), effort.runs.to_string()),
    ]);
    for (name, value) in &machine {
        println!("{name:<13} {value}");
    }
    Ok(machine)
}

fn version(command: &mut Command) -> String {
    let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    output.unwrap_or_else(|error| format!("none ({error})"))
}

/// Of a package that `cargo xtask tools` installed.
fn package_version(folder: &str) -> Result<String> {
    let text = std::fs::read_to_string(tool(folder).join("package.json"))?;
    let package: serde_json::Value = serde_json::from_str(&text)?;
    Ok(package["version"].as_str().unwrap_or_default().to_owned())
}
