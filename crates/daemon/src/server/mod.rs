//! The API's server: HTTP/1.1 with JSON on the control socket, which the keeper holds, so that a command typed while the
//! daemon restarts waits a moment instead of failing.

mod answer;
mod body;
mod logs;
mod metrics;
mod progress;
mod script;
mod state;
mod tcp;

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use skep_api::{ErrorBody, ErrorCode, Route};
use tokio::net::{UnixListener, UnixStream};

use crate::driver::Shared;
use answer::{Answer, failure, json, no_content};
use body::{Body, arguments, query, read, read_large};
pub(crate) use tcp::metrics_over_tcp;

/// Accepts until the daemon ends or is leaving; connections that come later wait in the queue for the next one.
pub(crate) async fn serve(driver: Shared, listener: OwnedFd) -> std::io::Result<()> {
    let listener = std::os::unix::net::UnixListener::from(listener);
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let leaving = Rc::clone(&driver.borrow().leaving);
    loop {
        let accepted = tokio::select! {
            biased;
            () = leaving.notified() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::task::spawn_local(connection(Rc::clone(&driver), stream));
            }
            // Too many open files: connections wait in the queue until one of ours ends.
            Err(error) => {
                crate::diary::note(format_args!("cannot accept a client: {error}"));
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn connection(driver: Shared, stream: UnixStream) {
    if !may_command(&stream) {
        return;
    }
    let serving = Rc::clone(&driver);
    let service = service_fn(move |request| {
        let driver = Rc::clone(&serving);
        async move { Ok::<_, Infallible>(respond(driver, request).await) }
    });
    // A client that goes away in the middle is its own affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // Whoever comes next has only just begun to start its program.
    driver.borrow_mut().make_ready();
}

/// The socket's mode lets only its owner in; this holds where somebody changed it. Root may do anything anyway.
fn may_command(stream: &UnixStream) -> bool {
    match skep_sys::unix::peer(stream) {
        Ok(peer) => peer.uid == rustix::process::getuid().as_raw() || peer.uid == 0,
        Err(_) => false,
    }
}

async fn respond(driver: Shared, request: Request<Incoming>) -> Response<Body> {
    match route(driver, request).await {
        Ok(response) => response,
        Err(error) => failure(&error),
    }
}

async fn route(driver: Shared, request: Request<Incoming>) -> Answer {
    driver.borrow().rest.disturb();
    let (head, body) = request.into_parts();
    let found = skep_api::find(head.method.as_str(), head.uri.path())?;
    let parameter = found.parameter.unwrap_or_default();
    let text = head.uri.query().unwrap_or_default();
    match found.route {
        Route::ListApps => {
            let wanted: skep_api::AppsQuery = query(text)?;
            ask_for_vitals(&driver, wanted).await;
            let views = driver.borrow_mut().app_views(None, wanted.detail);
            json(&views)
        }
        Route::Metrics => metrics::metrics(&driver).await,
        Route::ShowMetricsServer => {
            let view = driver.borrow().metrics_server()?;
            json(&view)
        }
        Route::ConfigureMetrics => {
            let change: skep_api::ConfigureMetrics = read(body).await?;
            let (view, ended) = driver.borrow_mut().configure_metrics(&change)?;
            if let Some(ended) = ended {
                // It was told to end: that it was cut off is no failure.
                let _ = ended.await;
            }
            json(&view)
        }
        Route::ShowApps => {
            let wanted: skep_api::AppsQuery = query(text)?;
            let targets = skep_api::decode_targets(parameter)?;
            ask_for_vitals(&driver, wanted).await;
            let picked = driver.borrow().pick(&targets)?;
            let ids: Vec<u32> = picked.iter().map(|(app, _, _)| app.0).collect();
            let views = driver.borrow_mut().app_views(Some(&ids), wanted.detail);
            json(&views)
        }
        Route::ApplyApps => progress::apply(driver, read_large(body).await?).await,
        Route::CreateApp => progress::create(driver, read(body).await?).await,
        Route::StartApps
        | Route::StopApps
        | Route::RestartApps
        | Route::ReloadApps
        | Route::DeleteApps
        | Route::ResetApps => progress::act(driver, found.route, parameter, arguments(body).await?),
        Route::ScaleApp => progress::scale(driver, parameter, &read(body).await?),
        Route::Resurrect => progress::resurrect(driver, arguments(body).await?),
        Route::StopDaemon => progress::stop_daemon(&driver),
        Route::UpgradeDaemon => upgrade(&driver, read(body).await?).await,
        Route::SignalApps => {
            let wanted: skep_api::SendSignal = read(body).await?;
            let targets = skep_api::decode_targets(parameter)?;
            driver.borrow_mut().send_signal(&targets, wanted.signal.number())?;
            no_content()
        }
        Route::TriggerApps => logs::trigger(&driver, parameter, &read(body).await?),
        Route::WriteStdin => {
            let wanted: skep_api::SendText = read(body).await?;
            let targets = skep_api::decode_targets(parameter)?;
            driver.borrow_mut().send_text(&targets, &wanted.text)?;
            no_content()
        }
        Route::Pm2Processes => {
            let processes = driver.borrow_mut().pm2_processes(None);
            json(&processes)
        }
        Route::FlushLogs => {
            let targets = skep_api::decode_targets(parameter)?;
            driver.borrow_mut().flush_logs(&targets)?;
            no_content()
        }
        Route::ReopenLogs => {
            driver.borrow_mut().reopen_logs();
            no_content()
        }
        Route::MessageWorker => {
            let worker: u32 = parameter.parse().map_err(|_| {
                ErrorBody::new(ErrorCode::BadRequest, format!("{parameter} is not a worker's id"))
                    .with_hint("`skep describe` shows the ids of workers")
            })?;
            let message: Box<serde_json::value::RawValue> = read(body).await?;
            driver.borrow_mut().send_message(worker, message.get())?;
            no_content()
        }
        Route::Logs => logs::logs(driver, parameter, &query(text)?),
        Route::Events => logs::events(driver, &query(text)?),
        Route::ShowDaemon => {
            let view = driver.borrow().daemon_view();
            json(&view)
        }
        Route::StateNames
        | Route::ShowState
        | Route::WatchState
        | Route::ChangeState
        | Route::StateLocks
        | Route::StateQueues
        | Route::StateStats
        | Route::BackupState
        | Route::RestoreState
        | Route::ShowStateConfig
        | Route::ConfigureState => state::answer(driver, found.route, text, body).await,
        Route::ShowQueue | Route::QueueJobs | Route::ActOnQueue => {
            let name = skep_api::decode_name(parameter)?;
            state::answer_queue(driver, found.route, name, text, body).await
        }
        Route::ShowHosts => json(&crate::hosts::view(&driver).await),
        Route::ConfigureHosts => {
            let change: skep_api::HostsChange = read(body).await?;
            driver.borrow_mut().configure_hosts(change)?;
            json(&crate::hosts::view(&driver).await)
        }
        Route::ListJobs => {
            let views = driver.borrow().job_views();
            json(&views)
        }
        Route::ShowJob => {
            let view = driver.borrow().job_view(&job_name(parameter)?)?;
            json(&view)
        }
        Route::JobHistory => {
            let wanted: skep_api::JobHistoryQuery = query(text)?;
            let runs = driver.borrow().job_history(&job_name(parameter)?, wanted.limit as usize)?;
            json(&runs)
        }
        Route::ActOnJob => {
            let act: skep_api::JobAct = read(body).await?;
            let view = driver.borrow_mut().job_act(&job_name(parameter)?, act)?;
            json(&view)
        }
        Route::OpenApi => json(&skep_api::openapi()),
    }
}

/// How long a look waits for workers that are slow to say how they are.
const VITALS_PATIENCE: std::time::Duration = std::time::Duration::from_millis(100);

async fn ask_for_vitals(driver: &Shared, wanted: skep_api::AppsQuery) {
    if wanted.vitals {
        crate::metrics::refresh(driver, VITALS_PATIENCE).await;
    }
}

fn job_name(parameter: &str) -> Result<String, ErrorBody> {
    skep_api::decode_name(parameter)
}

/// Answers when the keeper has become the new program; this daemon ends right afterwards and the new one takes over.
async fn upgrade(driver: &Shared, request: skep_api::UpgradeDaemon) -> Answer {
    let outcome = driver.borrow_mut().upgrade(&request)?;
    match outcome.await {
        Ok(Ok(())) => json(&serde_json::json!({})),
        Ok(Err(reason)) => {
            Err(ErrorBody::new(ErrorCode::Conflict, format!("skep was not upgraded: {reason}"))
                .with_hint("the running version goes on as before"))
        }
        Err(_) => Err(ErrorBody::new(ErrorCode::Unavailable, "skep is stopping")),
    }
}
