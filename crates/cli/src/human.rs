//! Numbers as people like to read them in a narrow column.

/// `45s`, `12m`, `5h`, `3d`: the largest unit that fits, as `ps` and PM2 do.
pub(crate) fn uptime(ms: u64) -> String {
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
pub(crate) fn memory(bytes: u64) -> String {
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
pub(crate) fn percent(value: f32) -> String {
    if value < 0.05 {
        "0%".to_owned()
    } else if value < 100.0 {
        format!("{value:.1}%")
    } else {
        format!("{value:.0}%")
    }
}

/// `1 worker`, `2 workers`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
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
}
