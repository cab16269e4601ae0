//! What real Nodes say, recorded; and that it means the same wherever the stream is cut.
//!
//! Record anew: `SKEP_NODES=… cargo test -p skep-node-ipc --test transcripts -- --ignored`.

mod primary;

use std::path::PathBuf;

use primary::Primary;
use primary::channel::{fixture, nodes};
use skep_node_ipc::{Generation, Session};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

#[test]
#[ignore = "writes into the source tree"]
fn record() {
    std::fs::create_dir_all(folder()).expect("a folder");
    for node in nodes() {
        for kind in ["http", "two", "host", "taken", "again", "fd", "unix", "udp", "echo", "disconnect"] {
            let mut primary = Primary::new(node.clone());
            primary.preload = true;
            primary.env.push(("APP_PATH".to_owned(), "/tmp/skep-transcript.sock".to_owned()));
            let _ = std::fs::remove_file("/tmp/skep-transcript.sock");
            let worker = primary.spawn(&[&fixture("app.cjs"), kind]);
            let last = match kind {
                "taken" | "again" | "fd" | "echo" => "message",
                _ => "listening",
            };
            if kind == "again" {
                primary.until_told(worker, "closed");
                primary.listeners.clear();
            }
            primary.until_told(worker, last);
            primary.worker(worker).session.send_message("1").expect("a user message");
            if kind == "echo" {
                primary.until_told(worker, "message {\"echo\"");
            }
            if kind == "disconnect" {
                primary.until_told(worker, "exiting");
            }
            let version = primary.workers[&worker].session.hello().expect("the preload").node.clone();
            let major = version.split('.').next().expect("a version");
            let raw = std::mem::take(&mut primary.worker(worker).raw);
            std::fs::write(folder().join(format!("{major}-{kind}.jsonl")), raw).expect("written");
        }
    }
}

/// Everything that a session tells of `stream` in windows that grow up to each cut, as words.
fn told(stream: &[u8], cuts: &[usize]) -> Vec<String> {
    let mut session: Session<u32> = Session::new(Generation(1));
    let mut told = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        let received = session.receive(&stream[start..end.max(start)], []);
        start += received.consumed;
        for event in received.events {
            if let skep_node_ipc::Event::Query(query) = &event {
                session.reply_round_robin(query.seq, None, None);
            }
            told.push(format!("{event:?}"));
        }
    }
    assert_eq!(start, stream.len(), "everything was consumed");
    told
}

#[test]
fn recorded_transcripts_mean_the_same_wherever_they_are_cut() {
    let mut transcripts = 0;
    for entry in std::fs::read_dir(folder()).expect("recorded") {
        let path = entry.expect("an entry").path();
        let stream = std::fs::read(&path).expect("a file");
        let whole = told(&stream, &[]);
        assert!(!whole.is_empty());
        assert!(!whole.iter().any(|told| told.starts_with("Dropped")), "{}: {whole:#?}", path.display());
        for cut in 0..=stream.len() {
            assert_eq!(told(&stream, &[cut]), whole, "{} cut at {cut}", path.display());
        }
        for first in (0..stream.len()).step_by(37) {
            for second in (first..stream.len()).step_by(41) {
                assert_eq!(
                    told(&stream, &[first, second]),
                    whole,
                    "{} cut at {first}, {second}",
                    path.display()
                );
            }
        }
        transcripts += 1;
    }
    assert!(transcripts >= 50, "ten programs on five Nodes were recorded, found {transcripts}");
}
