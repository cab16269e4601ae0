//! Which lines were shown lately, so that after a lost connection only the missed ones follow.

use skep_api::{LogLine, Stream};
use std::collections::{BTreeMap, VecDeque};

/// How many of a file's last lines are remembered: enough to tell a repeated line from a repeated passage.
const REMEMBERED_LINES: usize = 32;

/// A file, as far as lines tell: instances that share one have no slot in lines of the past.
type Origin = (String, Option<u32>, Stream);

/// The last lines of each file.
#[derive(Debug, Default)]
pub(super) struct Recent {
    lines: BTreeMap<(String, Option<u32>, u8), VecDeque<Vec<u8>>>,
}

fn key((app, slot, stream): Origin) -> (String, Option<u32>, u8) {
    let stream = match stream {
        Stream::Out => 0,
        Stream::Err => 1,
    };
    (app, slot, stream)
}

impl Recent {
    /// Remembers a line that was shown.
    pub(super) fn note(&mut self, line: &LogLine) {
        // Under its slot and, for files that instances share, without it.
        let origins = if line.slot.is_some() { vec![line.slot, None] } else { vec![None] };
        for slot in origins {
            let lines = self.lines.entry(key((line.app.clone(), slot, line.stream))).or_default();
            if lines.len() == REMEMBERED_LINES {
                lines.pop_front();
            }
            lines.push_back(super::bytes_of(line));
        }
    }

    /// Those of `past`, the last lines of all files in their order, that were not shown.
    pub(super) fn missed(&self, past: Vec<LogLine>) -> Vec<LogLine> {
        let mut files: BTreeMap<(String, Option<u32>, u8), Vec<Vec<u8>>> = BTreeMap::new();
        for line in &past {
            let origin = key((line.app.clone(), line.slot, line.stream));
            files.entry(origin).or_default().push(super::bytes_of(line));
        }
        let mut shown: BTreeMap<_, usize> =
            files.iter().map(|(origin, file)| (origin.clone(), self.shown_of(origin, file))).collect();
        past.into_iter()
            .filter(|line| {
                let left = shown.get_mut(&key((line.app.clone(), line.slot, line.stream)));
                match left {
                    Some(left) if *left > 0 => {
                        *left -= 1;
                        false
                    }
                    Some(_) | None => true,
                }
            })
            .collect()
    }

    /// How many lines at the beginning of `file` were shown: up to the end of the longest passage that ends what was
    /// shown and stands in the file (the last one, if it stands there twice).
    fn shown_of(&self, origin: &(String, Option<u32>, u8), file: &[Vec<u8>]) -> usize {
        let Some(recent) = self.lines.get(origin) else { return 0 };
        let recent: Vec<&Vec<u8>> = recent.iter().collect();
        let common = |end: usize| {
            let backwards = file[..end].iter().rev().zip(recent.iter().rev());
            backwards.take_while(|(a, b)| a == *b).count()
        };
        let best = (1..=file.len()).map(|end| (common(end), end)).max().unwrap_or_default();
        if best.0 == 0 { 0 } else { best.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(slot: Option<u32>, text: &str) -> LogLine {
        LogLine {
            app: "web".into(),
            slot,
            worker: None,
            stream: Stream::Out,
            time_unix_ms: None,
            text: Some(text.into()),
            base64: None,
        }
    }

    fn check(shown: &[&str], past: &[&str]) -> Vec<String> {
        let mut recent = Recent::default();
        shown.iter().for_each(|text| recent.note(&line(Some(0), text)));
        let missed = recent.missed(past.iter().map(|text| line(Some(0), text)).collect());
        missed.into_iter().filter_map(|line| line.text).collect()
    }

    #[test]
    fn only_what_came_after_the_last_shown_line_is_missed() {
        assert_eq!(check(&["a", "b", "c"], &["b", "c", "d", "e"]), ["d", "e"]);
        assert!(check(&["a", "b"], &["a", "b"]).is_empty());
    }

    #[test]
    fn a_repeated_line_is_told_apart_by_those_before_it() {
        assert_eq!(check(&["a", "x", "b", "x"], &["b", "x", "c", "x", "d"]), ["c", "x", "d"]);
    }

    #[test]
    fn a_file_that_was_never_shown_or_is_new_is_missed_whole() {
        assert_eq!(check(&[], &["a", "b"]), ["a", "b"]);
        assert_eq!(check(&["z"], &["a", "b"]), ["a", "b"]);
    }

    #[test]
    fn instances_that_share_a_file_are_told_by_their_lines_alone() {
        let mut recent = Recent::default();
        recent.note(&line(Some(0), "a"));
        recent.note(&line(Some(1), "b"));
        let missed = recent.missed(vec![line(None, "a"), line(None, "b"), line(None, "c")]);
        assert_eq!(missed, [line(None, "c")]);
    }
}
