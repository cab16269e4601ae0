//! Jobs that are requests to the app. A request ends with the daemon that makes it: its end is then not known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use skep_jobs::{Outcome, RunId, Start};
use skep_listeners::LocalAddress;
use skep_spec::Schedule;
use skep_sys::net::UnixName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::functions::{RESULT_BYTES_MAX, cut};
use crate::driver::Driver;

/// An answer is read so far; what is kept of it is less.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Where a request goes.
enum Target {
    Tcp { host: String, path: String },
    Unix { file: std::path::PathBuf, path: String },
}

impl Driver {
    pub(super) fn start_request(&mut self, start: &Start) {
        let target = self
            .schedule_of(&start.run.job)
            .ok_or_else(|| "the job is gone".to_owned())
            .and_then(|(_, schedule)| Ok((self.request_target(start, &schedule)?, schedule)));
        let (target, schedule) = match target {
            Ok(found) => found,
            Err(problem) => {
                return self.job_ended(start.run.clone(), start.token, Outcome::Failed(problem));
            }
        };
        let driver = self.me.upgrade().expect("the driver is alive while it works");
        let (run, token) = (start.run.clone(), start.token);
        let task = tokio::task::spawn_local(async move {
            let outcome = match ask(target, &schedule.method, &run, token).await {
                Ok(body) => Outcome::Succeeded(Some(body)),
                Err(problem) => Outcome::Failed(problem),
            };
            let mut driver = driver.borrow_mut();
            driver.board.requests.remove(&token);
            driver.job_ended(run, token, outcome);
        });
        self.board.requests.insert(start.token, task.abort_handle());
    }

    fn request_target(&mut self, start: &Start, schedule: &Schedule) -> Result<Target, String> {
        let url = schedule.http.clone().ok_or("the job is no request any more")?;
        if let Some(rest) = url.strip_prefix("http://") {
            let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
            let host = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
                host.to_owned()
            } else {
                format!("{host}:80")
            };
            return Ok(Target::Tcp { host, path: format!("/{path}") });
        }
        let app = self.app_named(&start.run.job.app).ok_or("its app is gone")?;
        let mut addresses = self.ports.of(app).map(|(_, entry)| entry.group.local_address().clone());
        let found = addresses.find_map(|address| match address {
            LocalAddress::Inet(at) => {
                Some(Target::Tcp { host: reachable(at).to_string(), path: url.clone() })
            }
            LocalAddress::Unix(UnixName::Path(file)) => Some(Target::Unix { file, path: url.clone() }),
            LocalAddress::Unix(UnixName::Abstract(_)) | LocalAddress::Unnamed => None,
        });
        found
            .ok_or_else(|| "the app listens nowhere that skep knows of; write a whole http:// URL".to_owned())
    }
}

/// An address to connect to, for one that is listened on.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        // A socket on `::` takes IPv4 too, unless it says that it does not.
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

async fn ask(target: Target, method: &str, run: &RunId, token: u64) -> Result<String, String> {
    match target {
        Target::Tcp { host, path } => {
            let stream = TcpStream::connect(&host).await;
            let stream = stream.map_err(|error| format!("cannot connect to {host}: {error}"))?;
            send(stream, &host, &path, method, run, token).await
        }
        Target::Unix { file, path } => {
            let stream = UnixStream::connect(&file).await;
            let stream = stream.map_err(|error| format!("cannot connect to {}: {error}", file.display()))?;
            send(stream, "localhost", &path, method, run, token).await
        }
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    host: &str,
    path: &str,
    method: &str,
    run: &RunId,
    token: u64,
) -> Result<String, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", host)
        .header("user-agent", "skep")
        .header("connection", "close")
        .header("idempotency-key", run.to_string())
        .header("x-skep-run-id", run.to_string())
        .header("x-skep-scheduled-at", run.scheduled.0)
        .header("x-skep-attempt", run.attempt)
        .header("x-skep-fencing-token", token)
        .body(Full::new(Bytes::new()))
        .map_err(|error| error.to_string())?;
    // The connection is driven beside the answer, and ends with whoever drops this future.
    let exchange = async {
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        let end = body.len().min(RESULT_BYTES_MAX);
        let body = cut(String::from_utf8_lossy(&body[..end]).into_owned());
        if status.is_success() { Ok(body) } else { Err(format!("status {status}: {body}")) }
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    let mut connected = true;
    loop {
        tokio::select! {
            answer = &mut exchange => return answer,
            end = &mut connection, if connected => {
                connected = false;
                if let Err(error) = end {
                    return Err(error.to_string());
                }
            }
        }
    }
}
