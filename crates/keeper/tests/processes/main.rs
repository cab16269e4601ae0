//! The keeper with real processes. This binary plays all roles: without a hidden verb it runs the tests; as
//! `__keeper` it is a keeper; as `__daemon` it hands its link to the test that drives it and waits for orders.

#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod children;
mod daemons;
mod ends;
mod histories;
mod homes;
mod passing;
mod rig;
mod storms;
mod upgrades;

use std::process::ExitCode;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_ref().and_then(|verb| verb.to_str()) {
        Some(skep_keeper::KEEPER_VERB) => skep_keeper::entry(args),
        Some(skep_keeper::DAEMON_VERB) => rig::play_daemon(),
        Some("__connect") => homes::play_client(args),
        // What `cargo nextest` asks and says (its custom test harness protocol).
        Some("--list") => list(args.any(|word| word == "--ignored")),
        Some("--exact") => run_tests(args.next().as_ref().and_then(|name| name.to_str())),
        filter => run_tests(filter.filter(|word| !word.starts_with('-'))),
    }
}

fn list(only_ignored: bool) -> ExitCode {
    if !only_ignored {
        for (name, _) in all() {
            println!("{name}: test");
        }
    }
    ExitCode::SUCCESS
}

fn all() -> Vec<Test> {
    // Workers that lose their keeper are adopted by init, not by us: a leak would be seen in `ps`.
    let groups: [&[Test]; 8] = [
        children::TESTS,
        daemons::TESTS,
        ends::TESTS,
        storms::TESTS,
        upgrades::TESTS,
        homes::TESTS,
        histories::TESTS,
        passing::TESTS,
    ];
    groups.concat()
}

fn run_tests(filter: Option<&str>) -> ExitCode {
    let mut failed = 0;
    for (name, test) in all() {
        if filter.is_some_and(|part| !name.contains(part)) {
            continue;
        }
        let passed = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u32::from(!passed);
    }
    println!("test result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
