//! Answers: JSON, lines of JSON, nothing, or an error with its status.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use skep_api::{ErrorBody, ErrorEnvelope};

use super::body::Body;

/// What a route answers.
pub(crate) type Answer = Result<Response<Body>, ErrorBody>;

pub(crate) fn json<T: Serialize>(value: &T) -> Answer {
    Ok(whole(200, value))
}

pub(crate) fn no_content() -> Answer {
    Ok(respond(204, "application/json", Body::Whole(Full::new(Bytes::new()))))
}

pub(crate) fn lines(body: Body) -> Answer {
    Ok(respond(200, "application/x-ndjson", body))
}

pub(crate) fn failure(error: &ErrorBody) -> Response<Body> {
    whole(error.code.status(), &ErrorEnvelope { error: error.clone() })
}

fn whole<T: Serialize>(status: u16, value: &T) -> Response<Body> {
    let bytes = serde_json::to_vec(value).expect("API types have string keys and no failing parts");
    respond(status, "application/json", Body::Whole(Full::new(bytes.into())))
}

fn respond(status: u16, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("the table's statuses are valid");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
