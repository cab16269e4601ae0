//! Figures: printed raw, with their medians, and written to `bench/results/`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

/// What was measured of one thing, once a run.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Series {
    pub(crate) values: Vec<f64>,
}

impl Series {
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

/// Which way a promise goes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Limit::AtMost(limit) => value <= limit,
            Limit::AtLeast(limit) => value >= limit,
        }
    }
}

#[derive(Debug, Serialize)]
struct Promise {
    what: String,
    value: f64,
    limit: Limit,
    kept: bool,
}

/// Everything of one invocation.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: BTreeMap<String, String>,
    figures: BTreeMap<String, Series>,
    promises: Vec<Promise>,
    #[serde(skip)]
    section: String,
}

impl Report {
    /// Says where it is measured.
    pub(crate) fn begin() -> Result<Report> {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        let cpu = read("/proc/cpuinfo")?;
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown");
        let machine = BTreeMap::from([
            ("kernel".to_owned(), read("/proc/sys/kernel/osrelease")?),
            ("processors".to_owned(), skep_sys::cpus::available().to_string()),
            ("cpu".to_owned(), model.to_owned()),
            ("skep".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("profile".to_owned(), if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
        ]);
        for (name, value) in &machine {
            println!("{name:<11} {value}");
        }
        let promises = Vec::new();
        Ok(Report { machine, figures: BTreeMap::new(), promises, section: String::new() })
    }

    pub(crate) fn section(&mut self, name: &str, what: &str) {
        println!("\n== {name}: {what}");
        self.section = name.to_owned();
    }

    /// Prints a series and keeps it; answers its median.
    pub(crate) fn series(&mut self, what: &str, unit: &str, series: &Series) -> f64 {
        let raw: Vec<String> = series.values.iter().map(|value| format!("{value:.2}")).collect();
        println!("{what:<46} median {:>10.2} {unit:<8} [{}]", series.median(), raw.join(" "));
        self.figures.insert(format!("{}: {what} ({unit})", self.section), series.clone());
        series.median()
    }

    /// Prints how many of how many failed, and keeps it.
    pub(crate) fn count(&mut self, what: &str, failed: u64, total: u64, more: &str) {
        println!("{what:<62} {failed:>6} failed of {total:>6} ({more})");
        let values = vec![failed as f64, total as f64];
        self.figures.insert(format!("{}: {what} (failed, total)", self.section), Series { values });
    }

    /// Says whether a promise of SPECIFICATION.md is kept.
    pub(crate) fn promise(&mut self, what: &str, value: f64, limit: Limit) {
        let kept = limit.holds(value);
        let (word, bound) = match limit {
            Limit::AtMost(bound) => ("at most", bound),
            Limit::AtLeast(bound) => ("at least", bound),
        };
        println!("{} {what}: {value:.3} ({word} {bound})", if kept { "kept  " } else { "BROKEN" });
        self.promises.push(Promise { what: what.to_owned(), value, limit, kept });
    }

    /// The ratio of two series, pair by pair (the runs are interleaved), as a median.
    pub(crate) fn ratio(&self, ours: &Series, theirs: &Series) -> f64 {
        let pairs = ours.values.iter().zip(&theirs.values).map(|(ours, theirs)| ours / theirs);
        Series { values: pairs.collect() }.median()
    }

    /// Writes the results; answers how many promises are broken.
    pub(crate) fn end(&self) -> Result<usize> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("latest.json");
        std::fs::write(&file, serde_json::to_vec_pretty(self)?).context("writing the results")?;
        println!("\nwritten to {}", file.display());
        Ok(self.promises.iter().filter(|promise| !promise.kept).count())
    }
}
