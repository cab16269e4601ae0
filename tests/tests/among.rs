//! One among many: the leader, the jobs of a queue, computations beside requests; with workers SIGKILLed.

use std::path::PathBuf;

use skep_tests::{Deadline, Notes, Port, Skep, Start, fixture, http, process, root};

/// An app of several workers that has the package `skep`.
struct Stage {
    skep: Skep,
    port: Port,
    notes: Notes,
}

impl Stage {
    fn new(file: PathBuf, workers: usize) -> Self {
        let (skep, port) = (Skep::new(), Port::free());
        let notes = Notes::new(skep.root(), "notes");
        let start = Start::program("app", file)
            .instances(workers)
            .port(port.number())
            .env("NODE_PATH", skep.with_package())
            .env("NOTES", notes.path())
            .flags(["--listen-timeout", "60s"]);
        skep.start(&start);
        skep.settled("app", workers);
        Self { skep, port, notes }
    }

    fn get(&self, path: &str) -> String {
        let answer =
            http::get(self.port.address(), path).unwrap_or_else(|error| panic!("GET {path}: {error}"));
        answer.body
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is a number"))
}

#[test]
fn one_worker_leads_and_when_it_is_killed_another_does_with_a_higher_token() {
    let stage = Stage::new(fixture("among.js"), 3);
    for round in 1..=3 {
        let leaders = stage.notes.wait("leader", round);
        assert_eq!(leaders.len(), round, "one at a time: {leaders:?}");
        let tokens: Vec<u64> = leaders.iter().map(|words| number(&words[2])).collect();
        assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
        process::kill(number(&leaders[round - 1][1]));
    }
    stage.notes.wait("leader", 4);
}

#[test]
fn a_job_of_a_killed_worker_goes_to_another_and_every_job_is_done() {
    let stage = Stage::new(fixture("among.js"), 3);
    stage.get("/push?what=hold");
    let first = stage.notes.wait("job", 1);
    for what in ["a", "b", "c"] {
        stage.get(&format!("/push?what={what}"));
    }
    process::kill(number(&first[0][1]));
    let jobs = stage.notes.wait("job", 5);
    let again = jobs.iter().find(|words| words[2] == "hold" && words[3] == "2").expect("a second try");
    assert_ne!(again[1], first[0][1]);
    for what in ["a", "b", "c"] {
        assert_eq!(jobs.iter().filter(|words| words[2] == what).count(), 1, "{jobs:?}");
    }
}

#[test]
fn requests_are_answered_while_computations_run_and_children_end_with_their_worker() {
    let stage = Stage::new(root().join("examples/compute/app.js"), 2);
    assert_eq!(stage.get("/compute?n=20"), "6765\n");
    std::thread::scope(|scope| {
        // Far more than the machine has processors; none of them comes to an end by itself.
        let computations: Vec<_> =
            (0..8).map(|_| scope.spawn(|| http::get(stage.port.address(), "/compute?n=50"))).collect();
        Deadline::until("a computation", || {
            let pids = stage.skep.app("app").pids();
            pids.iter().any(|pid| !process::children(*pid).is_empty()).then_some(())
        });
        for _ in 0..50 {
            assert_eq!(stage.get("/"), "hello\n");
        }
        assert!(computations.iter().any(|one| !one.is_finished()));
        let children: Vec<u32> =
            stage.skep.app("app").pids().into_iter().flat_map(process::children).collect();
        stage.skep.ok(["stop", "app"]);
        for child in children {
            process::wait_gone(child);
        }
        for one in computations {
            // Cut off, or answered with an error: its worker was stopped.
            let _ = one.join().expect("no panic");
        }
    });
}
