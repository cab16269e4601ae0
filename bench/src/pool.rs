//! Eight computations at any time: what do requests feel that only want to be answered?

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use skep_sys::clock::boottime_ns;

use crate::Effort;
use crate::client::{Connection, latencies_ms};
use crate::report::{Report, Series};
use crate::subject::Subject;

const WORKERS: usize = 2;
const COMPUTATIONS: usize = 8;
const CLIENTS: usize = 4;
/// The number whose Fibonacci number is computed: about half a second on the machine that this was written on. Several
/// of them wait for each other where there is no pool, and a client waits no longer than ten seconds.
const N: u32 = 38;
/// What a client waits between its requests.
const THINK: Duration = Duration::from_millis(5);

const APPS: [(&str, &str); 2] = [("pool", "compute-pool.js"), ("without", "compute.js")];

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut figures: Vec<[Series; 3]> = APPS.iter().map(|_| Default::default()).collect();
    for _ in 0..effort.runs {
        for ((_, app), [p50, p99, done]) in APPS.iter().zip(&mut figures) {
            let running = Subject::Skep("auto").start(app, WORKERS)?;
            let (mut latencies, computed) =
                load(running.port.address(), Duration::from_secs(effort.seconds))?;
            latencies.sort_by(f64::total_cmp);
            for (series, share) in [(p50, 0.5), (p99, 0.99)] {
                series.push(latencies[((latencies.len() - 1) as f64 * share) as usize]);
            }
            done.push(computed as f64 / effort.seconds as f64);
        }
    }
    for ((name, _), [p50, p99, done]) in APPS.iter().zip(&figures) {
        report.series(&format!("{name}, p50 of /"), "ms", p50);
        report.series(&format!("{name}, p99 of /"), "ms", p99);
        report.series(&format!("{name}, computations"), "/s", done);
    }
    let [with, without] = [0, 1].map(|at: usize| figures[at][1].median());
    report.promise("pool.p99", with, format!("{without:.0} ms without the pool"));
    Ok(())
}

/// Latencies in milliseconds of short connections beside computations, and how many of these came to an end.
fn load(address: SocketAddr, time: Duration) -> Result<(Vec<f64>, u64)> {
    let (over, computed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let compute = || -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                Connection::open(address)?.get(&format!("/compute?{N}"), true)?;
                if !over.load(Ordering::Relaxed) {
                    computed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        };
        let computations: Vec<_> = (0..COMPUTATIONS).map(|_| scope.spawn(compute)).collect();
        // Not before the first ones are under way: a pool's children start once.
        while computed.load(Ordering::Relaxed) == 0
            && !computations.iter().any(thread::ScopedJoinHandle::is_finished)
        {
            thread::park_timeout(THINK);
        }
        computed.store(0, Ordering::Relaxed);
        let end = boottime_ns() + time.as_nanos() as u64;
        let latencies = latencies_ms(CLIENTS, address, THINK, end);
        over.store(true, Ordering::Relaxed);
        for one in computations {
            one.join().expect("the client does not panic")?;
        }
        Ok((latencies?, computed.load(Ordering::Relaxed)))
    })
}
