//! `GET /v1/metrics`: Prometheus's text.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::answer::Answer;
use super::body::Body;
use crate::driver::{Shared, now};
use crate::metrics::refresh;

/// How long workers have for their answers. A healthy one needs a millisecond; one whose event loop is blocked shall not
/// make the scrape fail.
const PATIENCE: Duration = Duration::from_millis(500);
/// The content type of Prometheus's text format.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn metrics(driver: &Shared) -> Answer {
    let mut response = Response::new(Body::Whole(Full::new(Bytes::from(text(driver).await))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    Ok(response)
}

/// All figures, after every worker was asked.
pub(super) async fn text(driver: &Shared) -> String {
    let before = now();
    tokio::task::yield_now().await;
    let round = now().since(before).0 as f64 / 1e9;
    refresh(driver, PATIENCE).await;
    let durable = crate::shared_state::durable::queues(driver).await;
    driver.borrow_mut().exposition(round, durable)
}
