//! A body of NDJSON, one value at a time.

use super::ClientError;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// The longest line that is accepted. A log line of a megabyte, escaped as JSON, is at most six.
const LINE_BYTES_MAX: usize = 16 << 20;

/// A stream of values, each on a line of its own.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    /// What has come and was not read yet; `start` is where the next line begins.
    buffer: Vec<u8>,
    start: usize,
    /// Up to where `buffer` was searched for a line's end already.
    searched: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: Vec::new(), start: 0, searched: 0, kind: PhantomData }
    }

    /// The next value; `None` at the proper end. An answer that was cut off is [`ClientError::Lost`].
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') {
                let end = self.searched + at;
                let line = self.start..end;
                self.start = end + 1;
                self.searched = self.start;
                if !line.is_empty() {
                    return parse(&self.buffer[line]).map(Some);
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.buffer.len() - self.start > LINE_BYTES_MAX {
                return Err(ClientError::Garbled(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.drain(..self.start);
                        self.searched -= self.start;
                        self.start = 0;
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None if self.start == self.buffer.len() => return Ok(None),
                None => {
                    let line = self.start..self.buffer.len();
                    self.start = self.buffer.len();
                    self.searched = self.start;
                    return parse(&self.buffer[line]).map(Some);
                }
            }
        }
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(line).map_err(|error| ClientError::Garbled(error.to_string()))
}
