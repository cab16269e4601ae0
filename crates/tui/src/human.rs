//! Figures as people like to read them in a narrow column, here and in the tables of the command line.

use skep_api::VitalsView;

/// `45s`, `12m`, `5h`, `3d`: the largest unit that fits, as `ps` and PM2 do.
pub fn uptime(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `512K`, `45.3M`, `1.2G`, counted in powers of 1024 as `--max-memory-restart` is.
pub fn memory(bytes: u64) -> String {
    const UNITS: &[(&str, u64)] = &[("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    for (unit, factor) in UNITS {
        if bytes >= *factor {
            // Tenths in integers: a size is never rounded up over its unit.
            let tenths = bytes / (factor / 10).max(1);
            let (whole, tenth) = (bytes / factor, (bytes % factor) * 10 / factor);
            return if tenths >= 1_000 { format!("{whole}{unit}") } else { format!("{whole}.{tenth}{unit}") };
        }
    }
    format!("{bytes}B")
}

/// `0%`, `3.4%`, `210%`.
pub fn percent(value: f32) -> String {
    if value < 0.05 {
        "0%".to_owned()
    } else if value < 100.0 {
        format!("{value:.1}%")
    } else {
        format!("{value:.0}%")
    }
}

/// `1 worker`, `2 workers`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// How late the event loop is: the 99th percentile where it was measured, else how long the worker took to answer.
pub fn lateness_ms(vitals: &VitalsView) -> Option<f64> {
    vitals.event_loop_delay_p99_ms.or(vitals.reply_ms)
}

/// `0.4ms`, `12ms`, `3.2s`.
pub fn span(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1}ms")
    } else if ms < 1_000.0 {
        format!("{ms:.0}ms")
    } else {
        format!("{:.1}s", ms / 1e3)
    }
}

/// A share as a percentage.
pub fn share(share: f64) -> String {
    percent((share * 100.0) as f32)
}

/// `0.3`, `12`, `3400`.
pub fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// What a worker tells of its inside, in lines of a description: title and value.
pub fn vitals(vitals: &VitalsView) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let mut delay: Vec<String> = Vec::new();
    if let Some(ms) = vitals.reply_ms {
        delay.push(format!("answered in {}", span(ms)));
    }
    for (name, value) in [
        ("mean", vitals.event_loop_delay_ms),
        ("p99", vitals.event_loop_delay_p99_ms),
        ("most", vitals.event_loop_delay_max_ms),
    ] {
        delay.extend(value.map(|ms| format!("{name} {}", span(ms))));
    }
    delay.extend(vitals.event_loop_utilization.map(|value| format!("busy {}", share(value))));
    lines.push(("event loop", delay.join(", ")));
    if let (Some(used), Some(total)) = (vitals.heap_used_bytes, vitals.heap_total_bytes) {
        lines.push(("heap", format!("{} of {}", memory(used), memory(total))));
    }
    if let Some(requests) = vitals.http_requests {
        let mut http = vec![format!("{requests} requests")];
        http.extend(vitals.http_requests_per_second.map(|value| format!("{} a second", rate(value))));
        http.extend(vitals.http_latency_ms.map(|ms| format!("{} on average", span(ms))));
        http.extend(vitals.http_errors.map(|errors| format!("{errors} failed")));
        lines.push(("http", http.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_use_the_largest_unit_that_fits() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (59_999, "59s"),
            (60_000, "1m"),
            (7_200_000, "2h"),
            (260_000_000, "3d"),
        ] {
            assert_eq!(uptime(ms), text);
        }
    }

    #[test]
    fn sizes_are_counted_as_the_memory_limit_is() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (47_500_000, "45.2M"),
            (200 << 20, "200M"),
            (3 << 29, "1.5G"),
            (u64::MAX, "16777215T"),
        ] {
            assert_eq!(memory(bytes), text);
        }
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(3.44), "3.4%");
        assert_eq!(percent(210.4), "210%");
        assert_eq!(count(1, "worker"), "1 worker");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [span(0.04), span(9.96), span(250.4), span(3_210.0)],
            ["0.0ms", "10.0ms", "250ms", "3.2s"]
        );
        assert_eq!([rate(0.0), rate(0.31), rate(3_400.4)], ["0", "0.3", "3400"]);
        assert_eq!(share(0.256), "25.6%");
    }

    #[test]
    fn a_worker_that_does_not_answer_has_one_line() {
        let late = VitalsView { reply_ms: Some(700.0), ..VitalsView::default() };
        assert_eq!(vitals(&late), [("event loop", "answered in 700ms".to_owned())]);
        assert_eq!(lateness_ms(&late), Some(700.0));
    }
}
