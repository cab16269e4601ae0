//! Metrics over TCP: one path, a token, and clients that are trusted with nothing.
//!
//! A connection is for one request and lives for ten seconds at most, so that one that is slow, silent or talks nonsense
//! costs a descriptor for that long; beyond a few at once, newcomers are let go.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::metrics::{TEXT, text};
use crate::driver::Shared;

/// Prometheus's usual patience.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// A scraper needs one connection.
const CONNECTIONS_MAX: usize = 32;
/// The least that hyper takes.
const HEAD_BYTES_MAX: usize = 8192;
/// After a failed accept (too many open files) nothing is better soon.
const PAUSE: Duration = Duration::from_millis(100);

/// Counts a connection for as long as it lives.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(taken: &Rc<Cell<usize>>) -> Option<Self> {
        (taken.get() < CONNECTIONS_MAX).then(|| {
            taken.set(taken.get() + 1);
            Self(Rc::clone(taken))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Serves until it is aborted.
pub(crate) async fn metrics_over_tcp(driver: Shared, listener: TcpListener) {
    let taken = Rc::new(Cell::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Some(place) = Place::take(&taken) {
                    tokio::task::spawn_local(connection(Rc::clone(&driver), stream, place));
                }
            }
            Err(error) => {
                crate::diary::note(format_args!("cannot accept a client of metrics: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(driver: Shared, stream: TcpStream, place: Place) {
    let service = service_fn(|request| {
        let driver = Rc::clone(&driver);
        async move { Ok::<_, Infallible>(answer(&driver, &request).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // What is wrong with it is the client's own affair.
    let _ = tokio::time::timeout(CONNECTION_MAX, serving).await;
    drop(place);
}

/// Without the token nothing is told, not even which paths there are.
async fn answer(driver: &Shared, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let token = driver.borrow().listening.token.clone();
    let shown = request.headers().get(AUTHORIZATION);
    if !token.zip(shown).is_some_and(|(token, shown)| token.is_shown_by(shown.as_bytes())) {
        let mut response = plain(
            StatusCode::UNAUTHORIZED,
            "show the token: Authorization: Bearer <what `skep metrics token` prints>\n",
        );
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"skep\""));
        return response;
    }
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "there is only /metrics\n");
    }
    if request.method() != Method::GET {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    let mut response = Response::new(Full::new(Bytes::from(text(driver).await)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
