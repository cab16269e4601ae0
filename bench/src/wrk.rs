//! `wrk`, the load generator.

use std::process::Command;

use anyhow::{Context, Result, bail};
use skep_tests::Port;

/// Connections that are open at a time.
const CONNECTIONS: &str = "64";

/// What it measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
}

/// How clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// One for many requests.
    KeepAlive,
    /// One a request.
    Short,
}

pub(crate) fn run(port: &Port, connections: Connections, seconds: u64) -> Result<Measured> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c", CONNECTIONS, "-d", &format!("{seconds}s")]);
    command.arg("-s").arg(skep_tests::root().join("bench/wrk.lua"));
    if connections == Connections::Short {
        command.args(["-H", "Connection: close"]);
    }
    let url = format!("http://127.0.0.1:{}/", port.number());
    let output =
        command.arg(url).output().context("wrk is missing: `cargo xtask tools bench` installs it")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("measured "));
    let figures: Vec<f64> =
        line.unwrap_or_default().split(' ').filter_map(|figure| figure.parse().ok()).collect();
    let [requests, per_second, p50_ms, p99_ms, p999_ms] = figures[..] else {
        bail!("wrk said something else:\n{text}");
    };
    Ok(Measured { requests, per_second, p50_ms, p99_ms, p999_ms })
}
