//! What jobs have done, on the disk: `<home>/jobs.redb`. Opened when the first job is defined, not before.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use skep_jobs::{Entry, JobId, Record, UnixMs};

const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");
const HISTORY: TableDefinition<'_, (&str, i64, u32), &[u8]> = TableDefinition::new("history");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const NEXT_TOKEN: &str = "next_token";
/// redb's page cache: the ledger is small and read seldom.
const CACHE_BYTES: usize = 256 * 1024;

/// The ledger.
pub(crate) struct Ledger {
    database: Database,
}

/// All that it holds of jobs, beside their history.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) records: Vec<(JobId, Record)>,
    pub(crate) next_token: u64,
}

/// A line that was dropped because newer ones took its place.
pub(crate) type Dropped = (UnixMs, u32);

#[derive(Serialize, Deserialize)]
struct Stored {
    id: JobId,
    record: Record,
}

/// One write.
#[derive(Debug)]
pub(crate) struct Save<'a> {
    pub(crate) job: &'a JobId,
    pub(crate) record: &'a Record,
    pub(crate) entries: &'a [Entry],
    pub(crate) keep: u32,
    pub(crate) next_token: u64,
}

/// Where the ledger of a home is.
pub(crate) fn path(home: &Path) -> PathBuf {
    home.join("jobs.redb")
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

impl Ledger {
    /// Opens it, or makes it (0600).
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Contents)> {
        // redb would make it readable for others.
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(broken)?;
        let ledger = Self { database };
        let contents = ledger.read()?;
        Ok((ledger, contents))
    }

    fn read(&self) -> io::Result<Contents> {
        let write = self.database.begin_write().map_err(broken)?;
        // Tables come into being when they are first opened for writing.
        write.open_table(JOBS).map_err(broken)?;
        write.open_table(HISTORY).map_err(broken)?;
        write.open_table(META).map_err(broken)?;
        write.commit().map_err(broken)?;
        let read = self.database.begin_read().map_err(broken)?;
        let meta = read.open_table(META).map_err(broken)?;
        let next_token = meta.get(NEXT_TOKEN).map_err(broken)?.map_or(1, |token| token.value());
        let mut records = Vec::new();
        for row in read.open_table(JOBS).map_err(broken)?.iter().map_err(broken)? {
            let (_, value) = row.map_err(broken)?;
            let Stored { id, record } = serde_json::from_slice(value.value())?;
            records.push((id, record));
        }
        Ok(Contents { records, next_token })
    }

    /// Makes it durable; gives the lines that had to go.
    pub(crate) fn save(&self, save: &Save<'_>) -> io::Result<Vec<Dropped>> {
        let name = save.job.to_string();
        let write = self.database.begin_write().map_err(broken)?;
        let dropped = {
            let stored = serde_json::to_vec(&Stored { id: save.job.clone(), record: save.record.clone() })?;
            write.open_table(JOBS).map_err(broken)?.insert(&*name, &*stored).map_err(broken)?;
            write.open_table(META).map_err(broken)?.insert(NEXT_TOKEN, save.next_token).map_err(broken)?;
            let mut history = write.open_table(HISTORY).map_err(broken)?;
            for entry in save.entries {
                let key = (&*name, entry.scheduled.0, entry.attempt);
                let old =
                    history.get(key).map_err(broken)?.map(|old| serde_json::from_slice::<Entry>(old.value()));
                let entry = match old {
                    Some(old) => entry.clone().after(&old?),
                    None => entry.clone(),
                };
                history.insert(key, &*serde_json::to_vec(&entry)?).map_err(broken)?;
            }
            let mut keys = Vec::new();
            for row in history.range(lines_of(&name)).map_err(broken)? {
                let (key, _) = row.map_err(broken)?;
                let (_, scheduled, attempt) = key.value();
                keys.push((UnixMs(scheduled), attempt));
            }
            let too_many = keys.len().saturating_sub(save.keep as usize);
            let under_way = |line: &Dropped| save.record.runs.iter().any(|run| run.scheduled == line.0);
            let dropped: Vec<Dropped> =
                keys.into_iter().take(too_many).filter(|line| !under_way(line)).collect();
            for (scheduled, attempt) in &dropped {
                history.remove((&*name, scheduled.0, *attempt)).map_err(broken)?;
            }
            dropped
        };
        write.commit().map_err(broken)?;
        Ok(dropped)
    }

    /// Forgets a job; gives the lines that are gone.
    pub(crate) fn erase(&self, job: &JobId) -> io::Result<Vec<Dropped>> {
        let name = job.to_string();
        let gone = self.history(job, usize::MAX)?;
        let write = self.database.begin_write().map_err(broken)?;
        {
            write.open_table(JOBS).map_err(broken)?.remove(&*name).map_err(broken)?;
            let mut history = write.open_table(HISTORY).map_err(broken)?;
            for entry in &gone {
                history.remove((&*name, entry.scheduled.0, entry.attempt)).map_err(broken)?;
            }
        }
        write.commit().map_err(broken)?;
        Ok(gone.into_iter().map(|entry| (entry.scheduled, entry.attempt)).collect())
    }

    /// The last lines of a job, the newest first.
    pub(crate) fn history(&self, job: &JobId, most: usize) -> io::Result<Vec<Entry>> {
        let name = job.to_string();
        let read = self.database.begin_read().map_err(broken)?;
        let table = read.open_table(HISTORY).map_err(broken)?;
        let mut entries = Vec::new();
        for row in table.range(lines_of(&name)).map_err(broken)?.rev().take(most) {
            let (_, value) = row.map_err(broken)?;
            entries.push(serde_json::from_slice(value.value())?);
        }
        Ok(entries)
    }
}

fn lines_of(name: &str) -> std::ops::RangeInclusive<(&str, i64, u32)> {
    (name, i64::MIN, 0)..=(name, i64::MAX, u32::MAX)
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_jobs::{Definition, Event, Jobs, Kind, Moment, WhenText};

    #[test]
    fn what_was_saved_is_there_after_a_restart_and_old_lines_go() {
        let folder = tempfile::tempdir().unwrap();
        let file = path(folder.path());
        let job = JobId { app: "web".into(), name: "tick".into() };
        let mut jobs = Jobs::restore(Vec::new(), 1, skep_jobs::utc(), Moment::default());
        let mut fx = Vec::new();
        let definition =
            Definition { keep: 3, ..Definition::new(WhenText::Every { ms: 1_000 }, Kind::Command) };
        let define = Event::Define { job: job.clone(), definition: Box::new(definition), up: true };
        jobs.handle(Moment::default(), define, &mut fx).unwrap();
        jobs.handle(Moment::default(), Event::Begin { same_keeper: true }, &mut fx).unwrap();
        for second in 1..=10 {
            let now = Moment { wall: UnixMs(second * 1_000), boot_ms: second as u64 * 1_000 };
            jobs.handle(now, Event::Tick, &mut fx).unwrap();
        }
        let (ledger, _) = Ledger::open(&file).unwrap();
        let mut last = None;
        for effect in fx {
            if let skep_jobs::Effect::Save { job, record, entries, keep, next_token } = effect {
                ledger
                    .save(&Save { job: &job, record: &record, entries: &entries, keep, next_token })
                    .unwrap();
                last = Some(*record);
            }
        }
        drop(ledger);
        let (ledger, contents) = Ledger::open(&file).unwrap();
        assert_eq!(contents.records, [(job.clone(), last.unwrap())]);
        assert_eq!(contents.next_token, 2);
        let history = ledger.history(&job, 100).unwrap();
        assert_eq!(history.first().unwrap().scheduled, UnixMs(10_000));
        // The one under way stays, whatever its age.
        assert!(history.len() <= 4 && history.iter().any(|entry| !entry.status.is_final()));
        ledger.erase(&job).unwrap();
        assert_eq!(ledger.history(&job, 100).unwrap(), []);
    }
}
