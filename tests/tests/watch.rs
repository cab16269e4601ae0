//! Files change, workers are renewed: once for what belongs together, and not for what does not matter.

use std::fs;
use std::path::PathBuf;

use skep_tests::{Deadline, Event, Events, Port, Skep, Start, finish, fixture, http};

/// An app in a project folder of its own that is watched.
struct Project {
    skep: Skep,
    port: Port,
    events: Events,
}

impl Project {
    fn start(flags: &[&str]) -> Self {
        let (skep, port) = (Skep::new(), Port::free());
        let folder = skep.root().join("project");
        fs::create_dir_all(folder.join("src")).expect("made");
        fs::copy(fixture("leak.js"), folder.join("app.js")).expect("copied");
        skep.boot();
        let events = skep.events();
        let start = Start::program("app", folder.join("app.js")).port(port.number());
        skep.start(&start.flags(["--cwd", folder.to_str().expect("ASCII")]).flags(flags.to_vec()));
        Self { skep, port, events }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.skep.root().join("project").join(name)
    }

    fn write(&self, name: &str) {
        let file = self.file(name);
        fs::create_dir_all(file.parent().expect("it has one")).expect("made");
        fs::write(file, "changed").expect("written");
    }

    fn pid(&self) -> u64 {
        http::get(self.port.address(), "/").expect("every request is answered").json()["pid"]
            .as_u64()
            .expect("a pid")
    }

    /// Waits for the next renewal by a changed file.
    fn renewal(&mut self) -> Event {
        let event = self.events.wait("a changed file is noticed", |event| event.kind == "triggered");
        assert_eq!(event.reason.as_deref(), Some("watch"));
        event
    }
}

#[test]
fn a_changed_file_brings_new_workers_without_losing_a_request() {
    let mut project = Project::start(&["--watch"]);
    let before = project.pid();
    project.write("src/a.js");
    assert!(project.renewal().message.contains("src/a.js changed"));
    Deadline::until("a new worker answers", || (project.pid() != before).then_some(()));
    project.skep.wait("app", "it is counted", |app| app.is_settled(1) && app.restarts() == 1);
}

#[test]
fn a_thousand_files_are_one_change_and_what_is_ignored_is_none() {
    let mut project = Project::start(&["--watch", "--ignore-watch", "gen,*.tmp", "--watch-delay", "2s"]);
    for ignored in ["node_modules/x/i.js", ".git/HEAD", "gen/a.js", "b.tmp", "app.log"] {
        project.write(ignored);
    }
    for count in 0..1000 {
        project.write(&format!("new/{}/{count}.js", count % 7));
    }
    let event = project.renewal();
    assert!(event.message.contains("files") && event.message.contains("new/"), "{}", event.message);
    project.skep.wait("app", "it is renewed", |app| app.is_settled(1) && app.restarts() >= 1);
    // An editor that writes beside and renames over.
    project.write("src/.beside");
    fs::rename(project.file("src/.beside"), project.file("src/edited.js")).expect("renamed");
    project.events.wait("the edited file alone", |event| event.message.ends_with(": src/edited.js changed"));
}

#[test]
fn only_what_is_named_is_watched_and_a_folder_that_comes_back_is_watched_again() {
    let mut project = Project::start(&["--watch=src", "--ext", "js", "--watch-action", "restart"]);
    project.write("other.js");
    project.write("src/style.css");
    project.write("src/a.js");
    assert!(project.renewal().message.contains("src/a.js changed"), "and nothing before it");
    fs::remove_dir_all(project.file("src")).expect("removed");
    project.renewal();
    project.write("src/again.js");
    project.renewal();
    project.skep.settled("app", 1);
}

#[test]
fn a_regular_expression_of_a_javascript_file_is_one() {
    let skep = Skep::new();
    let project = skep.root().join("project");
    fs::create_dir_all(&project).expect("made");
    fs::copy(fixture("leak.js"), project.join("app.js")).expect("copied");
    let file = |ignore: &str| {
        let app =
            format!("{{ name: 'app', script: 'app.js', port: 0, watch: true, ignore_watch: {ignore} }}");
        fs::write(project.join("ecosystem.config.js"), format!("module.exports = {{ apps: [{app}] }}"))
            .expect("written");
        skep.command(["start", "ecosystem.config.js"])
    };
    let run = |ignore: &str| {
        let mut command = file(ignore);
        command.current_dir(&project);
        finish(command)
    };
    let refused = run("[/gen(?!us)/]").err();
    assert!(refused.contains("ignore_watch") && refused.contains("look-ahead"), "{refused}");
    skep.boot();
    let mut events = skep.events();
    run("[/[\\/]gen[\\/]/, /\\.(PNG|tmp)$/i, 'other']").ok();
    for ignored in ["gen/a.js", "a.png", "b.TMP", "other/c.js"] {
        let path = project.join(ignored);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(path, "changed").expect("written");
    }
    fs::write(project.join("genius.js"), "changed").expect("written");
    let event = events.wait("the one that counts", |event| event.kind == "triggered");
    assert!(
        event.message.contains("genius.js changed") && !event.message.contains("files"),
        "{}",
        event.message
    );
}

#[test]
fn watching_is_switched_on_and_off_by_command() {
    let mut project = Project::start(&[]);
    assert!(!project.skep.ok(["describe", "app"]).contains("watches"));
    project.skep.ok(["restart", "app", "--watch"]);
    assert!(project.skep.ok(["describe", "app"]).contains("watches"));
    project.write("src/a.js");
    project.renewal();
    project.skep.settled("app", 1);
    project.skep.ok(["stop", "app", "--watch"]);
    assert!(!project.skep.ok(["describe", "app"]).contains("watches"));
}
