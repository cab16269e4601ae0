//! Connections: accepted, answered, and let go without losing a request.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use skep_sys::signal::SignalFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::Options;
use crate::site::Site;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// How long a connection may be silent before its next request is whole.
const SILENCE: Duration = Duration::from_secs(75);
/// When we leave, clients with an idle connection have so long for one more request, which they are answered with
/// `Connection: close`: one that is closed under a request on its way is a failure to its client.
const FAREWELL: Duration = Duration::from_millis(2_000);
/// How long to wait when descriptors have run out.
const SHORTAGE: Duration = Duration::from_millis(50);

pub(crate) fn run(options: Options, listeners: Vec<TcpListener>) -> io::Result<()> {
    // Before there is another thread: signals are blocked in each that follows.
    let signals = SignalFd::new(&[SIGINT, SIGTERM])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    LocalSet::new().block_on(&runtime, serve(Rc::new(Site::new(options)), listeners, signals))?;
    // A read from a dead disk must not keep us.
    runtime.shutdown_background();
    Ok(())
}

async fn serve(site: Rc<Site>, listeners: Vec<TcpListener>, signals: SignalFd) -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "`register` is unsafe; the descriptor is this one's alone and never exchanged"
    )]
    let signals = AsyncFd::with_interest(signals, Interest::READABLE)?;
    let (closing, is_closing) = watch::channel(false);
    // Each connection holds a sender; when the last is gone, nothing comes any more.
    let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
    let mut acceptors = Vec::new();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (site, is_closing, alive) = (Rc::clone(&site), is_closing.clone(), alive.clone());
        acceptors.push(spawn_local(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (site, is_closing, alive) = (Rc::clone(&site), is_closing.clone(), alive.clone());
                        spawn_local(async move {
                            connection(stream, site, is_closing).await;
                            drop(alive);
                        });
                    }
                    Err(error) => {
                        if !is_of_one_connection(&error) {
                            eprintln!("no connection can be accepted: {error}");
                            tokio::time::sleep(SHORTAGE).await;
                        }
                    }
                }
            }
        }));
    }
    drop(alive);
    asked_to_end(&signals).await?;
    site.is_leaving.set(true);
    for acceptor in acceptors {
        acceptor.abort();
        drop(acceptor.await);
    }
    let _ = tokio::time::timeout(FAREWELL, all_gone.recv()).await;
    closing.send_replace(true);
    all_gone.recv().await;
    Ok(())
}

async fn asked_to_end(signals: &AsyncFd<SignalFd>) -> io::Result<()> {
    loop {
        let mut ready = signals.readable().await?;
        if !signals.get_ref().read()?.is_empty() {
            return Ok(());
        }
        ready.clear_ready();
    }
}

/// The client went away between its arrival and our look (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted)
}

async fn connection(stream: TcpStream, site: Rc<Site>, mut is_closing: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let site = Rc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(SILENCE);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // A broken connection is its client's matter.
    let is_done = first(served.as_mut(), is_closing.wait_for(|closing| *closing)).await;
    if !is_done {
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }
}

/// Whether `one` was done before `other`.
async fn first(one: impl Future, other: impl Future) -> bool {
    tokio::select! {
        _ = one => true,
        _ = other => false,
    }
}
