//! Lines of log and events: the last ones, then those that come.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use skep_api::{ErrorBody, ErrorCode, EventsQuery, LogLine, LogsQuery};
use skep_core::{AppId, SlotId};
use skep_logs::{Chunk, FileSpec, Keep, Stream, Tail, TailSource};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::answer::{Answer, lines};
use super::body::{ClientGone, Lines};
use crate::driver::{Driver, Shared};

/// Bytes of lines that a follower may be behind; one that falls further behind is let go, and may come again.
const BEHIND_BYTES_MAX: usize = 8 * 1024 * 1024;
/// An unfinished line is shown in pieces of this size.
const PIECE_BYTES_MAX: usize = 1024 * 1024;

pub(crate) fn events(driver: Shared, query: &EventsQuery) -> Answer {
    let (out, body) = Lines::new();
    let (past, mut next) = {
        let driver = driver.borrow();
        (driver.hub.remembered(query.after), driver.hub.subscribe())
    };
    let follow = query.follow;
    tokio::task::spawn_local(async move {
        for event in past {
            out.write(&event).await?;
        }
        if !follow {
            return Ok(());
        }
        loop {
            tokio::select! {
                event = next.recv() => match event {
                    Ok(event) => out.write(&event).await?,
                    // What was missed is not remembered either: say nothing false, go on.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
                () = out.closed() => break,
            }
        }
        Ok::<(), ClientGone>(())
    });
    lines(body)
}

/// Calls an action and passes its answers on, one a worker.
pub(crate) fn trigger(driver: &Shared, parameter: &str, asked: &skep_api::Trigger) -> Answer {
    let targets = skep_api::decode_targets(parameter)?;
    let mut answers = driver.borrow_mut().trigger(&targets, asked)?;
    let (out, body) = Lines::new();
    tokio::task::spawn_local(async move {
        loop {
            tokio::select! {
                answer = answers.recv() => match answer {
                    Some(answer) => out.write(&answer).await?,
                    None => break,
                },
                () = out.closed() => break,
            }
        }
        Ok::<(), ClientGone>(())
    });
    lines(body)
}

pub(crate) fn logs(driver: Shared, parameter: &str, query: &LogsQuery) -> Answer {
    let targets = skep_api::decode_targets(parameter)?;
    let wanted = query.stream.map(|stream| match stream {
        skep_api::Stream::Out => Stream::Out,
        skep_api::Stream::Err => Stream::Err,
    });
    let (tails, follower) = {
        let mut driver = driver.borrow_mut();
        let slots = driver.picked_slots(&targets)?;
        let mut sources = driver.tail_sources(&slots, wanted);
        if let Some(since) = query.since_unix_ms {
            sources.retain(|source| is_younger(&source.path, since));
        }
        // First the subscription, then the end of the file, with nothing in between: no line twice, none missing.
        let heard = driver.heard(&targets)?;
        let follower = query.follow.then(|| subscribe(&mut driver, heard, wanted));
        let zone = jiff::tz::TimeZone::system();
        let tails = sources
            .into_iter()
            .map(|source| Tail::open(source, u64::from(query.lines), &zone))
            .collect::<std::io::Result<Vec<Tail>>>()
            .map_err(|error| ErrorBody::new(ErrorCode::Internal, format!("cannot read the log: {error}")))?;
        (tails, follower)
    };
    let since = query.since_unix_ms;
    let (out, body) = Lines::new();
    tokio::task::spawn_local(async move {
        for line in skep_logs::merge(tails) {
            let Ok(line) = line else { break };
            let line = past_line(&line);
            if since.zip(line.time_unix_ms).is_none_or(|(since, at)| at >= since) {
                out.write(&line).await?;
            }
        }
        if let Some(mut follower) = follower {
            loop {
                tokio::select! {
                    line = follower.lines.recv() => match line {
                        Some(line) => {
                            follower.behind.set(follower.behind.get().saturating_sub(weight(&line)));
                            out.write(&line).await?;
                        }
                        None => break,
                    },
                    () = out.closed() => break,
                }
            }
        }
        Ok::<(), ClientGone>(())
    });
    lines(body)
}

/// Whether a file was written to since then.
fn is_younger(path: &std::path::Path, unix_ms: u64) -> bool {
    let written = std::fs::metadata(path).and_then(|seen| seen.modified());
    let since = std::time::UNIX_EPOCH + std::time::Duration::from_millis(unix_ms);
    written.map_or(true, |written| written >= since)
}

/// A subscription's other end.
struct Follower {
    lines: mpsc::UnboundedReceiver<LogLine>,
    behind: Rc<Cell<usize>>,
}

/// Whom a follower listens to: also those that come later.
enum Heard {
    Everybody,
    Some { apps: BTreeSet<String>, slots: BTreeSet<u32> },
}

impl Heard {
    fn has(&self, source: &skep_logs::Source) -> bool {
        match self {
            Self::Everybody => true,
            Self::Some { apps, slots } => apps.contains(&*source.app) || slots.contains(&source.slot),
        }
    }
}

fn subscribe(driver: &mut Driver, heard: Heard, stream: Option<Stream>) -> Follower {
    let (sender, lines) = mpsc::unbounded_channel();
    let behind = Rc::new(Cell::new(0));
    let counter = Rc::clone(&behind);
    let pieces: RefCell<BTreeMap<(u32, Stream), Vec<u8>>> = RefCell::default();
    driver.capture.subscribe(
        move |source| heard.has(source) && stream.is_none_or(|stream| stream == source.stream),
        move |chunk| {
            for line in split(chunk, &mut pieces.borrow_mut()) {
                counter.set(counter.get() + weight(&line));
                if counter.get() > BEHIND_BYTES_MAX || sender.send(line).is_err() {
                    return Keep::Stop;
                }
            }
            Keep::Going
        },
    );
    Follower { lines, behind }
}

/// The lines of a chunk; an unfinished one is kept for the next chunk.
fn split(chunk: &Chunk<'_>, pieces: &mut BTreeMap<(u32, Stream), Vec<u8>>) -> Vec<LogLine> {
    let key = (chunk.source.worker, chunk.source.stream);
    let mut bytes = pieces.remove(&key).unwrap_or_default();
    bytes.extend_from_slice(chunk.bytes);
    if !chunk.ends_line && bytes.len() < PIECE_BYTES_MAX {
        let unfinished = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = bytes.split_off(unfinished);
        if !rest.is_empty() {
            pieces.insert(key, rest);
        }
    }
    let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    let line = |text: &[u8]| LogLine {
        app: chunk.source.app.to_string(),
        slot: Some(chunk.source.slot),
        worker: Some(chunk.source.worker),
        stream: stream(chunk.source.stream),
        time_unix_ms: u64::try_from(chunk.unix_ns / 1_000_000).ok(),
        text: text_of(text),
        base64: base64_of(text),
    };
    whole.split(|byte| *byte == b'\n').map(line).collect()
}

fn past_line(line: &skep_logs::Line) -> LogLine {
    LogLine {
        app: line.app.to_string(),
        slot: line.slot,
        worker: None,
        stream: stream(line.stream.unwrap_or(Stream::Out)),
        time_unix_ms: line.unix_ns.and_then(|ns| u64::try_from(ns / 1_000_000).ok()),
        text: text_of(&line.text),
        base64: base64_of(&line.text),
    }
}

fn stream(stream: Stream) -> skep_api::Stream {
    match stream {
        Stream::Out => skep_api::Stream::Out,
        Stream::Err => skep_api::Stream::Err,
    }
}

fn text_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn base64_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn weight(line: &LogLine) -> usize {
    let text = line.text.as_ref().or(line.base64.as_ref()).map_or(0, String::len);
    text + size_of::<LogLine>()
}

impl Driver {
    /// What a follower of these targets listens to.
    fn heard(&self, targets: &[skep_api::Target]) -> Result<Heard, ErrorBody> {
        if targets.iter().any(|target| matches!(target, skep_api::Target::All)) {
            return Ok(Heard::Everybody);
        }
        let (mut apps, mut slots) = (BTreeSet::new(), BTreeSet::new());
        for (_, name, target) in self.pick(targets)? {
            if target.apps.is_empty() {
                slots.extend(target.slots.iter().map(|slot| slot.0));
            } else {
                apps.insert(name);
            }
        }
        Ok(Heard::Some { apps, slots })
    }

    /// The files of these slots, each once.
    fn tail_sources(&self, slots: &[SlotId], wanted: Option<Stream>) -> Vec<TailSource> {
        let mut sources = BTreeMap::new();
        for app in self.fleet.apps() {
            let Some(spec) = self.specs.get(&(app.id, app.revision)) else { continue };
            let spec = &*self.with_rotation(spec);
            for slot in app.slots.iter().filter(|slot| slots.contains(&slot.id)) {
                for stream in [Stream::Out, Stream::Err] {
                    if wanted.is_some_and(|wanted| wanted != stream) {
                        continue;
                    }
                    let files = crate::logging::files(spec, &self.site.home, slot.id, stream);
                    let Some(FileSpec { path, format, framing, rotation, .. }) = files.into_iter().next()
                    else {
                        continue;
                    };
                    let own = framing == skep_logs::Framing::Exact || app.slots.len() == 1;
                    let source = TailSource {
                        path: path.clone(),
                        format,
                        rotated: rotation.and_then(|rotation| rotation.date),
                        app: Arc::from(app.name.as_str()),
                        slot: own.then_some(slot.id.0),
                        stream: Some(stream),
                    };
                    sources.entry(path).or_insert(source);
                }
            }
        }
        sources.into_values().collect()
    }

    /// The end of what a slot's workers wrote to standard error.
    pub(crate) fn last_words(&self, app: AppId, slot: SlotId, lines: u64) -> Option<String> {
        let revision = self.fleet.app(app)?.revision;
        let spec = self.specs.get(&(app, revision))?;
        let spec = &*self.with_rotation(spec);
        let file = crate::logging::files(spec, &self.site.home, slot, Stream::Err).into_iter().next()?;
        let source = TailSource {
            path: file.path,
            format: file.format,
            rotated: file.rotation.and_then(|rotation| rotation.date),
            app: Arc::from(spec.name.as_str()),
            slot: Some(slot.0),
            stream: Some(Stream::Err),
        };
        let tail = Tail::open(source, lines, &jiff::tz::TimeZone::UTC).ok()?;
        let text: String = tail
            .filter_map(Result::ok)
            .map(|line| String::from_utf8_lossy(&line.text).into_owned() + "\n")
            .collect();
        (!text.is_empty()).then_some(text)
    }
}
