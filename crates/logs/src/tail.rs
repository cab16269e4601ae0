//! The last lines of a log, across its rotated files.
//!
//! Plain files are searched from their end. A compressed file cannot be, so it is read twice: to count its lines, then to
//! skip those that were not asked for. Nothing but one line and one block is ever in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom, Take};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::line::Line;
use crate::rotated::{self, Rotated, State};
use crate::{Codec, DateFormat, Format, Stream};

/// Read at a time.
const BLOCK_BYTES: usize = 64 << 10;
/// A longer line is shown cut here: a reader's memory is not a log's to fill. (In the file it is whole.)
const LINE_BYTES_MAX: u64 = 16 << 20;

/// A log to read from, with what is known about it.
#[derive(Clone, Debug)]
pub struct TailSource {
    /// The live file; its rotated ones are found beside it.
    pub path: PathBuf,
    /// How its lines were written, so that dates can be read back.
    pub format: Format,
    /// The date in the names of its rotated files, if it is not the usual one.
    pub rotated: Option<Arc<DateFormat>>,
    /// Whose log.
    pub app: Arc<str>,
    /// Whose slot, when the file belongs to one.
    pub slot: Option<u32>,
    /// Which stream, when the file holds one.
    pub stream: Option<Stream>,
}

/// The last lines of one log, oldest first. The end is where the log ended at `open`; later rotation, compression
/// or removal do not disturb it. Holds one line in memory at a time.
#[derive(Debug)]
pub struct Tail {
    source: TailSource,
    zone: TimeZone,
    parts: VecDeque<Part>,
}

/// One file's share.
enum Part {
    Plain(BufReader<Take<File>>),
    Compressed { lines: BufReader<Box<dyn Read + Send>>, skip: u64 },
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(reader) => f.debug_tuple("Plain").field(reader).finish(),
            Self::Compressed { skip, .. } => {
                f.debug_struct("Compressed").field("skip", skip).finish_non_exhaustive()
            }
        }
    }
}

// === impl Tail ===

impl Tail {
    /// Finds the last `lines` lines.
    ///
    /// # Errors
    /// When a file cannot be read; a log that does not exist yet is empty instead.
    pub fn open(source: TailSource, lines: u64, zone: &TimeZone) -> io::Result<Self> {
        let mut tail = Self { source, zone: zone.clone(), parts: VecDeque::new() };
        let mut left = lines;
        // First the live file, then the list: a rotation in between shows it twice, which its inode tells.
        let live = existing(&tail.source.path)?;
        let live_inode = live.as_ref().map(File::metadata).transpose()?.map(|seen| (seen.dev(), seen.ino()));
        if let Some(file) = live
            && file.metadata()?.is_file()
        {
            tail.add_plain(file, &mut left)?;
        }
        let rotated = rotated::find(&[(&tail.source.path, tail.source.rotated.as_deref())])?.remove(0);
        for (at, Rotated { path, age, state, .. }) in rotated.iter().enumerate().rev() {
            if left == 0 {
                break;
            }
            // Sorted: the plain file, when it is still there, stands just before its compressed twin.
            let twin = at.checked_sub(1).map(|before| &rotated[before]);
            let has_plain = twin.is_some_and(|twin| twin.age == *age && twin.state == State::Plain);
            match state {
                State::Part => {}
                State::Compressed(_) if has_plain => {}
                State::Compressed(codec) => tail.add_compressed(path, *codec, &mut left)?,
                State::Plain => {
                    let Some(file) = existing(path)? else { continue };
                    let seen = file.metadata()?;
                    if live_inode != Some((seen.dev(), seen.ino())) {
                        tail.add_plain(file, &mut left)?;
                    }
                }
            }
        }
        Ok(tail)
    }

    fn add_plain(&mut self, mut file: File, left: &mut u64) -> io::Result<()> {
        let end = file.metadata()?.len();
        let (start, lines) = last_lines(&file, end, *left)?;
        *left -= lines;
        file.seek(SeekFrom::Start(start))?;
        self.parts.push_front(Part::Plain(BufReader::with_capacity(BLOCK_BYTES, file.take(end - start))));
        Ok(())
    }

    fn add_compressed(&mut self, path: &Path, codec: Codec, left: &mut u64) -> io::Result<()> {
        let Some(mut file) = existing(path)? else { return Ok(()) };
        let lines = count_lines(codec.decoder(file.try_clone()?)?)?;
        file.rewind()?;
        let skip = lines.saturating_sub(*left);
        *left -= lines - skip;
        self.parts.push_front(Part::Compressed {
            lines: BufReader::with_capacity(BLOCK_BYTES, codec.decoder(file)?),
            skip,
        });
        Ok(())
    }
}

impl Iterator for Tail {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let raw = match self.parts.front_mut()? {
                Part::Plain(reader) => read_line(reader),
                Part::Compressed { lines, skip } => {
                    let skipped = skip_lines(lines, std::mem::take(skip));
                    skipped.and_then(|()| read_line(lines))
                }
            };
            match raw {
                Ok(raw) if raw.is_empty() => {
                    self.parts.pop_front();
                }
                Ok(raw) => return Some(Ok(Line::read(raw, &self.source, &self.zone))),
                Err(e) => {
                    self.parts.clear();
                    return Some(Err(e));
                }
            }
        }
    }
}

fn existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Where the last `wanted` lines of the first `end` bytes begin, and how many there are.
fn last_lines(file: &File, end: u64, wanted: u64) -> io::Result<(u64, u64)> {
    if wanted == 0 || end == 0 {
        return Ok((end, 0));
    }
    let mut block = vec![0; BLOCK_BYTES];
    // The last byte ends the last line or belongs to it: it never separates two.
    let mut position = end - 1;
    let mut lines = 1;
    while position > 0 {
        let bytes = BLOCK_BYTES.min(usize::try_from(position).unwrap_or(BLOCK_BYTES));
        let start = position - bytes as u64;
        file.read_exact_at(&mut block[..bytes], start)?;
        for newline in memchr::memrchr_iter(b'\n', &block[..bytes]) {
            if lines == wanted {
                return Ok((start + newline as u64 + 1, lines));
            }
            lines += 1;
        }
        position = start;
    }
    Ok((0, lines))
}

fn count_lines(mut reader: impl Read) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_BYTES];
    let (mut lines, mut last) = (0, b'\n');
    loop {
        let bytes = reader.read(&mut block)?;
        if bytes == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &block[..bytes]).count() as u64;
        last = block[bytes - 1];
    }
    Ok(lines + u64::from(last != b'\n'))
}

/// The next line with its `\n`; empty at the end. What is beyond [`LINE_BYTES_MAX`] is left out.
fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.len() as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        skip_lines(reader, 1)?;
        line.push(b'\n');
    }
    Ok(line)
}

fn skip_lines(reader: &mut impl BufRead, mut lines: u64) -> io::Result<()> {
    while lines > 0 {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            break;
        }
        let (bytes, found) = match memchr::memchr(b'\n', block) {
            Some(at) => (at + 1, 1),
            None => (block.len(), 0),
        };
        reader.consume(bytes);
        lines -= found;
    }
    Ok(())
}

/// A log being merged: its next line, and the time that counts for it.
struct Merged {
    tail: Tail,
    next: Option<Line>,
    time: i64,
}

/// Several logs as one, by time. A line without a time stays behind the line it follows in its own log, so logs
/// without times come one after the other.
pub fn merge(tails: Vec<Tail>) -> impl Iterator<Item = io::Result<Line>> {
    let mut logs: Vec<Merged> =
        tails.into_iter().map(|tail| Merged { tail, next: None, time: i64::MIN }).collect();
    std::iter::from_fn(move || {
        for log in logs.iter_mut().filter(|log| log.next.is_none()) {
            match log.tail.next() {
                Some(Ok(line)) => {
                    log.time = line.unix_ns.unwrap_or(log.time).max(log.time);
                    log.next = Some(line);
                }
                Some(Err(e)) => return Some(Err(e)),
                None => {}
            }
        }
        let earliest = logs.iter_mut().filter(|log| log.next.is_some()).min_by_key(|log| log.time)?;
        earliest.next.take().map(Ok)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::DateFormat;

    fn source(path: PathBuf, format: Format) -> TailSource {
        TailSource {
            path,
            format,
            rotated: None,
            app: Arc::from("app"),
            slot: Some(4),
            stream: Some(Stream::Out),
        }
    }

    fn texts(tail: impl Iterator<Item = io::Result<Line>>) -> Vec<String> {
        tail.map(|line| String::from_utf8(line.expect("read").text).expect("utf-8")).collect()
    }

    fn gzip(path: &Path, bytes: &[u8]) {
        let mut out =
            flate2::write::GzEncoder::new(File::create(path).expect("create"), flate2::Compression::fast());
        out.write_all(bytes).expect("write");
        out.finish().expect("finish");
    }

    #[test]
    fn the_last_lines_come_from_the_live_file_its_rotated_ones_and_their_compressed_ones() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = |name: &str| directory.path().join(name);
        gzip(&path("a__2026-01-01_00-00-00.log.gz"), b"1\n2\n3\n");
        // Compressed, original not yet removed; and a compression that was cut short.
        std::fs::write(path("a__2026-01-02_00-00-00.log"), b"4\n5\n").expect("write");
        gzip(&path("a__2026-01-02_00-00-00.log.gz"), b"4\n5\n");
        std::fs::write(path("a__2026-01-02_00-00-00_1.log"), b"6\n").expect("write");
        std::fs::write(path("a__2026-01-02_00-00-00_1.log.gz.part"), b"junk").expect("write");
        std::fs::write(path("a.log"), b"7\n8").expect("write");
        for lines in 0..10 {
            let tail = Tail::open(source(path("a.log"), Format::Raw), lines, &TimeZone::UTC).expect("open");
            let all = ["1", "2", "3", "4", "5", "6", "7", "8"];
            assert_eq!(
                texts(tail),
                all[all.len().saturating_sub(usize::try_from(lines).expect("few"))..],
                "{lines}"
            );
        }
    }

    #[test]
    fn a_log_that_does_not_exist_is_empty() {
        let directory = tempfile::tempdir().expect("tempdir");
        let tail = Tail::open(source(directory.path().join("no/a.log"), Format::Raw), 5, &TimeZone::UTC)
            .expect("open");
        assert_eq!(tail.count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn the_last_lines_are_those_of_the_whole_text(
            lengths in proptest::collection::vec(proptest::prop_oneof![0_usize..9, 60_000_usize..70_000], 0..12),
            finished: bool,
            wanted in 0_u64..14,
        ) {
            let directory = tempfile::tempdir().expect("tempdir");
            let path = directory.path().join("a.log");
            let lines: Vec<String> = lengths.iter().map(|&length| "x".repeat(length)).collect();
            let mut text = lines.join("\n");
            if finished && !lines.is_empty() {
                text.push('\n');
            }
            std::fs::write(&path, &text).expect("write");
            let tail = Tail::open(source(path, Format::Raw), wanted, &TimeZone::UTC).expect("open");
            let whole: Vec<&str> = text.lines().collect();
            let from = whole.len().saturating_sub(usize::try_from(wanted).expect("few"));
            proptest::prop_assert_eq!(texts(tail), &whole[from..]);
        }
    }

    #[test]
    fn a_rotation_after_opening_does_not_disturb_the_reader() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("a.log");
        std::fs::write(&path, b"1\n2\n").expect("write");
        let tail = Tail::open(source(path.clone(), Format::Raw), 5, &TimeZone::UTC).expect("open");
        std::fs::rename(&path, directory.path().join("a__2026-01-01_00-00-00.log")).expect("rename");
        std::fs::write(&path, b"3\n").expect("write");
        assert_eq!(texts(tail), ["1", "2"]);
        let tail = Tail::open(source(path, Format::Raw), 5, &TimeZone::UTC).expect("open");
        assert_eq!(texts(tail), ["1", "2", "3"]);
    }

    #[test]
    fn several_logs_are_merged_by_time_and_lines_without_one_stay_where_they_were() {
        let directory = tempfile::tempdir().expect("tempdir");
        let time = Format::Prefixed(DateFormat::new("HH:mm:ss YYYY-MM-DD"));
        let at = |second: u32, text: &str| format!("00:00:{second:02} 2026-01-01: {text}\n");
        let a = directory.path().join("a.log");
        std::fs::write(&a, at(1, "a1") + &at(5, "a5") + "  at stack\n" + &at(7, "a7")).expect("write");
        let b = directory.path().join("b.log");
        let json = |second: u32, text: &str, kind: &str| {
            format!(
                "{{\"message\":\"{text}\",\"timestamp\":\"2026-01-01T00:00:{second:02}.000Z\",\"type\":\"{kind}\",\
                 \"process_id\":9,\"app_name\":\"other\"}}\n"
            )
        };
        std::fs::write(&b, json(2, "b2", "err") + &json(6, "b6", "out")).expect("write");
        let open = |path, format| Tail::open(source(path, format), 10, &TimeZone::UTC).expect("open");
        let merged: Vec<Line> =
            merge(vec![open(a, time), open(b, Format::Json(None))]).map(|line| line.expect("read")).collect();
        let told: Vec<_> = merged
            .iter()
            .map(|line| {
                (String::from_utf8_lossy(&line.text).into_owned(), line.slot, line.stream, &*line.app)
            })
            .collect();
        let a = |text: &str| (text.to_owned(), Some(4), Some(Stream::Out), "app");
        let b = |text: &str, stream| (text.to_owned(), Some(9), Some(stream), "other");
        assert_eq!(
            told,
            [a("a1"), b("b2", Stream::Err), a("a5"), a("  at stack"), b("b6", Stream::Out), a("a7")]
        );
        assert_eq!(merged[0].unix_ns, Some(1_767_225_601_000_000_000));
        assert_eq!(merged[1].unix_ns, Some(1_767_225_602_000_000_000));
    }

    #[test]
    fn a_line_beyond_all_bounds_is_cut_when_shown() {
        let long =
            [vec![b'x'; usize::try_from(LINE_BYTES_MAX).expect("fits") + 5], b"\nnext\n".to_vec()].concat();
        let mut reader = BufReader::new(&long[..]);
        assert_eq!(read_line(&mut reader).expect("read").len() as u64, LINE_BYTES_MAX + 1);
        assert_eq!(read_line(&mut reader).expect("read"), b"next\n");
    }
}
