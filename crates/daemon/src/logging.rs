//! Where an app's lines go: from the spec to the files of `skep-logs`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use skep_api::{ErrorBody, ErrorCode};
use skep_core::SlotId;
use skep_jobs::UnixMs;
use skep_logs::{DateFormat, Every, FileSpec, Format, Framing, Rotation, Stream, StreamId, Times, WhenFull};
use skep_spec::{AppSpec, ExecMode, Instances, LogFile, LogType};

use crate::driver::Driver;
use crate::worker::Worker;

/// The permissions of a log file: its owner's alone, as everything in the home.
pub(crate) const MODE: u32 = 0o600;

/// The files that `stream` of the worker in `slot` is written to, the stream's own first; none with `disable_logs`.
pub(crate) fn files(spec: &AppSpec, home: &Path, slot: SlotId, stream: Stream) -> Vec<FileSpec> {
    if spec.disable_logs {
        return Vec::new();
    }
    let own = file(spec, path(spec, home, slot, stream), is_shared(spec));
    let both = combined(spec, home, slot).map(|path| file(spec, path, true));
    std::iter::once(own).chain(both).collect()
}

impl Driver {
    /// Empties the log files of the apps that the targets mean, those that nobody writes to just now included; for all
    /// apps skep's own log too.
    pub(crate) fn flush_logs(&mut self, targets: &[skep_api::Target]) -> Result<(), ErrorBody> {
        let mut paths = BTreeSet::new();
        for app in self.fleet.apps() {
            let Some(spec) = self.specs.get(&(app.id, app.revision)) else { continue };
            for slot in &app.slots {
                for stream in [Stream::Out, Stream::Err] {
                    let all = files(spec, &self.site.home, slot.id, stream);
                    paths.extend(all.into_iter().map(|file| (app.name.clone(), file.path)));
                }
            }
        }
        let names: BTreeSet<String> = self.pick(targets)?.into_iter().map(|(_, name, _)| name).collect();
        for name in &names {
            self.capture.flush(Some(name)).map_err(cannot_flush)?;
        }
        let own = skep_keeper::home::Home::at(&self.site.home).log();
        let own = targets.iter().any(|target| matches!(target, skep_api::Target::All)).then_some(own);
        let named = paths.iter().filter(|(name, _)| names.contains(name)).map(|(_, path)| path);
        named.chain(&own).try_for_each(|path| empty(path))
    }
}

/// Devices cannot be emptied, and what does not exist is empty. Whoever writes there appends.
fn empty(path: &Path) -> Result<(), ErrorBody> {
    if !path.is_file() {
        return Ok(());
    }
    let file = std::fs::OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.set_len(0))
        .map_err(|error| cannot_flush(format_args!("{}: {error}", path.display())))
}

fn cannot_flush(why: impl std::fmt::Display) -> ErrorBody {
    ErrorBody::new(ErrorCode::Internal, format!("a log file cannot be emptied: {why}"))
        .with_hint("look at its permissions")
}

impl Driver {
    /// The files of a worker's stream, with the home's rotation where its app says nothing of it.
    pub(crate) fn log_files(&self, worker: &Worker, stream: Stream) -> Vec<FileSpec> {
        files(&self.with_rotation(&worker.spec), &self.site.home, worker.slot, stream)
    }

    /// A spec with the home's rotation if it says nothing of it itself.
    pub(crate) fn with_rotation<'a>(&self, spec: &'a AppSpec) -> Cow<'a, AppSpec> {
        if spec.rotate == skep_spec::Rotation::default() {
            Cow::Owned(AppSpec { rotate: self.log_rotation.clone(), ..spec.clone() })
        } else {
            Cow::Borrowed(spec)
        }
    }

    /// Reads the home's settings anew and opens every log file by its path, after somebody has moved them.
    pub(crate) fn reopen_logs(&mut self) {
        self.log_rotation = crate::settings::rotation(&self.site.home);
        let now = crate::driver::moment();
        let streams: Vec<(StreamId, Vec<FileSpec>)> = self
            .workers
            .values()
            .flat_map(|worker| [Stream::Out, Stream::Err].map(|stream| (worker, stream)))
            .map(|(worker, stream)| (StreamId::new(worker.id().0, stream), self.log_files(worker, stream)))
            .collect();
        for (stream, files) in streams {
            if let Err(error) = self.capture.redirect(stream, &files, now) {
                crate::diary::note(format_args!("{error}"));
            }
        }
        self.capture.reopen();
        self.capture_wake.notify_one();
    }
}

/// Where log files are, unless the app says otherwise.
pub(crate) fn folder(home: &Path) -> PathBuf {
    home.join("logs")
}

/// The stream's own file.
pub(crate) fn path(spec: &AppSpec, home: &Path, slot: SlotId, stream: Stream) -> PathBuf {
    let (given, ending) = match stream {
        Stream::Out => (&spec.out_file, "out"),
        Stream::Err => (&spec.error_file, "error"),
    };
    match given {
        Some(given) if is_shared(spec) => absolute(spec, given),
        Some(given) => numbered(absolute(spec, given), slot),
        None if is_shared(spec) => folder(home).join(format!("{}-{ending}.log", file_name(&spec.name))),
        None => folder(home).join(format!("{}-{ending}-{slot}.log", file_name(&spec.name))),
    }
}

/// The file of both streams, if there is one.
pub(crate) fn combined(spec: &AppSpec, home: &Path, slot: SlotId) -> Option<PathBuf> {
    let path = match &spec.log_file {
        LogFile::Usual(false) => return None,
        LogFile::Usual(true) => folder(home).join(format!("{}.log", file_name(&spec.name))),
        LogFile::Path(given) => absolute(spec, given),
    };
    Some(if is_shared(spec) { path } else { numbered(path, slot) })
}

/// Whether all instances write to one file: when they are to be merged, or when there is only one. One that was asked to
/// be a cluster has a number all the same, as in PM2: it may grow.
pub(crate) fn is_shared(spec: &AppSpec) -> bool {
    let one = spec.instances == Instances::Count(1) && spec.exec_mode != Some(ExecMode::Cluster);
    spec.merge_logs || one
}

/// The time of `log_type: pairs` when no format is named: PM2's.
const PAIRS_DATE: &str = "YYYY-MM-DD-HH:mm:ssZZ";

fn file(spec: &AppSpec, path: PathBuf, shared: bool) -> FileSpec {
    let date = spec.log_date_format.as_deref().map(DateFormat::new);
    let format = match (spec.log_type, date) {
        (LogType::Json, date) => Format::Json(date),
        (LogType::Pairs, date) => Format::Pairs(date.unwrap_or_else(|| DateFormat::new(PAIRS_DATE))),
        (LogType::Named, _) => Format::Named,
        (LogType::Raw, Some(date)) => Format::Prefixed(date),
        (LogType::Raw, None) => Format::Raw,
    };
    let framing = if shared && spec.instances != Instances::Count(1) || format != Format::Raw {
        Framing::Lines
    } else {
        Framing::Exact
    };
    FileSpec {
        path,
        format,
        framing,
        rotation: rotation(spec),
        when_full: WhenFull::default(),
        mode: MODE,
        group: Arc::from(spec.name.as_str()),
    }
}

fn rotation(spec: &AppSpec) -> Option<Rotation> {
    let asked = &spec.rotate;
    let every = every(asked);
    (asked.max_size.0 > 0 || every.is_some()).then(|| Rotation {
        max_bytes: if asked.max_size.0 > 0 { asked.max_size.0 } else { u64::MAX },
        every,
        date: asked.date_format.as_deref().map(|text| Arc::new(DateFormat::new(text))),
        zone: asked.time_zone.as_ref().and_then(|zone| skep_jobs::Cron::zone(zone.as_str()).ok()),
        count: asked.retain,
        total_bytes: asked.total_size.0,
        compress: asked.compress.compressor().map(|how| match how {
            skep_spec::Compressor::Gzip => skep_logs::Codec::Gzip,
            skep_spec::Compressor::Zstd => skep_logs::Codec::Zstd,
        }),
    })
}

/// A cron pattern says more than an interval.
fn every(asked: &skep_spec::Rotation) -> Option<Every> {
    let Some(cron) = &asked.cron else { return asked.every_seconds.map(Every::Seconds) };
    let zone = asked.time_zone.as_ref();
    let name = format!("{cron} {}", zone.map_or("", |zone| zone.as_str()));
    let zone = zone.and_then(|zone| skep_jobs::Cron::zone(zone.as_str()).ok());
    let cron = skep_jobs::Cron::parse(cron.as_str(), zone.unwrap_or_else(TimeZone::system)).ok()?;
    Some(Every::Times(Times::new(name, move |unix_ns| {
        let next = cron.next_after(UnixMs(unix_ns.div_euclid(1_000_000)))?;
        next.0.checked_mul(1_000_000)
    })))
}

/// A relative path is meant from where the app runs.
fn absolute(spec: &AppSpec, path: &str) -> PathBuf {
    Path::new(&spec.cwd).join(path)
}

/// `app.log` of slot 3 is `app-3.log`, as in PM2. Devices are not numbered.
fn numbered(path: PathBuf, slot: SlotId) -> PathBuf {
    if path.starts_with("/dev") || path.starts_with("/proc") {
        return path;
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{slot}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{slot}"),
    };
    path.with_file_name(name)
}

/// App names may hold anything but control characters; file names may not hold a slash.
pub(crate) fn file_name(app: &str) -> String {
    app.replace(['/', '\0'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_spec::Bytes;

    fn paths(spec: &AppSpec) -> Vec<String> {
        [Stream::Out, Stream::Err]
            .iter()
            .flat_map(|stream| files(spec, Path::new("/h"), SlotId(3), *stream))
            .map(|file| file.path.display().to_string())
            .collect()
    }

    fn spec() -> AppSpec {
        AppSpec { name: "web".into(), cwd: "/srv".into(), ..AppSpec::default() }
    }

    #[test]
    fn one_instance_has_its_apps_files_and_several_have_their_own_unless_merged() {
        assert_eq!(paths(&spec()), ["/h/logs/web-out.log", "/h/logs/web-error.log"]);
        let many = AppSpec { instances: Instances::Max, ..spec() };
        assert_eq!(paths(&many), ["/h/logs/web-out-3.log", "/h/logs/web-error-3.log"]);
        assert_eq!(
            paths(&AppSpec { merge_logs: true, ..many }),
            ["/h/logs/web-out.log", "/h/logs/web-error.log"]
        );
    }

    #[test]
    fn given_files_are_found_from_the_working_directory_and_numbered_like_pm2s() {
        let given =
            AppSpec { out_file: Some("log/o.log".into()), error_file: Some("/dev/stderr".into()), ..spec() };
        assert_eq!(paths(&given), ["/srv/log/o.log", "/dev/stderr"]);
        let log_file = LogFile::Path("/v/all.log".into());
        let many = AppSpec { instances: Instances::Count(2), log_file, ..given };
        assert_eq!(paths(&many), ["/srv/log/o-3.log", "/v/all-3.log", "/dev/stderr", "/v/all-3.log"]);
    }

    #[test]
    fn the_usual_log_of_both_streams_is_called_like_the_app() {
        let usual = AppSpec { log_file: LogFile::Usual(true), ..spec() };
        let both = |spec: &AppSpec| {
            combined(spec, Path::new("/h"), SlotId(3)).map(|path| path.display().to_string())
        };
        assert_eq!(both(&spec()), None);
        assert_eq!(both(&usual).as_deref(), Some("/h/logs/web.log"));
        let many = AppSpec { instances: Instances::Count(2), ..usual };
        assert_eq!(both(&many).as_deref(), Some("/h/logs/web-3.log"));
        assert_eq!(both(&AppSpec { merge_logs: true, ..many }).as_deref(), Some("/h/logs/web.log"));
    }

    #[test]
    fn lines_of_several_writers_or_with_a_date_are_kept_whole() {
        let framing = |spec: &AppSpec| files(spec, Path::new("/h"), SlotId(0), Stream::Out)[0].framing;
        assert_eq!(framing(&spec()), Framing::Exact);
        assert_eq!(framing(&AppSpec { log_date_format: Some("HH:mm".into()), ..spec() }), Framing::Lines);
        let merged = AppSpec { merge_logs: true, instances: Instances::Count(2), ..spec() };
        assert_eq!(framing(&merged), Framing::Lines);
    }

    #[test]
    fn rotation_is_on_unless_its_size_is_zero() {
        let mut spec = spec();
        assert!(rotation(&spec).is_some());
        spec.rotate.max_size = Bytes(0);
        assert!(rotation(&spec).is_none());
        assert!(
            files(&AppSpec { disable_logs: true, ..spec }, Path::new("/h"), SlotId(0), Stream::Out)
                .is_empty()
        );
    }
}
