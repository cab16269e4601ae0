//! How evenly long connections are spread over four workers: the busiest beside the mean.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::Effort;
use crate::client::Connection;
use crate::report::{Report, Series};
use crate::subject::{Running, SPREADERS};

const WORKERS: usize = 4;

/// Connections, and the promise about them.
const SIZES: [(usize, &str); 3] = [(10, "balance.10"), (100, "balance.100"), (1000, "balance.1000")];

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    for (connections, key) in SIZES {
        let mut figures: Vec<Series> = SPREADERS.iter().map(|_| Series::default()).collect();
        for _ in 0..effort.runs {
            for (subject, series) in SPREADERS.iter().zip(&mut figures) {
                series.push(unevenness(&subject.start("work.js", WORKERS)?, connections)?);
            }
        }
        for (subject, series) in SPREADERS.iter().zip(&figures) {
            report.series(&format!("{connections} connections, {}", subject.name()), "max/mean", series);
        }
        let theirs = figures[1].median();
        report.promise(key, figures[0].median(), format!("Node's cluster {theirs:.2}"));
    }
    Ok(())
}

fn unevenness(running: &Running, connections: usize) -> Result<f64> {
    let mut open = Vec::new();
    let mut shares: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..connections {
        let mut connection = Connection::open(running.port.address())?;
        *shares.entry(connection.get("/", false)?).or_default() += 1;
        open.push(connection);
    }
    let busiest = shares.values().max().copied().unwrap_or_default();
    Ok(busiest as f64 / (connections as f64 / WORKERS as f64))
}
