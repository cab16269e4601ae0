//! The client against a real server on a real Unix socket.

use super::*;
use crate::{ErrorCode, EventKind, Stream, find};
use hyper::body::Frame;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// What a request looked like, for the test to judge.
type Seen = mpsc::UnboundedReceiver<(String, String, String)>;
/// What the server answers: a status and the body's frames; `None` breaks the connection off.
type Answer = (u16, Vec<Option<&'static str>>);

struct Frames {
    frames: std::vec::IntoIter<Option<&'static str>>,
    /// What was given so far has had its turn to be sent.
    flushed: bool,
}

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if !std::mem::replace(&mut self.flushed, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.flushed = false;
        Poll::Ready(self.frames.next().map(|frame| match frame {
            Some(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            None => Err(std::io::Error::other("the daemon was killed")),
        }))
    }
}

/// A server that gives each request the next of `answers`.
async fn serve(answers: Vec<Answer>) -> (Client, Seen) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
    let (tell, seen) = mpsc::unbounded_channel();
    let answers = std::rc::Rc::new(std::cell::RefCell::new(answers.into_iter()));
    let service = service_fn(move |request: Request<Incoming>| {
        let (tell, answers) = (tell.clone(), answers.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            find(parts.method.as_str(), parts.uri.path()).expect("the client asks only for what there is");
            tell.send((
                parts.method.to_string(),
                parts.uri.to_string(),
                String::from_utf8(body.to_vec()).unwrap(),
            ))
            .unwrap();
            let (status, frames) = answers.borrow_mut().next().expect("as many answers as requests");
            Ok::<_, Infallible>(
                Response::builder()
                    .status(status)
                    .body(Frames { frames: frames.into_iter(), flushed: false })
                    .unwrap(),
            )
        }
    });
    tokio::task::spawn_local(async move {
        drop(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service).await,
        );
    });
    (Client::over(ours).await.unwrap(), seen)
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_list_is_read_and_one_connection_serves_several_requests() {
    on_a_runtime(async {
        let (mut client, mut seen) =
            serve(vec![(200, vec![Some("["), Some("]")]), (200, vec![Some("[]")])]).await;
        assert_eq!(client.apps::<&str>(&[], AppsQuery::default()).await.unwrap(), []);
        assert_eq!(client.apps(&["web", "a b"], AppsQuery::default()).await.unwrap(), []);
        let uri =
            |seen: Option<(String, String, String)>| seen.map(|(method, uri, _)| format!("{method} {uri}"));
        assert_eq!(uri(seen.recv().await).unwrap(), "GET /v1/apps?detail=summary");
        assert_eq!(uri(seen.recv().await).unwrap(), "GET /v1/apps/web,a%20b?detail=summary");
    });
}

#[test]
fn progress_arrives_line_by_line_wherever_the_frames_are_cut() {
    on_a_runtime(async {
        let frames = vec![
            Some("{\"type\":\"notice\",\"seq\":1,\"time_unix_ms\":2,\"kind\":\"worker_sp"),
            Some("awned\",\"message\":\"m\"}\n{\"type\":\"done\",\"message\":\"a\"}\n\n{\"type\":\"do"),
            Some("ne\",\"message\":\"b\"}"),
        ];
        let (mut client, mut seen) = serve(vec![(200, frames)]).await;
        let mut lines = client.act(Route::StartApps, &["web"], &Act::default()).await.unwrap();
        let first = lines.next().await.unwrap();
        assert!(matches!(first, Some(Progress::Notice(Event { kind: EventKind::WorkerSpawned, .. }))));
        for message in ["a", "b"] {
            let Some(Progress::Done(done)) = lines.next().await.unwrap() else { panic!("not done") };
            assert_eq!(done.message, message);
        }
        assert_eq!(lines.next().await.unwrap(), None);
        let (_, uri, body) = seen.recv().await.unwrap();
        assert_eq!((uri.as_str(), body.as_str()), ("/v1/apps/web/start", r#"{"wait":true}"#));
    });
}

#[test]
fn what_the_daemon_refuses_comes_back_in_its_own_words() {
    on_a_runtime(async {
        let refusal = r#"{"error":{"code":"unknown_target","message":"no wbe","hint":"did you mean web?"}}"#;
        let (mut client, _seen) = serve(vec![(404, vec![Some(refusal)]), (500, vec![Some("oops")])]).await;
        match client.act(Route::StopApps, &["wbe"], &Act::default()).await.unwrap_err() {
            ClientError::Refused(error) => {
                assert_eq!(
                    (error.code, error.hint.as_deref()),
                    (ErrorCode::UnknownTarget, Some("did you mean web?"))
                );
            }
            other => panic!("{other:?}"),
        }
        let error = client.daemon().await.unwrap_err();
        assert!(matches!(&error, ClientError::Garbled(text) if text.contains("500")), "{error:?}");
    });
}

#[test]
fn an_answer_that_is_cut_off_is_not_taken_for_a_finished_one() {
    on_a_runtime(async {
        let line = "{\"app\":\"web\",\"stream\":\"err\",\"text\":\"hi\"}\n";
        let (mut client, mut seen) = serve(vec![(200, vec![Some(line), None])]).await;
        let query = LogsQuery { lines: 2, follow: true, stream: Some(Stream::Err), since_unix_ms: None };
        let mut lines = client.logs(&["web"], &query).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap().text.as_deref(), Some("hi"));
        assert!(matches!(lines.next().await, Err(ClientError::Lost(_))));
        assert_eq!(seen.recv().await.unwrap().1, "/v1/logs/web?lines=2&follow=true&stream=err");
    });
}
