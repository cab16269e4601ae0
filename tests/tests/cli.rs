//! The command line as people and scripts meet it.

use serde_json::Value;
use skep_tests::{Port, Skep, Start, http};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

fn web() -> (Skep, Port) {
    let (skep, port) = (Skep::new(), Port::free());
    skep.start(&Start::fixture("web", "http.cjs").port(port.number()).instances(2));
    (skep, port)
}

#[test]
fn help_and_version_need_no_daemon() {
    let skep = Skep::new();
    assert!(skep.ok(["--version"]).starts_with("skep "));
    let help = skep.ok(["--help"]);
    for verb in
        ["start", "stop", "restart", "reload", "scale", "delete", "list", "describe", "logs", "events", "run"]
    {
        assert!(help.contains(verb), "{verb} is missing in\n{help}");
    }
    assert!(!skep.home().exists(), "asking for help leaves no trace");
}

#[test]
fn completions_are_printed_for_the_usual_shells() {
    let skep = Skep::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(skep.ok(["completions", shell]).contains("skep"));
    }
}

/// Exit codes that scripts can trust: 0 done, 1 failed, 2 nonsense, 3 no such app, 4 not running.
#[test]
fn an_empty_list_is_a_success() {
    let skep = Skep::new();
    skep.boot();
    assert_eq!(json(&skep.ok(["list", "--json"])), serde_json::json!([]));
}

#[test]
fn the_table_shows_every_worker_and_json_says_the_same_as_the_api() {
    let (skep, _port) = web();
    let table = skep.ok(["list"]);
    for pid in skep.app("web").pids() {
        assert!(table.contains(&pid.to_string()), "{table}");
    }
    assert!(table.contains("online"), "{table}");
    assert!(!table.contains('\u{1b}'), "no colour when nobody looks: {table:?}");
    let shown = json(&skep.ok(["list", "--json"]));
    assert_eq!(shown[0]["name"], "web");
    assert_eq!(shown[0]["slots"].as_array().map(Vec::len), Some(2));
}

#[test]
fn describe_shows_what_balances_the_port_and_why() {
    let (skep, port) = web();
    let said = skep.ok(["describe", "web"]);
    assert!(said.contains(&port.number().to_string()), "{said}");
    let shown = json(&skep.ok(["describe", "web", "--json"]));
    let listener = &shown[0]["listeners"][0];
    assert!(listener["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{shown}");
}

#[test]
fn an_unknown_name_fails_and_names_the_one_that_was_meant() {
    let (skep, _port) = web();
    for verb in ["stop", "restart", "reload", "delete", "describe", "logs"] {
        let outcome = skep.run([verb, "wep"]);
        assert_eq!(outcome.code, Some(3), "{verb}: {}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.contains("web"), "{verb}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "errors go to stderr");
    }
}

#[test]
fn a_mistyped_flag_or_verb_is_a_usage_error_with_a_suggestion() {
    let skep = Skep::new();
    for (args, meant) in [(["start", "--instnces"], "instances"), (["lst", "--json"], "list")] {
        let outcome = skep.run(args);
        assert_eq!(outcome.code, Some(1), "{args:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(meant), "{args:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_bad_value_names_the_field_the_value_and_the_remedy() {
    let skep = Skep::new();
    let said = skep.err(["start", "/bin/sleep", "--balance", "round-robin"]);
    assert!(said.contains("balance") && said.contains("round-robin") && said.contains("rr"), "{said}");
    let said = skep.err(["start", "/bin/sleep", "-i", "many"]);
    assert!(said.contains("many") && said.contains("max"), "{said}");
    let said = skep.err(["start", "no-such-file.js"]);
    assert!(said.contains("no-such-file.js"), "{said}");
}

#[test]
fn events_tell_what_happened() {
    let (skep, _port) = web();
    skep.crash("web", 0);
    let said = skep.ok(["events"]);
    assert!(said.contains("web"), "{said}");
    let lines = skep.ok(["events", "--json"]);
    let kinds: Vec<String> =
        lines.lines().map(|line| json(line)["kind"].as_str().unwrap_or_default().into()).collect();
    for kind in ["worker_spawned", "worker_ready", "worker_exited"] {
        assert!(kinds.iter().any(|seen| seen == kind), "{kind} in {kinds:?}");
    }
}

#[test]
fn the_daemon_can_be_asked_and_ended() {
    let skep = Skep::new();
    skep.boot();
    let shown = json(&skep.ok(["daemon", "status", "--json"]));
    assert_eq!(shown["pid"].as_u64(), Some(u64::from(skep.daemon().pid)));
    skep.ok(["daemon", "stop"]);
    assert_eq!(skep.processes(), Vec::<u32>::new());
}

#[test]
fn the_api_describes_itself_and_speaks_to_anyone_with_http() {
    let skep = Skep::new();
    skep.boot();
    let document = skep.api("/v1/openapi.json");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document}");
    assert!(document["paths"]["/v1/apps"].is_object());
    let answer = http::get_unix(&skep.socket(), "/v1/apps/nobody").expect("it answers");
    assert_eq!(answer.status, 404, "{}", answer.body);
    let answer = http::post_unix(&skep.socket(), "/v1/apps", &serde_json::json!({"spec": {"nonsense": 1}}));
    let answer = answer.expect("it answers");
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.body.contains("nonsense"), "{}", answer.body);
}
