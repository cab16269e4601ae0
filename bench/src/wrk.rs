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
    pub(crate) p99_ms: f64,
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
    command.args(["-t1", "-c", CONNECTIONS, "--latency", "-d", &format!("{seconds}s")]);
    if connections == Connections::Short {
        command.args(["-H", "Connection: close"]);
    }
    let url = format!("http://127.0.0.1:{}/", port.number());
    let output =
        command.arg(url).output().context("wrk is missing: `cargo xtask tools bench` installs it")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word_after = |label: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .and_then(|rest| rest.split_whitespace().next())
    };
    let requests = text
        .lines()
        .find(|line| line.contains(" requests in "))
        .and_then(|line| line.split_whitespace().next()?.parse().ok());
    let per_second = word_after("Requests/sec:").and_then(|word| word.parse().ok());
    let p99_ms = word_after("99%").and_then(milliseconds);
    match (requests, per_second, p99_ms) {
        (Some(requests), Some(per_second), Some(p99_ms)) => Ok(Measured { requests, per_second, p99_ms }),
        _ => bail!("wrk said something else:\n{text}"),
    }
}

fn milliseconds(word: &str) -> Option<f64> {
    let digits = word.trim_end_matches(|c: char| c.is_alphabetic());
    let factor = match &word[digits.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_all_of_wrks_units() {
        assert_eq!(milliseconds("850.00us"), Some(0.85));
        assert_eq!(milliseconds("2.50ms"), Some(2.5));
        assert_eq!(milliseconds("1.20s"), Some(1200.0));
        assert_eq!(milliseconds("1.20h"), None);
    }
}
