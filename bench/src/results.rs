//! What was measured last, a file a benchmark in `bench/results/`, and the table of SPECIFICATION.md made of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::promises::{PROMISES, Promise};

/// One benchmark's last run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The day, `YYYY-MM-DD`.
    pub(crate) date: String,
    /// Machine, kernel and versions.
    pub(crate) machine: BTreeMap<String, String>,
    /// Raw figures of each series.
    pub(crate) figures: BTreeMap<String, Vec<f64>>,
    /// By a promise's key.
    pub(crate) promises: BTreeMap<String, Measured>,
}

/// The figure of a promise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) value: f64,
    /// The figures behind it, for people.
    pub(crate) note: String,
}

/// Begin and end of what is written into SPECIFICATION.md.
const BEGIN: &str = "<!-- written by cargo xtask bench, from bench/src/promises.rs and bench/results -->\n";
const END: &str = "<!-- end -->";

impl Results {
    fn file(bench: &str) -> PathBuf {
        skep_tests::root().join("bench/results").join(format!("{bench}.json"))
    }

    /// What a benchmark measured last; `None` before its first run.
    pub(crate) fn last(bench: &str) -> Result<Option<Results>> {
        let file = Self::file(bench);
        match std::fs::read(&file) {
            Ok(bytes) => {
                let results = serde_json::from_slice(&bytes);
                results.map(Some).with_context(|| format!("{} is not of this version", file.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    pub(crate) fn keep(&self, bench: &str) -> Result<()> {
        let file = Self::file(bench);
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::create_dir_all(file.parent().context("the results have a folder")?)?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// A promise and what was measured of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) promise: &'static Promise,
    /// The last figure; `None` if there was never one.
    pub(crate) last: Option<Measured>,
    /// Its day.
    date: String,
}

impl Row {
    /// Whether the promise is kept; a figure that is missing keeps nothing.
    pub(crate) fn is_kept(&self) -> bool {
        self.last.as_ref().is_some_and(|last| self.promise.limit.holds(last.value))
    }

    /// One line of `--check`.
    pub(crate) fn verdict(&self) -> String {
        let Promise { what, beside, limit, .. } = self.promise;
        let (word, value) = match &self.last {
            None => ("MISSING", "not measured".to_owned()),
            Some(last) => (if self.is_kept() { "kept" } else { "BROKEN" }, shown(last.value)),
        };
        format!("{word:<8} {what} beside {beside}: {value} ({limit})")
    }
}

/// Every promise, with what was measured of it.
pub(crate) fn measured() -> Result<Vec<Row>> {
    let mut all: BTreeMap<&str, Option<Results>> = BTreeMap::new();
    let mut found = Vec::new();
    for promise in PROMISES {
        let bench = promise.bench();
        if !all.contains_key(bench) {
            all.insert(bench, Results::last(bench)?);
        }
        let results = all[bench].as_ref();
        let last = results.and_then(|results| results.promises.get(promise.key).cloned());
        let date = results.map(|results| results.date.clone()).unwrap_or_default();
        found.push(Row { promise, last, date });
    }
    Ok(found)
}

/// Writes the table of SPECIFICATION.md anew.
pub(crate) fn write_specification() -> Result<()> {
    let file = skep_tests::root().join("SPECIFICATION.md");
    let text = std::fs::read_to_string(&file)?;
    let new = replaced(&text, &table(&measured()?))?;
    std::fs::write(&file, new).with_context(|| format!("cannot write {}", file.display()))
}

fn replaced(text: &str, table: &str) -> Result<String> {
    let marks = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = marks.context("SPECIFICATION.md has lost the marks of the benchmarks' table")?;
    Ok(format!("{head}{BEGIN}{table}{END}{tail}"))
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from("| promise | beside | limit | last | measured |\n|---|---|---|---|---|\n");
    for row in rows {
        let Promise { what, beside, limit, .. } = row.promise;
        let (value, date) = match &row.last {
            None => ("not measured".to_owned(), String::new()),
            Some(Measured { value, note }) => {
                let value = shown(*value);
                let value = if row.is_kept() { value } else { format!("**{value}**") };
                let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
                (format!("{value}{note}"), format!("`{}` {}", row.promise.bench(), row.date))
            }
        };
        table.push_str(&format!("| {what} | {beside} | {limit} | {value} | {date} |\n"));
    }
    table
}

/// Three digits that matter.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specification_says_what_is_promised_and_what_was_measured_last() {
        let text = std::fs::read_to_string(skep_tests::root().join("SPECIFICATION.md")).unwrap();
        let expected = replaced(&text, &table(&measured().unwrap())).unwrap();
        assert!(text == expected, "run `cargo xtask bench --table` and commit SPECIFICATION.md:\n{expected}");
    }

    #[test]
    fn a_broken_promise_stands_out() {
        let promise = PROMISES.iter().find(|promise| promise.key == "footprint.empty").unwrap();
        let row = |last| table(&[Row { promise, last, date: "2026-11-27".to_owned() }]);
        let of = |value| row(Some(Measured { value, note: "PM2 63".to_owned() }));
        assert!(of(6.9).contains("| at most 6 | **6.90** (PM2 63) |"), "{}", of(6.9));
        assert!(of(5.5).contains("| at most 6 | 5.50 (PM2 63) |"), "{}", of(5.5));
        assert!(row(None).contains("| not measured |"));
    }

    #[test]
    fn a_check_tells_what_is_kept_broken_and_missing() {
        let row = |key: &str, value: Option<f64>| {
            let last = value.map(|value| Measured { value, note: String::new() });
            let promise = PROMISES.iter().find(|promise| promise.key == key).unwrap();
            let row = Row { promise, last, date: String::new() };
            (row.verdict().split(' ').next().unwrap().to_owned(), row.is_kept())
        };
        // At most 6; exactly 0; at least 0.97.
        for (key, good, bad) in [
            ("footprint.empty", 6.0, 6.01),
            ("drops.reload", 0.0, 1.0),
            ("throughput.keepalive", 0.97, 0.969),
        ] {
            assert_eq!(row(key, Some(good)), ("kept".to_owned(), true), "{key}");
            assert_eq!(row(key, Some(bad)), ("BROKEN".to_owned(), false), "{key}");
            assert_eq!(row(key, None), ("MISSING".to_owned(), false), "{key}");
        }
        assert!(!row("drops.reload", Some(f64::NAN)).1, "a figure that is none keeps nothing");
    }

    #[test]
    fn keys_are_unique_and_name_their_benchmark() {
        let mut keys: Vec<_> = PROMISES.iter().map(|promise| promise.key).collect();
        assert!(keys.iter().all(|key| key.split('.').count() == 2), "{keys:?}");
        keys.sort_unstable();
        let count = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
