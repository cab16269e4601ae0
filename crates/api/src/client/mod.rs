//! A client of the control protocol, over a Unix socket that somebody else has connected.
//!
//! One connection, one request at a time, on a tokio runtime of one thread. What the daemon refuses comes back as
//! [`ClientError::Refused`] with the daemon's own words; everything else is a fault of the connection.

mod lines;

pub use lines::Lines;

use crate::{
    Act, AppView, ApplyApps, AppsQuery, CreateApp, DaemonView, ErrorBody, ErrorEnvelope, Event, EventsQuery,
    LogLine, LogsQuery, Progress, Route, ScaleApp, SendSignal, UpgradeDaemon, encode_targets,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::unix::net::UnixStream;

/// The longest answer that is not a stream: a thousand apps with their environments are a few megabytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] ErrorBody),
    /// The connection ended before the answer did.
    #[error("the connection to the skep daemon was lost: {0}")]
    Lost(String),
    /// The answer was not what this client understands.
    #[error("the skep daemon's answer cannot be read: {0}")]
    Garbled(String),
}

impl From<hyper::Error> for ClientError {
    fn from(error: hyper::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    /// Speaks HTTP on `stream`. Must be called within a tokio runtime, on which the connection then lives.
    pub async fn over(stream: UnixStream) -> Result<Self, ClientError> {
        let io = |error: std::io::Error| ClientError::Lost(error.to_string());
        stream.set_nonblocking(true).map_err(io)?;
        let stream = tokio::net::UnixStream::from_std(stream).map_err(io)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // A fault of the connection also ends the request under way, which reports it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender })
    }

    /// All apps, or those that `targets` mean.
    pub async fn apps<S: AsRef<str>>(
        &mut self,
        targets: &[S],
        query: AppsQuery,
    ) -> Result<Vec<AppView>, ClientError> {
        match targets {
            [] => self.read(Route::ListApps, "", &query).await,
            targets => self.read(Route::ShowApps, &encode_targets(targets), &query).await,
        }
    }

    /// Adds an app.
    pub async fn create(&mut self, request: &CreateApp) -> Result<Lines<Progress>, ClientError> {
        self.command(Route::CreateApp, "", request).await
    }

    /// Makes many apps what a file describes.
    pub async fn apply(&mut self, request: &ApplyApps) -> Result<Lines<Progress>, ClientError> {
        self.command(Route::ApplyApps, "", request).await
    }

    /// Start, stop, restart, reload, delete or reset.
    pub async fn act<S: AsRef<str>>(
        &mut self,
        route: Route,
        targets: &[S],
        act: &Act,
    ) -> Result<Lines<Progress>, ClientError> {
        self.command(route, &encode_targets(targets), act).await
    }

    /// Changes the number of workers.
    pub async fn scale(&mut self, app: &str, request: &ScaleApp) -> Result<Lines<Progress>, ClientError> {
        self.command(Route::ScaleApp, &encode_targets(&[app]), request).await
    }

    /// Sends a signal to workers.
    pub async fn signal<S: AsRef<str>>(
        &mut self,
        targets: &[S],
        request: &SendSignal,
    ) -> Result<(), ClientError> {
        self.send_json(Route::SignalApps, &encode_targets(targets), request).await
    }

    /// Sends any JSON value to one Node.js worker.
    pub async fn message(&mut self, worker: u32, message: &impl Serialize) -> Result<(), ClientError> {
        self.send_json(Route::MessageWorker, &worker.to_string(), message).await
    }

    /// Log lines.
    pub async fn logs<S: AsRef<str>>(
        &mut self,
        targets: &[S],
        query: &LogsQuery,
    ) -> Result<Lines<LogLine>, ClientError> {
        self.follow(Route::Logs, &encode_targets(targets), query).await
    }

    /// Events.
    pub async fn events(&mut self, query: &EventsQuery) -> Result<Lines<Event>, ClientError> {
        self.follow(Route::Events, "", query).await
    }

    /// What the daemon says of itself.
    pub async fn daemon(&mut self) -> Result<DaemonView, ClientError> {
        self.read(Route::ShowDaemon, "", &()).await
    }

    /// Stops all workers, the daemon and the keeper; answers when the stop is under way.
    pub async fn stop_daemon(&mut self) -> Result<(), ClientError> {
        self.send_json(Route::StopDaemon, "", &serde_json::Map::new()).await
    }

    /// Makes the running skep another program; answers when it is.
    pub async fn upgrade_daemon(&mut self, request: &UpgradeDaemon) -> Result<(), ClientError> {
        self.send_json(Route::UpgradeDaemon, "", request).await
    }

    /// A `POST` whose answer says nothing but that it was accepted.
    pub async fn send_json(
        &mut self,
        route: Route,
        parameter: &str,
        body: &impl Serialize,
    ) -> Result<(), ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Garbled(error.to_string()))?;
        let response = self.send(route, parameter, "", body.into()).await?;
        collect(response).await.map(drop)
    }

    /// A `POST` whose answer is one JSON value.
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        route: Route,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Garbled(error.to_string()))?;
        let response = self.send(route, "", "", body.into()).await?;
        let body = collect(response).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Garbled(error.to_string()))
    }

    /// A `POST` on one thing, whose answer is one JSON value.
    pub async fn change<T: DeserializeOwned>(
        &mut self,
        route: Route,
        parameter: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Garbled(error.to_string()))?;
        let response = self.send(route, parameter, "", body.into()).await?;
        let answer = collect(response).await?;
        serde_json::from_slice(&answer).map_err(|error| ClientError::Garbled(error.to_string()))
    }

    /// A `GET` whose answer is one JSON value.
    pub async fn read<T: DeserializeOwned>(
        &mut self,
        route: Route,
        parameter: &str,
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(route, parameter, &query_text(query)?, Bytes::new()).await?;
        let body = collect(response).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Garbled(error.to_string()))
    }

    /// A `GET` whose answer is text.
    pub async fn text(&mut self, route: Route) -> Result<String, ClientError> {
        let response = self.send(route, "", "", Bytes::new()).await?;
        let body = collect(response).await?;
        String::from_utf8(body.into()).map_err(|error| ClientError::Garbled(error.to_string()))
    }

    /// A `GET` whose answer is a stream.
    pub async fn follow<T: DeserializeOwned>(
        &mut self,
        route: Route,
        parameter: &str,
        query: &impl Serialize,
    ) -> Result<Lines<T>, ClientError> {
        let response = self.send(route, parameter, &query_text(query)?, Bytes::new()).await?;
        Ok(Lines::new(response.into_body()))
    }

    /// A `POST` whose answer is a stream.
    pub async fn command<T: DeserializeOwned>(
        &mut self,
        route: Route,
        parameter: &str,
        body: &impl Serialize,
    ) -> Result<Lines<T>, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Garbled(error.to_string()))?;
        let response = self.send(route, parameter, "", body.into()).await?;
        Ok(Lines::new(response.into_body()))
    }

    async fn send(
        &mut self,
        route: Route,
        parameter: &str,
        query: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut target = route.path(parameter);
        if !query.is_empty() {
            target.push('?');
            target.push_str(query);
        }
        let request = Request::builder()
            .method(route.spec().method.as_str())
            .uri(target)
            .header("host", "skep")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Garbled(error.to_string()))?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }
}

fn query_text(query: &impl Serialize) -> Result<String, ClientError> {
    serde_urlencoded::to_string(query).map_err(|error| ClientError::Garbled(error.to_string()))
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| ClientError::Lost(error.to_string()))
}

async fn refusal(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    match collect(response).await {
        Ok(body) => match serde_json::from_slice::<ErrorEnvelope>(&body) {
            Ok(envelope) => ClientError::Refused(envelope.error),
            Err(_) => ClientError::Garbled(format!("status {status} without an error that can be read")),
        },
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests;
