//! With a daemon: the life of an app from start to delete.

use crate::place::{Place, said};
use std::io::{BufRead, BufReader};

const FOREVER: &str = "echo up; trap 'exit 0' INT TERM; while :; do sleep 1 & wait; done";

#[test]
fn an_app_is_started_looked_at_scaled_stopped_and_forgotten() {
    let place = Place::new();
    place.script("web.sh", FOREVER);
    let started = place.ok("start web.sh -i 2 --listen-timeout 50ms");
    assert_eq!(started.matches("online").count(), 2, "{started}");
    assert_eq!(place.ok("id web"), "[ 0, 1 ]\n");
    assert_eq!(place.ok("pid").lines().count(), 2);
    assert!(place.ok("describe web").contains("bindshare: "));
    place.ok("scale web +1");
    assert_eq!(place.ok("pid web").lines().count(), 3);
    assert_eq!(place.skep("scale web -3").code, 1, "nothing would be left");
    place.ok("stop web");
    assert_eq!(place.ok("list").matches("stopped").count(), 3);
    let again = place.ok("start web");
    assert_eq!(again.matches("online").count(), 3, "{again}");
    place.ok("delete all");
    assert_eq!(place.ok("list"), "");
    assert_eq!(place.skep("describe web").code, 3);
}

#[test]
fn starting_what_runs_is_idempotent_by_name_and_refused_by_script() {
    let place = Place::new();
    place.script("web.sh", FOREVER);
    place.ok("start web.sh --listen-timeout 50ms");
    place.ok("start web");
    let twice = place.skep("start web.sh");
    assert_eq!(twice.code, 1);
    assert!(twice.err.contains("--force"), "{twice:?}");
    assert!(place.ok("start web.sh --force --listen-timeout 50ms").contains("web-2"));
    let slip = place.skep("stop wbe");
    assert_eq!(slip.code, 3);
    assert!(slip.err.contains("did you mean web?"), "{slip:?}");
}

#[test]
fn a_program_that_fails_is_reported_with_its_last_words() {
    let place = Place::new();
    place.script("bad.sh", "echo no database >&2; exit 3");
    let failed = place.skep("start bad.sh --max-restarts 2");
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("no database"), "{failed:?}");
    let lines = place.skep("restart bad --json");
    assert_eq!(lines.code, 1);
    let kinds: Vec<serde_json::Value> =
        lines.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let last = kinds.last().expect("there is a last line");
    assert_eq!((&last["type"], &last["error"]["code"]), (&"failed".into(), &"start_failed".into()));
}

#[test]
fn logs_are_shown_and_followed() {
    let place = Place::new();
    place.script("talk.sh", &format!("echo hello; echo oops >&2; {FOREVER}"));
    place.ok("start talk.sh --listen-timeout 50ms");
    let mut follower = place.spawn("logs talk -f --out --raw");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("the stream goes on").expect("it can be read");
    assert_eq!((next(), next()), ("hello".to_owned(), "up".to_owned()));
    place.ok("restart talk");
    assert_eq!((next(), next()), ("hello".to_owned(), "up".to_owned()));
    follower.kill().expect("it runs");
    drop(follower.wait());
    assert_eq!(place.ok("logs --err -n 1"), "0|talk     | oops\n");
    let head: serde_json::Value =
        serde_json::from_str(place.ok("logs --err -n 1 --json").trim()).expect("JSON");
    assert_eq!((&head["app"], &head["text"]), (&"talk".into(), &"oops".into()));
}

#[test]
fn what_was_stopped_with_skep_is_resurrected() {
    let place = Place::new();
    place.script("web.sh", FOREVER);
    place.script("off.sh", FOREVER);
    place.ok("start web.sh off.sh --listen-timeout 50ms");
    place.ok("stop off");
    let before = place.ok("pid web");
    place.ok("kill");
    assert_eq!(place.skep("ping").code, 4);
    let after = place.ok("resurrect");
    assert!(after.contains("online") && after.contains("stopped"), "{after}");
    assert_ne!(place.ok("pid web"), before);
}

#[test]
fn an_upgrade_keeps_every_worker() {
    let place = Place::new();
    place.script("web.sh", FOREVER);
    place.ok("start web.sh -i 2 --listen-timeout 50ms");
    let before = place.ok("pid");
    assert!(place.skep("upgrade").err.contains("has become skep"));
    assert_eq!(place.ok("pid"), before);
    let refused = place.skep("update /bin/true");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(place.ok("pid"), before);
}

#[test]
fn completions_know_the_apps() {
    let place = Place::new();
    place.script("webshop.sh", FOREVER);
    place.ok("start webshop.sh --listen-timeout 50ms");
    let mut command = place.command("-- skep stop we");
    let offers =
        command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2").output().expect("skep can be run");
    assert_eq!(said(offers).out.trim(), "webshop");
}
