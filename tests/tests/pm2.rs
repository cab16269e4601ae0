//! What PM2's users know, on skep: `@pm2/io`, the programmatic API, input, logs and their rotation.

use rustix::process::Signal;
use serde_json::{Value, json};
use skep_tests::{Deadline, Skep, Start, finish, fixture, fixtures, process, root, skep_binary};

#[test]
fn an_app_with_pm2_io_shows_its_metrics_and_answers_actions() {
    let skep = Skep::new();
    let start =
        Start::fixture("io", "pm2-io.js").flags(["--wait-ready", "--listen-timeout", "30000", "-i", "2"]);
    skep.start(&start);
    Deadline::until("each worker has told its metrics", || {
        let list: Vec<Value> = serde_json::from_str(&skep.ok(["jlist"])).expect("jlist prints JSON");
        let told = |process: &Value| process["pm2_env"]["axm_monitor"]["Realtime Users"]["value"] == 12;
        (list.len() == 2 && list.iter().all(told)).then_some(())
    });
    let said = skep.ok(["describe", "io"]);
    assert!(
        said.contains("Realtime Users") && said.contains("12 users") && said.contains("hello, echo"),
        "{said}"
    );
    let replies = skep.ok(["trigger", "io", "hello", "--json"]);
    let results: Vec<Value> = replies.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(results.len(), 2, "{replies}");
    assert!(results.iter().all(|reply| reply["result"] == json!({ "hi": "io" })), "{replies}");
    assert_eq!(skep.ok(["trigger", "0", "echo", "x"]), "io:0 { param: 'x' }\n");
    assert!(skep.err(["trigger", "io", "nosuch"]).contains("no worker knows the action"));
    // What workers told outlives the daemon.
    process::kill(skep.daemon().pid);
    skep.wait("io", "the daemon is back", |_| true);
    assert_eq!(skep.ok(["trigger", "1", "echo", "y"]), "io:1 { param: 'y' }\n");
}

#[test]
fn the_programmatic_api_does_what_pm2s_recipes_do() {
    let skep = Skep::new();
    let mut command = skep.program("node", [fixtures().join("pm2-api.cjs")]);
    command.env("SKEP_BIN", skep_binary()).current_dir(root());
    let text = finish(command).ok();
    let out: Value = serde_json::from_str(&text).expect("the script prints JSON");
    let expected = json!({
        "started": [{ "name": "io", "status": "online", "color": "red" }],
        "online": "io",
        "line": "up\n",
        "answer": { "topic": "answer", "data": { "got": { "question": 1 } } },
        "replies": [{ "param": "x" }],
        "listed": [["io", "number", "number"]],
        "described": true,
        "again": "Script already launched",
        "restarted": [true, 1],
        "reloaded": ["online"],
        "unknown": "process or namespace not found",
        "stopped": ["stopped"],
        "exit": "exit",
        "deleted": ["io"],
        "left": 0,
        "resurrected": ["io"],
    });
    assert_eq!(out, expected);
}

#[test]
fn a_worker_reads_what_it_is_sent_and_logs_are_chosen_by_word_and_age() {
    let skep = Skep::new();
    skep.start(&Start::fixture("app", "pm2-worker.js").env("FACTS", skep.root()).flags([
        "--listen-timeout",
        "100",
        "--time",
    ]));
    let shown = |args: &[&str]| skep.ok([&["logs", "app"], args].concat());
    // Before it listens to signals, one would end it.
    Deadline::until("the worker is up", || shown(&[]).contains("up").then_some(()));
    let error_log = std::fs::read(skep.home().join("logs/app-error.log"));
    assert_eq!(error_log.expect("it is there before its first line, for who follows it"), b"");
    skep.ok(["send", "app", "first"]);
    skep.ok(["sendSignal", "SIGUSR2", "app"]);
    Deadline::until("the worker has answered", || {
        let text = shown(&[]);
        (text.contains("input first") && text.contains("signalled")).then_some(())
    });
    assert_eq!(shown(&["--grep", "^inp", "--raw"]), "input first\n");
    assert!(shown(&["--since", "1h"]).contains("up"));
    assert_eq!(shown(&["--since", "1ms"]), "");
    let json: Value = serde_json::from_str(shown(&["--grep", "up", "--json"]).trim()).expect("JSON");
    assert!(json["time_unix_ms"].is_u64(), "{json}");
    skep.ok(["flush", "app"]);
    assert_eq!(shown(&[]), "");
}

#[test]
fn log_files_that_were_moved_are_opened_anew_and_settings_rotate_them() {
    let skep = Skep::new();
    skep.start(
        &Start::fixture("app", "pm2-worker.js").env("FACTS", skep.root()).flags(["--listen-timeout", "100"]),
    );
    let logs = skep.home().join("logs");
    let live = logs.join("app-out.log");
    let holds =
        |text: &str| std::fs::read_to_string(&live).is_ok_and(|found| found.contains(text)).then_some(());
    Deadline::until("the first line is written", || holds("up"));
    std::fs::rename(&live, logs.join("moved.log")).expect("the folder is the test's own");
    process::signal(skep.daemon().pid, Signal::USR2).expect("the daemon is there");
    skep.ok(["send", "app", "second"]);
    Deadline::until("the new file holds the next line", || holds("input second"));
    skep.ok(["set", "pm2-logrotate:max_size", "100"]);
    skep.ok(["set", "pm2-logrotate:compress", "false"]);
    let rotated = || {
        let names = std::fs::read_dir(&logs)
            .expect("there are logs")
            .map(|entry| entry.expect("readable").file_name());
        names.filter(|name| name.to_string_lossy().starts_with("app-out__")).count()
    };
    assert_eq!(rotated(), 0);
    Deadline::until("a file was set aside", || {
        skep.ok(["send", "app", &"x".repeat(80)]);
        (rotated() > 0).then_some(())
    });
}

#[test]
fn old_files_are_named_as_pm2_logrotate_was_told_and_their_lines_are_still_found() {
    let skep = Skep::new();
    let set = |name: &str, value: &str| ["set".to_owned(), format!("pm2-logrotate:{name}"), value.to_owned()];
    for (name, value) in [
        ("max_size", "100"),
        ("compress", "false"),
        ("dateFormat", "[of] DD.MM.YYYY"),
        ("TZ", "Asia/Tokyo"),
        ("rotateInterval", "30 3 * * 1"),
    ] {
        skep.ok(set(name, value));
    }
    for (name, value, part) in [
        ("dateFormat", "HH-mm", "the year, the month and the day"),
        ("rotateInterval", "often", "cron pattern"),
        ("TZ", "Mars/Olympus", "Europe/Berlin"),
        ("frobs", "1", "known are"),
    ] {
        let said = skep.err(set(name, value));
        assert!(said.contains(part), "{said}");
    }
    for (name, part) in [("workerInterval", "max_size"), ("rotateModule", "as an app's")] {
        let outcome = skep.run(set(name, "30"));
        assert!(outcome.code == Some(0) && outcome.stderr.contains(part), "{}", outcome.stderr);
    }
    skep.start(
        &Start::fixture("app", "pm2-worker.js").env("FACTS", skep.root()).flags(["--listen-timeout", "100"]),
    );
    let rotated = || {
        let entries = std::fs::read_dir(skep.home().join("logs")).expect("there are logs");
        let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("app-out__of ")).collect::<Vec<_>>()
    };
    Deadline::until("two files were set aside", || {
        skep.ok(["send", "app", &"x".repeat(80)]);
        (rotated().len() > 1).then_some(())
    });
    let dotted = |name: &str| name.matches('.').count() == 3 && name.ends_with(".log");
    assert!(rotated().iter().all(|name| dotted(name)), "{:?}", rotated());
    let shown = skep.ok(["logs", "app", "--lines", "1000", "--raw"]);
    assert!(shown.contains("up\n"), "the first line is in a file that was set aside: {shown}");
}

#[test]
fn flush_empties_all_logs_and_skeps_own_and_that_of_one_app_leaves_it() {
    let skep = Skep::new();
    skep.boot();
    let own = skep.home().join("daemon.log");
    let mark = || std::fs::write(&own, "from before\n").expect("the folder is the test's own");
    let is_marked = || std::fs::read_to_string(&own).expect("it is there").contains("from before");
    mark();
    skep.ok(["flush"]);
    assert!(!is_marked(), "without an app, too");
    skep.start(
        &Start::fixture("app", "pm2-worker.js").env("FACTS", skep.root()).flags(["--listen-timeout", "100"]),
    );
    mark();
    skep.ok(["flush", "app"]);
    assert!(is_marked(), "only the app's were meant");
    let program = skep.root().join("pm2");
    std::os::unix::fs::symlink(skep_binary(), &program).expect("the folder is the test's own");
    let said = finish(skep.program(&program, ["flush"])).ok();
    assert!(
        said.contains(&format!("[PM2] Flushing {}", own.display())) && said.contains("[PM2] Logs flushed"),
        "{said}"
    );
    assert!(!is_marked());
}

#[test]
fn a_file_of_apps_is_started_renewed_and_deleted_under_the_name_pm2() {
    let skep = Skep::new();
    let program = skep.root().join("pm2");
    std::os::unix::fs::symlink(skep_binary(), &program).expect("the folder is the test's own");
    let pm2 = |line: &[&str]| finish(skep.program(&program, line)).ok();
    let file = skep.root().join("ecosystem.config.js");
    let write = |color: &str| {
        let script = fixture("pm2-worker.js").display().to_string();
        let facts = skep.root().display().to_string();
        let app = json!({ "name": "web", "script": script, "env": { "FACTS": facts }, "env_blue": { "COLOR": color } });
        std::fs::write(&file, format!("module.exports = {{ apps: [{app}] }}"))
            .expect("the folder is the test's own");
    };
    write("blue");
    let said = pm2(&["start", "ecosystem.config.js", "--env", "blue"]);
    assert!(said.contains("[PM2][WARN] Applications web not running, starting..."), "{said}");
    assert!(said.contains("[PM2] App [web] launched (1 instances)"), "{said}");
    let web = || -> Value {
        let list: Vec<Value> = serde_json::from_str(&pm2(&["jlist"])).expect("jlist prints JSON");
        list.into_iter()
            .find(|process| process["name"] == "web")
            .map(|process| process["pm2_env"].clone())
            .unwrap_or_default()
    };
    let first = web();
    assert_eq!((&first["COLOR"], &first["exec_mode"]), (&json!("blue"), &json!("fork_mode")));
    write("navy");
    let said = pm2(&["restart", "ecosystem.config.js", "--env", "blue"]);
    assert!(said.contains("[PM2] [web](0) ✓"), "{said}");
    assert_eq!(web()["COLOR"], "navy");
    let mut command = skep.program(&program, ["restart", "web", "--update-env", "--kill-timeout", "2000"]);
    command.env("FRESH", "yes");
    finish(command).ok();
    let renewed = web();
    assert_eq!((&renewed["FRESH"], &renewed["kill_timeout"]), (&json!("yes"), &json!(2000)));
    assert_eq!(renewed["COLOR"], "navy");
    pm2(&["delete", "ecosystem.config.js"]);
    assert_eq!(web(), Value::Null);
}

#[test]
fn a_link_makes_skep_answer_to_the_name() {
    let skep = Skep::new();
    let directory = skep.root().join("bin");
    std::fs::create_dir(&directory).expect("the folder is the test's own");
    skep.ok(["pm2-link", &directory.display().to_string()]);
    skep.ok(["pm2-link", &directory.display().to_string()]);
    let pm2 = |line: &[&str]| finish(skep.program(directory.join("pm2"), line));
    assert_eq!(pm2(&["id", "nosuch"]).ok(), "[]\n");
    assert_eq!(pm2(&["jlist"]).ok(), "[]");
    let left_out = pm2(&["install", "pm2-server-monit"]);
    assert_eq!(left_out.code, Some(1));
    assert!(left_out.stderr.contains("log rotation (pm2-logrotate) is built in"), "{}", left_out.stderr);
    let script = fixture("pm2-worker.js").display().to_string();
    pm2(&["start", &script, "--name", "x", "-i", "banana"]).err();
    assert_eq!(pm2(&["jlist"]).ok(), "[]");
    std::fs::remove_file(directory.join("pm2")).expect("the link is there");
    std::fs::write(directory.join("pm2"), "").expect("the folder is the test's own");
    assert!(skep.err(["pm2-link", &directory.display().to_string()]).contains("remove it first"));
}
