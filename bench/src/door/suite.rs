//! What `redis-benchmark` measures when nobody tells it what, one command at a time and pipelined.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Server;
use crate::Effort;
use crate::report::{Report, Series};

/// Its tests but `lrange_300` to `lrange_600`, which are `lrange_100` again and take as long as all others.
const TESTS: &str =
    "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset";
/// What it is called, commands at once, commands of each test for a second of effort, the promise about it.
const WAYS: [(&str, u32, u64, &str); 2] =
    [("plain", 1, 8_000, "door.suite"), ("16 at once", 16, 70_000, "door.suite16")];

pub(super) fn run(ours: &Server, theirs: &Server, effort: Effort, report: &mut Report) -> Result<()> {
    for (way, at_once, count, promise) in WAYS {
        let mut figures: BTreeMap<String, [Series; 2]> = BTreeMap::new();
        for _ in 0..effort.runs {
            for (index, server) in [ours, theirs].into_iter().enumerate() {
                for (test, rate) in measure(server, at_once, count * effort.seconds)? {
                    figures.entry(test).or_default()[index].push(rate);
                }
            }
        }
        let mut ratios: Vec<(f64, &str)> = Vec::new();
        for (test, [door, redis]) in &figures {
            report.series(&format!("{test}, {way}: door"), "ops/s", door);
            report.series(&format!("{test}, {way}: Redis"), "ops/s", redis);
            ratios.push((report.ratio(door, redis), test));
        }
        let (mean, note) = super::mean(ratios)?;
        report.promise(promise, mean, note);
    }
    Ok(())
}

/// Operations a second of each test.
fn measure(server: &Server, at_once: u32, count: u64) -> Result<Vec<(String, f64)>> {
    let output = Command::new("redis-benchmark")
        .arg("-s")
        .arg(&server.socket)
        .args(["-n", &count.to_string(), "-P", &at_once.to_string(), "-t", TESTS, "--csv"])
        .stderr(Stdio::null())
        .output()
        .context("redis-benchmark: install redis-tools with apt-get")?;
    let told = String::from_utf8_lossy(&output.stdout);
    // "SET","127011.00",... behind a line of headings; the name may have a comma in it.
    let row = |line: &str| {
        let mut words = line.strip_prefix('"')?.split("\",\"");
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    Ok(told.lines().filter_map(row).collect())
}
