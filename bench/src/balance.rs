//! How evenly long connections are spread over four workers: the busiest beside the mean.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::Effort;
use crate::client::Connection;
use crate::report::{Limit, Report, Series};
use crate::subject::{Running, Subject};

const WORKERS: usize = 4;

const SUBJECTS: [Subject; 4] =
    [Subject::Skep("auto"), Subject::NodeRoundRobin, Subject::Skep("shared"), Subject::NodeShared];
/// Connections, and how uneven skep's exact round robin may be at most.
const SIZES: [(usize, f64); 3] = [(10, 1.2), (100, 1.02), (1000, 1.01)];

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    for (connections, limit) in SIZES {
        let mut figures: Vec<Series> = SUBJECTS.iter().map(|_| Series::default()).collect();
        for _ in 0..effort.runs {
            for (subject, series) in SUBJECTS.iter().zip(&mut figures) {
                series.push(unevenness(&subject.start("work.js", WORKERS)?, connections)?);
            }
        }
        for (subject, series) in SUBJECTS.iter().zip(&figures) {
            report.series(&format!("{connections} connections, {}", subject.name()), "max/mean", series);
        }
        let what = format!("busiest over mean of {connections} connections, skep");
        report.promise(&what, figures[0].median(), Limit::AtMost(limit));
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
