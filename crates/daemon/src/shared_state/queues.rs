//! Jobs of queues, for `skep queues`.

use skep_api::{
    ErrorBody, ErrorCode, QueueAct, QueueChanged, QueueJob, QueueJobsQuery, QueuePart, StateQueue,
};
use skep_state::{JobPart, JobView, Store, WallMs};

use super::durable::as_durable;
use super::entries::decode;
use super::figures::{Names, queues};
use super::{Stores, failure};

/// So many jobs in one answer at most.
const JOBS_MAX: u32 = 1_000;
/// So many are changed in one transaction: workers wait for it.
const AT_ONCE: usize = 500;

fn part(part: QueuePart) -> JobPart {
    match part {
        QueuePart::Ready => JobPart::Ready,
        QueuePart::Delayed => JobPart::Delayed,
        QueuePart::Active => JobPart::Active,
        QueuePart::Dead => JobPart::Dead,
    }
}

/// In front of a name that two queues have: which of them is meant.
const IN_MEMORY: &str = "memory:";
const ON_DISK: &str = "durable:";

/// All queues, durable ones last.
pub(crate) fn all(stores: &Stores, now: WallMs) -> Result<Vec<StateQueue>, ErrorBody> {
    let mut all = queues(&stores.memory, now)?;
    if let Some(durable) = &stores.durable {
        all.extend(queues(durable, now)?.into_iter().map(as_durable));
    }
    Ok(all)
}

/// One queue.
pub(crate) fn one(stores: &Stores, name: &str, now: WallMs) -> Result<StateQueue, ErrorBody> {
    let all = all(stores, now)?;
    let mut found = all.iter().filter(|queue| queue.name == name);
    match (found.next(), found.next()) {
        (Some(queue), None) => return Ok(queue.clone()),
        (Some(_), Some(_)) => {
            let message = format!("two queues are called {name}: one in memory, one durable");
            let hint = format!("say {IN_MEMORY}{name} or {ON_DISK}{name}");
            return Err(ErrorBody::new(ErrorCode::BadRequest, message).with_hint(hint));
        }
        (None, _) => {}
    }
    let chosen = [(IN_MEMORY, false), (ON_DISK, true)].into_iter().find_map(|(prefix, durable)| {
        let name = name.strip_prefix(prefix)?;
        all.iter().find(|queue| queue.name == name && queue.durable == durable)
    });
    chosen.cloned().ok_or_else(|| unknown(name, &all))
}

/// The store that a queue lies in.
fn store_of<'a>(stores: &'a Stores, queue: &StateQueue) -> &'a Store {
    stores.durable.as_ref().filter(|_| queue.durable).unwrap_or(&stores.memory)
}

fn unknown(name: &str, all: &[StateQueue]) -> ErrorBody {
    let hint = match all {
        [] => "there is no queue yet: the first push of queue() in the package skep makes one".to_owned(),
        some => {
            let names: Vec<&str> = some.iter().take(8).map(|queue| queue.name.as_str()).collect();
            format!("there are: {}", names.join(", "))
        }
    };
    ErrorBody::new(ErrorCode::UnknownTarget, format!("there is no queue {name}")).with_hint(hint)
}

/// The first jobs of a part.
pub(crate) fn jobs(
    stores: &Stores,
    name: &str,
    wanted: &QueueJobsQuery,
    names: &Names,
    now: WallMs,
) -> Result<Vec<QueueJob>, ErrorBody> {
    let queue = one(stores, name, now)?;
    let most = wanted.limit.min(JOBS_MAX) as usize;
    let found = store_of(stores, &queue).queue_peek(queue.name.as_bytes(), part(wanted.part), most, now);
    // Whoever purges removes no queue.
    let found = found.map_err(failure)?.unwrap_or_default();
    Ok(found.into_iter().map(|job| view(job, names)).collect())
}

fn view(job: JobView, names: &Names) -> QueueJob {
    let (data, encoding) = decode(&job.data);
    let worker = |id: u32| names.get(&id).cloned().unwrap_or_else(|| format!("worker {id}"));
    QueueJob {
        id: job.id.to_string(),
        priority: job.priority,
        attempts: job.attempts,
        retries: job.retries,
        at_unix_ms: job.at.0,
        worker: job.owner.map(|owner| worker(owner.id)),
        data,
        encoding,
        error: job.error,
    }
}

/// Changes a queue.
pub(crate) fn act(
    stores: &Stores,
    name: &str,
    act: &QueueAct,
    now: WallMs,
) -> Result<QueueChanged, ErrorBody> {
    let found = one(stores, name, now)?;
    let (store, queue) = (store_of(stores, &found), found.name.as_bytes());
    let jobs = match act {
        QueueAct::Pause | QueueAct::Resume => {
            store.queue_pause(queue, *act == QueueAct::Pause, now).map_err(failure)?;
            0
        }
        QueueAct::Retry(ids) if ids.is_empty() => {
            in_portions(|| store.queue_revive(queue, AT_ONCE, now).map_err(failure))?
        }
        QueueAct::Retry(ids) => retry(store, &found.name, ids, now)?,
        QueueAct::Purge(QueuePart::Active) => {
            return Err(ErrorBody::new(
                ErrorCode::BadRequest,
                "part: active jobs cannot be removed: workers have them",
            )
            .with_hint("pause the queue, wait until none is active, then purge ready"));
        }
        QueueAct::Purge(wanted) => {
            in_portions(|| store.queue_purge(queue, part(*wanted), AT_ONCE, now).map_err(failure))?
        }
    };
    Ok(QueueChanged { name: name.to_owned(), jobs })
}

/// Numbers that are none change nothing.
fn retry(store: &Store, name: &str, ids: &[String], now: WallMs) -> Result<u64, ErrorBody> {
    let mut numbers = Vec::new();
    for id in ids {
        numbers.push(id.parse::<u64>().map_err(|_| {
            ErrorBody::new(ErrorCode::BadRequest, format!("{id:?} is no job's number"))
                .with_hint(format!("`skep queues peek {name} dead` shows them"))
        })?);
    }
    for job in &numbers {
        if !store.queue_revive_one(name.as_bytes(), *job, now).map_err(failure)? {
            return Err(ErrorBody::new(
                ErrorCode::UnknownTarget,
                format!("job {job} is not among the dead of {name}"),
            )
            .with_hint(format!(
                "`skep queues peek {name} dead` shows them; those named before it were put back"
            )));
        }
    }
    Ok(numbers.len() as u64)
}

fn in_portions(mut portion: impl FnMut() -> Result<usize, ErrorBody>) -> Result<u64, ErrorBody> {
    let mut all = 0;
    loop {
        let count = portion()?;
        all += count as u64;
        if count < AT_ONCE {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use skep_state::{Options, PushOptions, Supervisor, push_job};

    use super::*;

    const NOW: WallMs = WallMs(1_700_000_000_000);

    /// Jobs of these queues in memory, and of those on the disk.
    fn stores(folder: &std::path::Path, memory: &[&str], durable: &[&str]) -> Stores {
        let options = Options::default();
        let one = Supervisor::open(&folder.join("memory"), &options, NOW).expect("a store");
        let two = Supervisor::open_durable(&folder.join("disk"), &options, NOW).expect("a store");
        let stores = Stores { memory: one.store().clone(), durable: Some(two.store().clone()) };
        let push = |store: &Store, name: &str| {
            store.write(NOW, |tx| push_job(tx, name.as_bytes(), b"\x011", &PushOptions::default()))
        };
        for name in memory {
            push(&stores.memory, name).expect("pushed");
        }
        for name in durable {
            push(stores.durable.as_ref().expect("it is there"), name).expect("pushed");
        }
        stores
    }

    #[test]
    fn a_queue_is_found_in_either_store_and_of_two_that_share_a_name_one_must_be_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let stores = stores(folder.path(), &["mail", "both"], &["bills", "both", "durable:odd"]);
        let found = |name: &str| one(&stores, name, NOW).map(|queue| (queue.name, queue.durable));
        assert_eq!(found("mail"), Ok(("mail".to_owned(), false)));
        assert_eq!(found("bills"), Ok(("bills".to_owned(), true)));
        assert_eq!(found("memory:both"), Ok(("both".to_owned(), false)));
        assert_eq!(found("durable:both"), Ok(("both".to_owned(), true)));
        assert_eq!(
            found("durable:odd"),
            Ok(("durable:odd".to_owned(), true)),
            "a name that is one comes first"
        );
        let error = found("both").expect_err("which?");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("durable:both")), "{error:?}");
        assert!(found("memory:bills").is_err() && found("none").is_err());
    }

    #[test]
    fn what_is_done_to_a_queue_is_done_in_its_own_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let stores = stores(folder.path(), &["both"], &["both"]);
        let purge = QueueAct::Purge(QueuePart::Ready);
        let changed = act(&stores, "durable:both", &purge, NOW).expect("purged");
        assert_eq!((changed.jobs, all(&stores, NOW).expect("read").len()), (1, 2));
        let ready = |name: &str| one(&stores, name, NOW).expect("it is there").ready;
        assert_eq!((ready("memory:both"), ready("durable:both")), (1, 0));
        let jobs = |name: &str| {
            jobs(&stores, name, &QueueJobsQuery::default(), &Names::new(), NOW).expect("read").len()
        };
        assert_eq!((jobs("memory:both"), jobs("durable:both")), (1, 0));
    }
}
