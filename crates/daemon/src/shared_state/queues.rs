//! Jobs of queues, for `skep queues`.

use skep_api::{
    ErrorBody, ErrorCode, QueueAct, QueueChanged, QueueJob, QueueJobsQuery, QueuePart, StateQueue,
};
use skep_state::{JobPart, JobView, Store, WallMs};

use super::entries::decode;
use super::failure;
use super::figures::{Names, queues};

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

/// One queue.
pub(crate) fn one(store: &Store, name: &str, now: WallMs) -> Result<StateQueue, ErrorBody> {
    let all = queues(store, now)?;
    match all.iter().find(|queue| queue.name == name) {
        Some(queue) => Ok(queue.clone()),
        None => Err(unknown(name, &all)),
    }
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
    store: &Store,
    name: &str,
    wanted: &QueueJobsQuery,
    names: &Names,
    now: WallMs,
) -> Result<Vec<QueueJob>, ErrorBody> {
    let most = wanted.limit.min(JOBS_MAX) as usize;
    let found = store.queue_peek(name.as_bytes(), part(wanted.part), most, now).map_err(failure)?;
    let Some(found) = found else { return Err(unknown(name, &queues(store, now)?)) };
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
pub(crate) fn act(store: &Store, name: &str, act: &QueueAct, now: WallMs) -> Result<QueueChanged, ErrorBody> {
    one(store, name, now)?;
    let queue = name.as_bytes();
    let jobs = match act {
        QueueAct::Pause | QueueAct::Resume => {
            store.queue_pause(queue, *act == QueueAct::Pause, now).map_err(failure)?;
            0
        }
        QueueAct::Retry(ids) if ids.is_empty() => {
            in_portions(|| store.queue_revive(queue, AT_ONCE, now).map_err(failure))?
        }
        QueueAct::Retry(ids) => retry(store, name, ids, now)?,
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
