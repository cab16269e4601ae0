//! The names of rotated files, and which of them stay: pure.
//!
//! `app-out.log` becomes `app-out__2026-11-23_00-00-00.log`, as pm2-logrotate names it, then `….log.gz` (or
//! `….log.zst`); while that is being made it is `….log.gz.part`. A second file of the same second is `…_00-00-00_1.log`.
//! Who asked for another date in the names (`dateFormat`) has it; files with the usual one are still known then.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jiff::tz::TimeZone;

use crate::{Codec, DateFormat, Rotation};

/// pm2-logrotate's `dateFormat`, when nothing else was asked for.
static USUAL: LazyLock<DateFormat> = LazyLock::new(|| DateFormat::new("YYYY-MM-DD_HH-mm-ss"));

/// When a file was set aside: sorts from old to new.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    /// What `date` says, as if its clock were UTC's: comparable, though no real time.
    read_ns: i64,
    number: u32,
    date: String,
}

/// How far a rotated file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// As it was written.
    Plain,
    /// Compressed, complete.
    Compressed(Codec),
    /// A compression that was cut short, or is going on.
    Part,
}

/// A rotated file on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotated {
    pub(crate) path: PathBuf,
    pub(crate) age: Age,
    pub(crate) state: State,
    pub(crate) bytes: u64,
}

// === impl Age ===

impl Age {
    /// The age of a file set aside at `at`, named by `date`: always younger than `newest`, even if the clock was set back.
    pub(crate) fn after(newest: Option<&Self>, date: Option<&DateFormat>, at: &jiff::ZonedDateTime) -> Self {
        let asked = date.and_then(|date| Self::of(date, at));
        // The usual date can be read back at any time that jiff can name.
        let next = asked.or_else(|| Self::of(&USUAL, at)).unwrap_or_else(|| Self {
            read_ns: i64::MIN,
            number: 0,
            date: String::new(),
        });
        match newest {
            Some(newest) if newest.read_ns >= next.read_ns => {
                Self { number: newest.number + 1, ..newest.clone() }
            }
            _ => next,
        }
    }

    fn of(format: &DateFormat, at: &jiff::ZonedDateTime) -> Option<Self> {
        let mut text = Vec::new();
        format.write(at, &mut text);
        let date = String::from_utf8(text).ok().filter(|date| !date.contains(['/', '\0']))?;
        let (read_ns, read) = format.read(date.as_bytes(), &TimeZone::UTC)?;
        (read == date.len() && !date.contains("__")).then_some(Self { read_ns, number: 0, date })
    }

    /// The plain file's path.
    pub(crate) fn path(&self, live: &Path) -> PathBuf {
        let (stem, extension) = parts(live);
        let mut name = stem.to_vec();
        name.extend_from_slice(b"__");
        name.extend_from_slice(self.date.as_bytes());
        if self.number > 0 {
            name.extend_from_slice(format!("_{}", self.number).as_bytes());
        }
        name.extend_from_slice(extension);
        live.with_file_name(OsString::from_vec(name))
    }

    /// Read as the date that was asked for, else as the usual one.
    fn read(text: &[u8], date: Option<&DateFormat>) -> Option<Self> {
        date.into_iter().chain([&*USUAL]).find_map(|format| {
            let (read_ns, read) = format.read(text, &TimeZone::UTC)?;
            let number = match std::str::from_utf8(&text[read..]).ok()? {
                "" => 0,
                rest => rest.strip_prefix('_')?.parse().ok()?,
            };
            let date = std::str::from_utf8(&text[..read]).ok()?.to_owned();
            Some(Self { read_ns, number, date })
        })
    }
}

/// The file name without its extension, and the extension with its dot.
fn parts(live: &Path) -> (&[u8], &[u8]) {
    let name = live.file_name().map_or(&b""[..], |name| name.as_bytes());
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, b""),
    }
}

/// The rotated files of each of `lives`, each with the date in its names if that is not the usual one, from one reading
/// of each directory; each list from old to new.
pub(crate) fn find(lives: &[(&Path, Option<&DateFormat>)]) -> io::Result<Vec<Vec<Rotated>>> {
    let mut found: Vec<Vec<Rotated>> = lives.iter().map(|_| Vec::new()).collect();
    let mut by_directory: HashMap<&Path, HashMap<&[u8], Vec<usize>>> = HashMap::new();
    for (at, (live, _)) in lives.iter().enumerate() {
        let directory = live.parent().unwrap_or(Path::new("/"));
        by_directory.entry(directory).or_default().entry(parts(live).0).or_default().push(at);
    }
    for (directory, stems) in by_directory {
        let entries = match std::fs::read_dir(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            // The date has no `__`, a stem may.
            let Some(at) = memchr::memmem::rfind(name.as_bytes(), b"__") else { continue };
            for &live in stems.get(&name.as_bytes()[..at]).into_iter().flatten() {
                let (path, date) = lives[live];
                let Some((age, state)) = read_name(&name.as_bytes()[at + 2..], parts(path).1, date) else {
                    continue;
                };
                let bytes = match entry.metadata() {
                    Ok(seen) => seen.len(),
                    // Removed meanwhile.
                    Err(_) => continue,
                };
                found[live].push(Rotated { path: entry.path(), age, state, bytes });
            }
        }
    }
    for list in &mut found {
        list.sort_by(|a, b| (&a.age, a.state).cmp(&(&b.age, b.state)));
    }
    Ok(found)
}

fn read_name(after_stem: &[u8], extension: &[u8], date: Option<&DateFormat>) -> Option<(Age, State)> {
    let whole = after_stem.strip_suffix(b".part").unwrap_or(after_stem);
    let compressed = Codec::ALL.into_iter().find_map(|codec| {
        let rest = whole.strip_suffix(codec.ending().as_bytes())?.strip_suffix(b".")?;
        Some((rest, codec))
    });
    let (rest, state) = match compressed {
        Some((rest, _)) if whole.len() < after_stem.len() => (rest, State::Part),
        Some((rest, codec)) => (rest, State::Compressed(codec)),
        None => (after_stem, State::Plain),
    };
    Some((Age::read(rest.strip_suffix(extension)?, date)?, state))
}

/// What to do with a group's rotated files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Too many, too much, or left by a compression that was cut short.
    pub(crate) remove: Vec<PathBuf>,
    /// Compressed already: to be removed when the compressed file has surely reached the disk.
    pub(crate) redundant: Vec<PathBuf>,
    /// To be compressed, oldest first.
    pub(crate) compress: Vec<(PathBuf, Codec)>,
}

/// Decides for the logs of one group, each with its rotated files from old to new. `busy` is being compressed now.
pub(crate) fn plan(logs: &[(&Rotation, Vec<Rotated>)], busy: Option<&Path>) -> Plan {
    let mut plan = Plan::default();
    let mut kept = Vec::new();
    for (rotation, files) in logs {
        let mut ages: Vec<&Age> = files.iter().filter(|f| f.state != State::Part).map(|f| &f.age).collect();
        ages.dedup();
        let oldest_kept = ages.len().saturating_sub(rotation.count as usize);
        let too_old = |age: &Age| ages.get(oldest_kept).is_none_or(|&oldest| age < oldest);
        for file in files {
            let compressed =
                || files.iter().any(|f| matches!(f.state, State::Compressed(_)) && f.age == file.age);
            if file.state == State::Part {
                if busy != Some(&file.path) {
                    plan.remove.push(file.path.clone());
                }
            } else if too_old(&file.age) {
                plan.remove.push(file.path.clone());
            } else {
                kept.push((file, file.state == State::Plain && compressed(), *rotation));
            }
        }
    }
    // What is there twice goes first, then the oldest.
    kept.sort_by(|a, b| (!a.1, &a.0.age).cmp(&(!b.1, &b.0.age)));
    let mut total: u64 = kept.iter().map(|(file, ..)| file.bytes).sum();
    for (file, redundant, rotation) in kept {
        if total > rotation.total_bytes {
            total -= file.bytes;
            plan.remove.push(file.path.clone());
        } else if redundant {
            plan.redundant.push(file.path.clone());
        } else if file.state == State::Plain
            && let Some(codec) = rotation.compress
        {
            plan.compress.push((file.path.clone(), codec));
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> jiff::ZonedDateTime {
        format!("{text}[UTC]").parse().expect("a date")
    }

    fn file(name: &str, bytes: u64) -> Rotated {
        let (age, state) = read_name(name.as_bytes(), b".log", None).expect("a rotated name");
        Rotated { path: PathBuf::from(name), age, state, bytes }
    }

    fn planned(rotation: &Rotation, files: Vec<Rotated>) -> [Vec<String>; 3] {
        let plan = plan(&[(rotation, files)], None);
        let compress = plan.compress.into_iter().map(|(path, _)| path).collect();
        [plan.remove, plan.redundant, compress]
            .map(|paths| paths.iter().map(|p| p.display().to_string()).collect())
    }

    #[test]
    fn names_are_pm2_logrotates() {
        let live = Path::new("/logs/app-out.log");
        let first = Age::after(None, None, &at("2026-11-23T00:00:00Z"));
        assert_eq!(first.path(live), Path::new("/logs/app-out__2026-11-23_00-00-00.log"));
        let second = Age::after(Some(&first), None, &at("2026-11-23T00:00:00Z"));
        assert_eq!(second.path(live), Path::new("/logs/app-out__2026-11-23_00-00-00_1.log"));
        let set_back = Age::after(Some(&second), None, &at("2026-11-22T23:00:00Z"));
        assert!(set_back > second && second > first);
        assert_eq!(
            read_name(b"2026-11-23_00-00-00_2.log.gz", b".log", None),
            Some((set_back.clone(), State::Compressed(Codec::Gzip)))
        );
        let zstd = read_name(b"2026-11-23_00-00-00_2.log.zst", b".log", None);
        assert_eq!(zstd, Some((set_back.clone(), State::Compressed(Codec::Zstd))));
        assert_eq!(
            read_name(b"2026-11-23_00-00-00_2.log.zst.part", b".log", None),
            Some((set_back, State::Part))
        );
        assert_eq!(
            Age::after(None, None, &at("2026-11-23T00:00:00Z")).path(Path::new("/l/plain")),
            Path::new("/l/plain__2026-11-23_00-00-00")
        );
    }

    #[test]
    fn names_have_the_date_that_was_asked_for_and_others_still_count() {
        let live = Path::new("/logs/app.log");
        let day = DateFormat::new("YYYY.MM.DD");
        let first = Age::after(None, Some(&day), &at("2026-11-23T07:00:00Z"));
        assert_eq!(first.path(live), Path::new("/logs/app__2026.11.23.log"));
        let second = Age::after(Some(&first), Some(&day), &at("2026-11-23T19:00:00Z"));
        assert_eq!(second.path(live), Path::new("/logs/app__2026.11.23_1.log"));
        let usual = read_name(b"2026-11-23_00-00-00.log", b".log", Some(&day)).expect("known").0;
        let after = Age::after(Some(&usual), Some(&day), &at("2026-11-24T00:00:00Z"));
        assert!(usual < after && first <= second && second < after);
        assert_eq!(
            read_name(b"2026.11.23_1.log.gz", b".log", Some(&day)),
            Some((second, State::Compressed(Codec::Gzip)))
        );
        assert_eq!(read_name(b"2026.11.23_1.log.gz", b".log", None), None);
    }

    #[test]
    fn a_date_that_cannot_be_read_back_names_no_file() {
        for format in ["HH-mm", "YYYY/MM/DD", "YYYY__MM__DD", "[never]"] {
            let age = Age::after(None, Some(&DateFormat::new(format)), &at("2026-11-23T01:02:03Z"));
            assert_eq!(
                age.path(Path::new("/l/a.log")),
                Path::new("/l/a__2026-11-23_01-02-03.log"),
                "{format}"
            );
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "2026-11-23.log",
            "2026-11-23_00-00-00.txt",
            "x026-11-23_00-00-00.log",
            "2026-11-23_00-00-00_.log",
            "",
        ] {
            assert_eq!(read_name(name.as_bytes(), b".log", None), None, "{name}");
        }
    }

    #[test]
    fn a_directory_is_read_once_for_all_its_logs() {
        let directory = tempfile::tempdir().expect("tempdir");
        for name in [
            "a-out__2026-01-01_00-00-00.log.gz",
            "a-out__2026-01-01_00-00-00_10.log",
            "a-out__2026-01-01_00-00-00_9.log",
            "a-out-1__2026-01-01_00-00-00.log",
            "a-out__x__2026-01-01_00-00-00.log",
            "a-out.log",
        ] {
            std::fs::write(directory.path().join(name), b"12345").expect("write");
        }
        let lives = [
            directory.path().join("a-out.log"),
            directory.path().join("a-out-1.log"),
            "/nowhere/x.log".into(),
        ];
        let found = find(&lives.each_ref().map(|path| (path.as_path(), None))).expect("find");
        let names: Vec<Vec<String>> = found
            .iter()
            .map(|list| {
                list.iter().map(|f| f.path.file_name().expect("name").display().to_string()).collect()
            })
            .collect();
        assert_eq!(
            names,
            [
                vec![
                    "a-out__2026-01-01_00-00-00.log.gz",
                    "a-out__2026-01-01_00-00-00_9.log",
                    "a-out__2026-01-01_00-00-00_10.log"
                ],
                vec!["a-out-1__2026-01-01_00-00-00.log"],
                vec![]
            ]
        );
        assert_eq!(found[0][0].bytes, 5);
    }

    #[test]
    fn the_oldest_go_first_by_count_and_by_bytes() {
        let rotation = Rotation { count: 3, total_bytes: 25, ..Rotation::default() };
        let files = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
            .map(|day| file(&format!("{day}_00-00-00.log"), 10))
            .to_vec();
        let [remove, redundant, compress] = planned(&rotation, files);
        assert_eq!(remove, ["2026-01-01_00-00-00.log", "2026-01-02_00-00-00.log"]);
        assert!(redundant.is_empty());
        assert_eq!(compress, ["2026-01-03_00-00-00.log", "2026-01-04_00-00-00.log"]);
    }

    #[test]
    fn a_compression_that_was_cut_short_is_redone() {
        let files = vec![file("2026-01-01_00-00-00.log", 10), file("2026-01-01_00-00-00.log.gz.part", 3)];
        let [remove, redundant, compress] = planned(&Rotation::default(), files);
        assert_eq!(remove, ["2026-01-01_00-00-00.log.gz.part"]);
        assert!(redundant.is_empty());
        assert_eq!(compress, ["2026-01-01_00-00-00.log"]);
    }

    #[test]
    fn a_file_with_its_compressed_twin_is_redundant_and_the_first_to_go_when_space_is_short() {
        let files = vec![
            file("2026-01-01_00-00-00.log.gz", 4),
            file("2026-01-02_00-00-00.log", 10),
            file("2026-01-02_00-00-00.log.gz", 4),
        ];
        let [remove, redundant, compress] = planned(&Rotation::default(), files.clone());
        assert!(remove.is_empty() && compress.is_empty());
        assert_eq!(redundant, ["2026-01-02_00-00-00.log"]);
        let short = Rotation { total_bytes: 9, ..Rotation::default() };
        let [remove, redundant, _] = planned(&short, files);
        assert_eq!(remove, ["2026-01-02_00-00-00.log"]);
        assert!(redundant.is_empty());
    }

    #[test]
    fn nothing_is_kept_when_nothing_is_asked_to_be() {
        let rotation = Rotation { count: 0, ..Rotation::default() };
        let [remove, ..] = planned(&rotation, vec![file("2026-01-01_00-00-00.log", 10)]);
        assert_eq!(remove, ["2026-01-01_00-00-00.log"]);
    }
}
