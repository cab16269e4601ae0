//! One of four workers is blocked for 300 ms about half of the time: what do the others' requests feel?

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use skep_sys::clock::boottime_ns;

use crate::Effort;
use crate::client::{Connection, latencies_ms};
use crate::report::{Report, Series};
use crate::subject::SPREADERS;

const WORKERS: usize = 4;
const CLIENTS: usize = 8;
/// As in the promise and in the measurements that it comes from (design: node-cluster-protocol.md, 3.3).
const BLOCK_MS: u64 = 300;
/// What a client waits between its requests. Without a pause there are so many requests a second that the few that meet
/// a blocked worker are fewer than one in a thousand, whoever distributes them.
const THINK: Duration = Duration::from_millis(5);

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut figures: Vec<[Series; 3]> = SPREADERS.iter().map(|_| Default::default()).collect();
    for _ in 0..effort.runs {
        for (subject, figures) in SPREADERS.iter().zip(&mut figures) {
            let running = subject.start("work.js", WORKERS)?;
            let mut latencies = load(running.port.address(), Duration::from_secs(effort.seconds))?;
            latencies.sort_by(f64::total_cmp);
            for (series, share) in figures.iter_mut().zip([0.5, 0.99, 0.999]) {
                series.push(latencies[((latencies.len() - 1) as f64 * share) as usize]);
            }
        }
    }
    for (subject, [p50, p99, p999]) in SPREADERS.iter().zip(&figures) {
        for (what, series) in [("p50", p50), ("p99", p99), ("p99.9", p999)] {
            report.series(&format!("{}, {what}", subject.name()), "ms", series);
        }
    }
    let ratio = report.ratio(&figures[0][2], &figures[1][2]);
    let (ours, theirs) = (figures[0][2].median(), figures[1][2].median());
    report.promise("blocked.p999", ratio, format!("{ours:.1} ms beside {theirs:.0} ms"));
    Ok(())
}

/// Latencies in milliseconds of short connections, while another client blocks one worker after the other.
fn load(address: SocketAddr, time: Duration) -> Result<Vec<f64>> {
    let end = boottime_ns() + time.as_nanos() as u64;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let blocker = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                Connection::open(address)?.get(&format!("/block?{BLOCK_MS}"), true)?;
                // As long a pause: one worker is blocked half of the time.
                thread::park_timeout(Duration::from_millis(BLOCK_MS));
            }
            Ok(())
        });
        let latencies = latencies_ms(CLIENTS, address, THINK, end);
        over.store(true, Ordering::Relaxed);
        blocker.join().expect("the blocker does not panic")?;
        latencies
    })
}
