//! Bodies: those that are read, and those that are written line by line.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Frame, Incoming};
use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_api::{ErrorBody, ErrorCode};
use tokio::sync::mpsc;

/// The largest request: an app whose environment is as large as the kernel lets one be (2 MiB on Linux by
/// default, a quarter of an 8 MiB stack), doubled by JSON's escapes, with room.
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The largest request about many apps: the environment comes once, so that this is a hundred thousand apps.
const LARGE_REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Lines that wait for a client that reads slowly; the writer waits then.
const LINES_WAITING_MAX: usize = 64;

/// What is sent.
#[derive(Debug)]
pub(crate) enum Body {
    /// All at once.
    Whole(Full<Bytes>),
    /// As it comes.
    Lines(mpsc::Receiver<Bytes>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Whole(full) => Pin::new(full).poll_frame(cx),
            Body::Lines(lines) => lines.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }
}

/// Where lines of JSON go.
#[derive(Debug, Clone)]
pub(crate) struct Lines(mpsc::Sender<Bytes>);

/// The client is not there any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientGone;

impl Lines {
    pub(crate) fn new() -> (Lines, Body) {
        let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
        (Lines(sender), Body::Lines(receiver))
    }

    /// Writes one line, when the client has read enough of those before.
    pub(crate) async fn write<T: Serialize>(&self, line: &T) -> Result<(), ClientGone> {
        let mut bytes = serde_json::to_vec(line).expect("API types have string keys and no failing parts");
        bytes.push(b'\n');
        self.0.send(bytes.into()).await.map_err(|_| ClientGone)
    }

    /// Waits until the client has gone.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// Reads a JSON body.
pub(crate) async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, ErrorBody> {
    let bytes = collect(body, REQUEST_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(&bytes, &error))
}

/// Reads the JSON body of a request about many apps.
pub(crate) async fn read_large<T: DeserializeOwned>(body: Incoming) -> Result<T, ErrorBody> {
    let bytes = collect(body, LARGE_REQUEST_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(&bytes, &error))
}

/// Reads a JSON body that may be left out.
pub(crate) async fn arguments<T: DeserializeOwned + Default>(body: Incoming) -> Result<T, ErrorBody> {
    let bytes = collect(body, REQUEST_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| unreadable(&bytes, &error))
}

/// Why a body cannot be read; for an app with its name and the attribute that is wrong.
fn unreadable(bytes: &[u8], error: &serde_json::Error) -> ErrorBody {
    let body: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let apps = body["apps"].as_array().into_iter().flatten().chain(body.get("spec"));
    match apps.filter_map(serde_json::Value::as_object).find_map(wrong_attribute) {
        Some(words) => bad_request(&words),
        None => bad_request(&format!("the body cannot be read: {error}")),
    }
}

fn wrong_attribute(app: &serde_json::Map<String, serde_json::Value>) -> Option<String> {
    app.iter().find_map(|(attribute, value)| {
        let alone = serde_json::json!({ attribute: value });
        let error = serde_json::from_value::<skep_spec::AppSpec>(alone).err()?.to_string();
        // The list of all attributes that there are is long.
        let error = error.split(", expected one of `").next().unwrap_or(&error);
        let name = app.get("name").and_then(serde_json::Value::as_str).unwrap_or("an app without a name");
        Some(format!("{name}: {attribute}: {error}"))
    })
}

async fn collect(body: Incoming, bytes_max: usize) -> Result<Bytes, ErrorBody> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ErrorBody::new(ErrorCode::TooLarge, format!("the request is larger than {bytes_max} bytes"))
                .with_hint("is the environment unusually large? --filter-env leaves variables out"))
        }
        Err(error) => Err(bad_request(&format!("the request was cut off: {error}"))),
    }
}

/// Reads the query string.
pub(crate) fn query<T: DeserializeOwned>(text: &str) -> Result<T, ErrorBody> {
    serde_urlencoded::from_str(text)
        .map_err(|error| bad_request(&format!("the query cannot be read: {error}")))
}

fn bad_request(message: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::BadRequest, message).with_hint("GET /v1/openapi.json describes all there is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> String {
        let error = serde_json::from_str::<skep_api::CreateApp>(text).unwrap_err();
        unreadable(text.as_bytes(), &error).message
    }

    #[test]
    fn a_wrong_attribute_is_named_with_its_app() {
        let said = check(r#"{"spec":{"name":"web","max_memory_restart":"10X"}}"#);
        assert!(said.starts_with("web: max_memory_restart: ") && said.contains("200M"), "{said}");
        assert_eq!(
            check(r#"{"spec":{"name":"web","instnaces":2}}"#),
            "web: instnaces: unknown field `instnaces`"
        );
        assert!(check(r#"{"spec":{"name":"web""#).starts_with("the body cannot be read: EOF"));
    }
}
