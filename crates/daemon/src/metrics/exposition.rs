//! Prometheus's text format, version 0.0.4: families with help and type, samples with labels. Pure.

use std::fmt::Write;

/// What a family's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A text under construction.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
}

/// Labels of a sample, in order.
pub(crate) type Labels<'a> = [(&'a str, &'a str)];

impl Exposition {
    /// Begins a family; its samples follow at once, or it is left out.
    pub(crate) fn family<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        self.head(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, &labels, value);
        }
    }

    /// Begins a family whose samples are given one by one.
    pub(crate) fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {}", help.replace('\\', r"\\").replace('\n', r"\n")));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One sample.
    pub(crate) fn sample(&mut self, name: &str, labels: &Labels<'_>, value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
        }
    }

    /// A histogram's samples; `counts` are not added up, the last one is beyond all `bounds`.
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        labels: &Labels<'_>,
        bounds: impl Iterator<Item = f64>,
        counts: &[u64],
        sum: f64,
    ) {
        let bounds = bounds.map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
        let mut total = 0_u64;
        for (bound, count) in bounds.zip(counts) {
            total = total.saturating_add(*count);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &labels, total as f64);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, total as f64);
    }

    /// The whole text.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_help_and_type_and_labels_are_escaped() {
        let mut text = Exposition::default();
        text.family("a_total", Kind::Counter, "Some\nthing.", [(vec![("app", "we\"b\\\n")], 3.0)]);
        text.family("b", Kind::Gauge, "Nobody.", []);
        text.family("c", Kind::Gauge, "Bare.", [(vec![], 0.25)]);
        let expected = "# HELP a_total Some\\nthing.\n# TYPE a_total counter\na_total{app=\"we\\\"b\\\\\\n\"} 3\n\
                        # HELP c Bare.\n# TYPE c gauge\nc 0.25\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn a_histogram_adds_up_and_its_count_is_its_last_bucket() {
        let mut text = Exposition::default();
        text.histogram("t_seconds", &[("app", "web")], [0.001, 0.5].into_iter(), &[5, 2, 1], 1.5);
        let expected = "t_seconds_bucket{app=\"web\",le=\"0.001\"} 5\nt_seconds_bucket{app=\"web\",le=\"0.5\"} 7\n\
                        t_seconds_bucket{app=\"web\",le=\"+Inf\"} 8\nt_seconds_sum{app=\"web\"} 1.5\n\
                        t_seconds_count{app=\"web\"} 8\n";
        assert_eq!(text.finish(), expected);
    }
}
