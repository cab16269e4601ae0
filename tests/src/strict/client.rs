//! One client: connects, asks, reads, counts, and does it again until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Idle, answer};
use super::failure::Failure;
use super::plan::{Mode, Plan, Think};
use super::response::Response;
use super::run::Shared;

/// A client whose connection failed waits this long: a refused client must not spin.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(5);
/// Pieces of a dribbled request.
const DRIBBLE_PIECES: usize = 3;

pub(crate) struct Client {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    tls: Option<TlsConnector>,
    request: Vec<u8>,
    /// Of the connection in use, if there is one.
    port: Option<u16>,
    /// State of a small generator (xorshift) for think times; never 0.
    chance: u64,
}

/// Whether the connection can be used again.
enum Next {
    Again,
    Reconnect,
}

impl Client {
    pub(crate) fn new(
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        tls: Option<TlsConnector>,
        number: usize,
    ) -> Self {
        let request = request(&plan);
        Self {
            plan,
            shared,
            tls,
            request,
            port: None,
            chance: (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    pub(crate) async fn run(mut self) {
        while !self.shared.is_stopping() {
            let opened = Connection::open(&self.plan.target, self.tls.as_ref(), self.plan.timeout).await;
            match opened {
                Ok(connection) => {
                    self.port = connection.port();
                    self.shared.tally(|report| report.connects += 1);
                    self.use_up(connection).await;
                    self.port = None;
                    if let Mode::Short(think) = self.plan.mode {
                        tokio::time::sleep(self.pause(think)).await;
                    }
                }
                Err(failure) => self.fail(failure, "no connection").await,
            }
        }
    }

    /// Uses a connection until it ends.
    async fn use_up(&mut self, mut connection: Connection) {
        loop {
            let next = match self.plan.mode {
                Mode::Pipelined(depth) => self.ask(&mut connection, depth).await,
                Mode::Short(_) | Mode::KeepAlive(_) | Mode::Dribble(_) => self.ask(&mut connection, 1).await,
            };
            if matches!(next, Next::Reconnect) || self.shared.is_stopping() {
                return;
            }
            if let Mode::KeepAlive(think) = self.plan.mode
                && self.think(&mut connection, think).await
            {
                return;
            }
        }
    }

    /// Writes `depth` requests and reads their answers in order.
    async fn ask(&mut self, connection: &mut Connection, depth: usize) -> Next {
        let begun = Instant::now();
        if let Err(failure) = self.write(connection, depth).await {
            // What the server managed to say before it broke off tells more than the broken pipe.
            for _ in 0..depth {
                self.fail(failure, "while the request was written").await;
            }
            return Next::Reconnect;
        }
        let plan = Arc::clone(&self.plan);
        for answered in 0..depth {
            let (response, outcome) = answer(connection, &plan.expect, plan.timeout).await;
            if let Err(failure) = outcome.and_then(|()| judge(&response)) {
                let detail = format!(
                    "after {} bytes of the body, status {}",
                    response.body().seen(),
                    response.status()
                );
                // The requests behind it on this connection will never be answered either.
                self.fail(failure, &detail).await;
                for _ in answered + 1..depth {
                    self.fail(Failure::ClosedBeforeResponse, "pipelined behind a failed request").await;
                }
                return Next::Reconnect;
            }
            self.shared.tally(|report| report.count_ok(response.body().kept(), begun.elapsed()));
            if response.closes() {
                for _ in answered + 1..depth {
                    self.fail(Failure::ClosedBeforeResponse, "pipelined behind an announced close").await;
                }
                if !is_short(&plan) {
                    self.shared.tally(|report| report.polite_closes += 1);
                }
                return Next::Reconnect;
            }
        }
        if is_short(&plan) { Next::Reconnect } else { Next::Again }
    }

    async fn write(&self, connection: &mut Connection, depth: usize) -> Result<(), Failure> {
        let write = async {
            match self.plan.mode {
                Mode::Dribble(pause) => {
                    let size = self.request.len().div_ceil(DRIBBLE_PIECES);
                    for piece in self.request.chunks(size) {
                        connection.write(piece).await?;
                        tokio::time::sleep(pause).await;
                    }
                    Ok(())
                }
                Mode::Pipelined(_) => connection.write(&self.request.repeat(depth)).await,
                Mode::Short(_) | Mode::KeepAlive(_) => connection.write(&self.request).await,
            }
        };
        let limited = tokio::time::timeout(self.plan.timeout, write).await;
        limited.unwrap_or(Err(Failure::TimeoutBeforeResponse))
    }

    /// Thinks; true when the connection is gone after it.
    async fn think(&mut self, connection: &mut Connection, think: Think) -> bool {
        let pause = self.pause(think);
        if pause.is_zero() {
            return false;
        }
        match connection.rest(pause).await {
            Idle::Quiet => false,
            Idle::Closed => {
                self.shared.tally(|report| report.idle_closes += 1);
                true
            }
            Idle::Spoke => {
                self.fail(Failure::Malformed, "bytes that nobody asked for").await;
                true
            }
        }
    }

    async fn fail(&self, failure: Failure, detail: &str) {
        self.shared.tally_failure(failure, detail, self.port);
        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
    }

    /// A random time to think.
    fn pause(&mut self, think: Think) -> Duration {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let portion = (self.chance >> 11) as f64 / (1_u64 << 53) as f64;
        think.min + think.max.saturating_sub(think.min).mul_f64(portion)
    }
}

fn is_short(plan: &Plan) -> bool {
    matches!(plan.mode, Mode::Short(_))
}

fn judge(response: &Response<'_>) -> Result<(), Failure> {
    if !(200..300).contains(&response.status()) {
        return Err(Failure::WrongStatus);
    }
    if response.body().is_right() { Ok(()) } else { Err(Failure::WrongBody) }
}

fn request(plan: &Plan) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", plan.method, plan.path);
    if is_short(plan) {
        head.push_str("Connection: close\r\n");
    }
    if !plan.body.is_empty() {
        head.push_str(&format!(
            "Content-Type: application/octet-stream\r\nContent-Length: {}\r\n",
            plan.body.len()
        ));
    }
    head.push_str("\r\n");
    let mut request = head.into_bytes();
    request.extend_from_slice(&plan.body);
    request
}
