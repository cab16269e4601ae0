//! What an app prints is what its log files hold, byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use skep_tests::{Deadline, Port, Skep, Start, http, process};

fn log(skep: &Skep, file: &str) -> PathBuf {
    skep.home().join("logs").join(file)
}

fn until_holds(file: &Path, bytes: &[u8]) {
    let seen = || fs::read(file).unwrap_or_default();
    Deadline::until(&format!("{} holds {} bytes", file.display(), bytes.len()), || {
        (seen().len() >= bytes.len()).then_some(())
    });
    assert!(seen() == bytes, "{} differs from what was printed", file.display());
}

/// Prints `out` and `err` and expects exactly them in the files.
fn check_exact(out: &[u8], err: &[u8]) {
    let skep = Skep::new();
    let (out_file, err_file) = (skep.root().join("out"), skep.root().join("err"));
    fs::write(&out_file, out).expect("the folder is writable");
    fs::write(&err_file, err).expect("the folder is writable");
    let start = Start::fixture("app", "logs.js").env("OUT_FILE", out_file).env("ERR_FILE", err_file);
    skep.start(&start.flags(["--listen-timeout", "100", "--merge-logs"]));
    until_holds(&log(&skep, "app-out.log"), out);
    until_holds(&log(&skep, "app-error.log"), err);
}

#[test]
fn text_on_both_streams_is_kept_apart() {
    check_exact(b"first\nsecond\n", b"oh no\n");
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    check_exact(&all, b"\xff\xfe\n\0");
}

#[test]
fn a_line_of_ten_megabytes_without_an_end_is_kept() {
    let line: Vec<u8> = (0..10_000_000_u32).map(|index| b'a' + (index % 23) as u8).collect();
    check_exact(&line, b"no newline at the end");
}

#[test]
fn the_last_lines_are_shown() {
    let skep = Skep::new();
    let out = skep.root().join("out");
    let text: String = (1..=100).map(|line| format!("line {line}\n")).collect();
    fs::write(&out, &text).expect("the folder is writable");
    skep.start(&Start::fixture("app", "logs.js").env("OUT_FILE", &out).flags([
        "--listen-timeout",
        "100",
        "--merge-logs",
    ]));
    until_holds(&log(&skep, "app-out.log"), text.as_bytes());
    let said = skep.ok(["logs", "app", "--lines", "3", "--nostream"]);
    assert!(said.contains("line 98") && said.contains("line 100") && !said.contains("line 97"), "{said}");
}

#[test]
fn no_line_is_lost_when_the_daemon_is_killed() {
    const KILLS: usize = 5;
    let (skep, port) = (Skep::new(), Port::free());
    let app = skep.start(&Start::fixture("app", "counter.js").port(port.number()).flags(["--merge-logs"]));
    let printed = || {
        http::get(port.address(), "/").expect("the worker serves").json()["line"].as_u64().expect("a count")
    };
    for _ in 0..KILLS {
        let daemon = skep.daemon().pid;
        let before = printed();
        process::kill(daemon);
        Deadline::until("the worker has printed on", || (printed() > before + 200).then_some(()));
    }
    skep.wait("app", "the daemon is back", |_| true);
    let worker = app.pids()[0];
    assert_eq!(skep.app("app").pids(), [worker], "no worker died");
    let last = printed();
    let text = || fs::read_to_string(log(&skep, "app-out.log")).expect("the log is there");
    Deadline::until("the last line is in the file", || {
        text().contains(&format!("line {worker} {last}\n")).then_some(())
    });
    let text = text();
    for (number, line) in text.lines().enumerate() {
        assert_eq!(line, format!("line {worker} {}", number + 1), "lost, doubled or out of order");
    }
}
