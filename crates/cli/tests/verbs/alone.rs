//! Without a daemon.

use crate::place::Place;
use std::io::Read;
use std::process::Stdio;

#[test]
fn looking_starts_nothing() {
    let place = Place::new();
    let list = place.skep("list");
    assert_eq!((list.code, list.out.as_str()), (0, ""));
    assert!(list.err.contains("skep is not running"), "{list:?}");
    assert_eq!(place.ok("list --json"), "[]\n");
    assert_eq!(place.skep("ping").code, 4);
    assert_eq!(place.skep("stop web").code, 4);
    assert_eq!(place.skep("kill").code, 0);
    assert!(!place.path("home").exists());
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2_and_a_remedy() {
    let place = Place::new();
    for (line, remedy) in [
        ("relaod web", "reload"),
        ("start", "name a script"),
        ("start no-such-file.js", "there is no such file"),
        ("start sh --kill-timeout soon", "1.5s"),
        ("start sh --runtime node", "Node.js scripts only"),
        ("start sh --env FOO", "--env FOO=VALUE"),
        ("start sh --name all", "--name web"),
    ] {
        let said = place.skep(line);
        assert_eq!(said.code, 1, "{line}: {said:?}");
        assert!(said.err.contains(remedy), "{line}: {said:?}");
        assert_eq!(said.out, "", "{line}");
    }
    assert!(!place.path("home").exists(), "nothing was started");
}

#[test]
fn errors_are_json_when_json_is_asked_for() {
    let said = Place::new().skep("start no-such-file.js --json");
    let error: serde_json::Value = serde_json::from_str(&said.out).expect("JSON alone on standard output");
    assert_eq!(error["error"]["code"], "invalid_spec");
    assert!(said.err.starts_with("error: script not found"), "{said:?}");
}

#[test]
fn colours_and_texts_for_people_stay_off_a_pipe() {
    let place = Place::new();
    assert!(!place.skep("list").err.contains('\u{1b}'));
    // CI itself runs with NO_COLOR, which wins over CLICOLOR_FORCE, as it should.
    let mut command = place.command("stop web");
    let forced = command.env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR").output().expect("skep can be run");
    assert!(String::from_utf8_lossy(&forced.stderr).contains('\u{1b}'));
    let refused =
        place.command("stop web --no-color").env("CLICOLOR_FORCE", "1").output().expect("skep can be run");
    assert!(!String::from_utf8_lossy(&refused.stderr).contains('\u{1b}'));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let mut child = place.spawn("openapi");
    let mut few = [0; 16];
    let mut out = child.stdout.take().expect("piped");
    out.read_exact(&mut few).expect("the document is longer than that");
    drop(out);
    let said = crate::place::said(child.wait_with_output().expect("it ends"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn each_shell_gets_completions_that_ask_skep_itself() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(&format!("completions {shell}")).contains("COMPLETE"), "{shell}");
    }
    let mut command = place.command("-- skep resta");
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "1").stdout(Stdio::piped());
    let offers = command.output().expect("skep can be run").stdout;
    assert_eq!(String::from_utf8_lossy(&offers).trim(), "restart");
}

#[test]
fn the_hidden_step_of_socket_activation_tells_the_program_its_own_id() {
    let place = Place::new();
    let out =
        place.command("__listen-pid").args(["/bin/sh", "-c", "test $LISTEN_PID = $$ && echo same"]).output();
    assert_eq!(out.expect("skep can be run").stdout, b"same\n");
}
