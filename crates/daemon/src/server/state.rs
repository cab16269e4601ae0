//! The shared state by the API. What may take long (a listing of a million keys, a backup) runs beside the loop.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use skep_api::{ErrorBody, ErrorCode, Route, StateConfig, StateFile, StateQuery, StateSeen};
use skep_state::{Store, Supervisor, WallMs};
use tokio::time::Instant;

use super::answer::{Answer, json, lines};
use super::body::{ClientGone, Lines, query, read};
use crate::driver::{Shared, unix_ms};
use crate::shared_state::watcher::Watcher;
use crate::shared_state::{Stores, durable, entries, failure, figures, queues};

/// Tries while a frozen worker is in the way of all writing, some 5 s in all.
const TRIES: u32 = 100;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(30);

/// After so long a watched value that is looked at is told though it has not changed.
const SAID_AGAIN: Duration = Duration::from_secs(1);

fn now() -> WallMs {
    WallMs(unix_ms())
}

/// Answers a route of the shared state.
pub(super) async fn answer(driver: Shared, route: Route, text: &str, body: Incoming) -> Answer {
    match route {
        Route::StateNames => json(&beside_both(&driver, |stores| entries::names(stores, now())).await?),
        Route::ShowState => {
            let wanted: StateQuery = query(text)?;
            json(&beside(&driver, move |store| entries::show(store, &wanted, now())).await?)
        }
        Route::WatchState => watch(driver, query(text)?).await,
        Route::ChangeState => {
            let request: skep_api::ChangeState = read(body).await?;
            json(&beside(&driver, move |store| entries::change(store, &request, now())).await?)
        }
        Route::StateLocks => {
            let names = driver.borrow().worker_names();
            json(&beside(&driver, move |store| figures::locks(store, &names, now())).await?)
        }
        Route::StateQueues => json(&beside_both(&driver, |stores| queues::all(stores, now())).await?),
        Route::StateStats => json(&beside_both(&driver, |stores| Ok(figures::stats(stores))).await?),
        Route::BackupState => {
            let file: StateFile = read(body).await?;
            let path = absolute(file)?;
            beside_both(&driver, move |stores| back_up(stores, Path::new(&path))).await?;
            json(&serde_json::json!({}))
        }
        Route::RestoreState => {
            let file: StateFile = read(body).await?;
            let path = absolute(file)?;
            let home = driver.borrow().site.home.clone();
            beside(&driver, move |store| {
                let durable = || durable::make(&home);
                store.restore_with(&durable, Path::new(&path), now()).map_err(failure)
            })
            .await?;
            json(&serde_json::json!({}))
        }
        Route::ShowStateConfig => json(&driver.borrow().state_config()?),
        Route::ConfigureState => {
            let change: StateConfig = read(body).await?;
            let config = driver.borrow_mut().configure_state(change)?;
            json(&config)
        }
        _ => Err(ErrorBody::new(ErrorCode::Internal, "no route of the shared state")),
    }
}

/// Answers a route of one queue.
pub(super) async fn answer_queue(
    driver: Shared,
    route: Route,
    name: String,
    text: &str,
    body: Incoming,
) -> Answer {
    match route {
        Route::QueueJobs => {
            let (wanted, names) = (query(text)?, driver.borrow().worker_names());
            json(
                &beside_both(&driver, move |stores| queues::jobs(stores, &name, &wanted, &names, now()))
                    .await?,
            )
        }
        Route::ActOnQueue => {
            let act: skep_api::QueueAct = read(body).await?;
            json(&beside_both(&driver, move |stores| queues::act(stores, &name, &act, now())).await?)
        }
        _ => json(&beside_both(&driver, move |stores| queues::one(stores, &name, now())).await?),
    }
}

fn absolute(file: StateFile) -> Result<String, ErrorBody> {
    if Path::new(&file.path).is_absolute() {
        return Ok(file.path);
    }
    Err(ErrorBody::new(ErrorCode::BadRequest, format!("path: {:?} is not absolute", file.path))
        .with_hint("the daemon has another working directory than you"))
}

fn back_up(stores: &Stores, path: &Path) -> Result<(), ErrorBody> {
    match &stores.durable {
        Some(durable) => stores.memory.backup_with(durable, path, now()),
        None => stores.memory.backup(path, now()),
    }
    .map_err(failure)
}

/// The same as [`beside`] with durable queues, too.
async fn beside_both<T: Send + 'static>(
    driver: &Shared,
    work: impl Fn(&Stores) -> Result<T, ErrorBody> + Send + Sync + 'static,
) -> Result<T, ErrorBody> {
    let durable = durable::opened(driver).await?.map(|open| open.store().clone());
    beside(driver, move |memory| work(&Stores { memory: memory.clone(), durable: durable.clone() })).await
}

/// A look at what a name stands for.
#[derive(Debug, PartialEq)]
struct Look {
    seen: StateSeen,
    expires_in: Option<Duration>,
}

/// What a name stands for, now and whenever it has changed, for as long as the client is there.
async fn watch(driver: Shared, wanted: StateQuery) -> Answer {
    let mut watcher = driver.borrow().state_watcher();
    // The first look tells whether it can be watched at all.
    let mut last = look(&driver, &mut watcher, &wanted).await?;
    let (out, body) = Lines::new();
    tokio::task::spawn_local(async move {
        out.write(&last.seen).await?;
        let mut said = Instant::now();
        loop {
            tokio::select! {
                () = watcher.wait(last.expires_in) => {}
                () = out.closed() => break,
            }
            // The end of the answer has the client ask anew, and be told what is wrong.
            let Ok(now) = look(&driver, &mut watcher, &wanted).await else { break };
            // Said again now and then: that the client has gone shows only when something is sent to it.
            if now.seen != last.seen || said.elapsed() >= SAID_AGAIN {
                out.write(&now.seen).await?;
                said = Instant::now();
            }
            last = now;
        }
        Ok::<(), ClientGone>(())
    });
    lines(body)
}

async fn look(driver: &Shared, watcher: &mut Watcher, wanted: &StateQuery) -> Result<Look, ErrorBody> {
    watcher.begin(opened(driver)?);
    let (query, at) = (wanted.clone(), now());
    let view = match beside(driver, move |store| entries::show(store, &query, at)).await {
        Ok(view) => Some(view),
        Err(error) if error.code == ErrorCode::UnknownTarget => None,
        Err(error) => return Err(error),
    };
    let entries = view.iter().flat_map(|view| &view.entries);
    let expires = entries.filter_map(|entry| entry.expires_unix_ms).min();
    let expires_in = expires.map(|expires| Duration::from_millis(expires.saturating_sub(at.0)));
    Ok(Look { seen: StateSeen { view }, expires_in })
}

/// The store, opened now if it is not yet.
fn opened(driver: &Shared) -> Result<Rc<Supervisor>, ErrorBody> {
    driver.borrow_mut().open_shared_state().map_err(|reason| {
        ErrorBody::new(ErrorCode::StorageFailed, format!("there is no shared state: {reason}"))
    })
}

/// Does something with the store on another thread, patient with a frozen writer.
async fn beside<T: Send + 'static>(
    driver: &Shared,
    work: impl Fn(&Store) -> Result<T, ErrorBody> + Send + Sync + 'static,
) -> Result<T, ErrorBody> {
    let store = opened(driver)?.store().clone();
    let work = Arc::new(work);
    let mut tries = TRIES;
    loop {
        let (store, work) = (store.clone(), Arc::clone(&work));
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        let done = done
            .unwrap_or_else(|_| Err(ErrorBody::new(ErrorCode::Internal, "a fault in skep: see daemon.log")));
        match done {
            Err(error) if error.code == ErrorCode::Unavailable && tries > 0 => tries -= 1,
            done => return done,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
