//! What a command says, and when, while workers are renewed: how long it waits, and what is left when a new version fails late.

use std::fs;
use std::process::Stdio;

use skep_tests::strict::{self, Mode, Plan, Running, Think};
use skep_tests::{LIMIT, Port, Skep, Start, http};

/// "Not in time", as `skep --help` has it.
const NOT_IN_TIME: i32 = 5;

fn load(port: &Port) -> Running {
    let plan = Plan::get(port.address(), Mode::KeepAlive(Think::up_to_ms(10)), 4);
    let load = strict::start(plan).expect("the client starts");
    load.wait_for_more(20, LIMIT);
    load
}

#[track_caller]
fn finish(load: Running) {
    load.wait_for_more(20, LIMIT);
    let report = load.stop();
    assert_eq!(report.failures(), 0, "{report}");
}

/// An app whose new workers are ready when the test says so.
fn patient() -> (Skep, Port, std::path::PathBuf) {
    let (skep, port) = (Skep::new(), Port::free());
    let gate = skep.root().join("gate");
    fs::write(&gate, "").expect("the folder is writable");
    let start = Start::fixture("app", "announces.js").port(port.number()).env("READY_FILE", &gate);
    skep.start(&start.instances(2).flags(["--wait-ready", "--listen-timeout", "600s"]));
    fs::remove_file(&gate).expect("it is there");
    (skep, port, gate)
}

#[test]
fn a_reload_that_is_not_over_in_time_says_so_and_goes_on() {
    let (skep, port, gate) = patient();
    let (load, before) = (load(&port), skep.app("app").pids());
    let said = skep.run(["reload", "app", "--timeout", "300"]);
    assert_eq!(said.code, Some(NOT_IN_TIME), "{said:?}");
    assert_eq!(skep.app("app").pids(), before, "the old ones serve");
    assert!(skep.app("app").rollout.is_some(), "it goes on");
    fs::write(&gate, "").expect("the folder is writable");
    let after = skep.settled("app", 2).pids();
    assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?} -> {after:?}");
    finish(load);
}

#[test]
fn a_reload_waits_for_its_end_unless_it_is_told_not_to() {
    let (skep, port, gate) = patient();
    let (load, before) = (load(&port), skep.app("app").pids());
    skep.ok(["reload", "app", "--no-wait"]);
    assert!(skep.app("app").rollout.is_some(), "it is under way");
    let mut waiting = skep.command(["reload", "app"]).stdout(Stdio::null()).spawn().expect("skep runs");
    load.wait_for_more(40, LIMIT);
    assert!(waiting.try_wait().expect("it is our child").is_none(), "it waits for the new workers");
    fs::write(&gate, "").expect("the folder is writable");
    assert!(waiting.wait().is_ok_and(|status| status.success()));
    let after = skep.settled("app", 2).pids();
    assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?} -> {after:?}");
    finish(load);
}

/// Version 2 works in the first instance and dies in the second.
const APP: &str = "const { VERSION, NODE_APP_INSTANCE, PORT } = process.env;
if (VERSION === '2' && NODE_APP_INSTANCE === '1') { console.error('version 2 cannot be the second'); process.exit(9); }
require('node:http').createServer((_, response) => response.end(VERSION)).listen(Number(PORT));";

#[test]
fn an_update_whose_second_worker_fails_is_undone_as_a_whole_and_nobody_notices() {
    let (skep, port) = (Skep::new(), Port::free());
    fs::write(skep.root().join("app.js"), APP).expect("the folder is writable");
    let apply = |version: u32| {
        let file = format!(
            "[[apps]]\nname = 'app'\nscript = 'app.js'\ninstances = 3\nlisten_timeout = '30s'\n\
             [apps.env]\nPORT = '{}'\nVERSION = '{version}'\n",
            port.number()
        );
        fs::write(skep.root().join("skep.toml"), file).expect("the folder is writable");
        skep.run(["apply", "skep.toml"])
    };
    apply(1).ok();
    let (load, before) = (load(&port), skep.settled("app", 3).pids());
    let said = apply(2).err();
    assert!(said.contains("version 2 cannot be the second"), "it shows the tail of stderr: {said}");
    // The first instance goes back, too.
    let after = skep.settled("app", 3).pids();
    assert_eq!(after[1..], before[1..], "who was not renewed has not noticed");
    for _ in 0..12 {
        assert_eq!(http::get(port.address(), "/").expect("it answers").body, "1");
    }
    finish(load);
    // What starts from now on is the old version.
    skep.crash("app", 1);
    assert_eq!(skep.app("app").pids().len(), 3);
}
