//! Bad input of every kind, as `skep start`, `apply` and `validate` and under the name `pm2`: a clear error that names what
//! is wrong and what to do, exit code 1, and nothing that was half-started.

use serde_json::{Value, json};
use skep_tests::{Outcome, Skep, finish, http, skep_binary};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

/// A folder with a sound script and what else a case needs.
struct Site {
    skep: Skep,
    pm2: PathBuf,
}

impl Site {
    fn new() -> Self {
        let skep = Skep::new();
        let pm2 = skep.root().join("pm2");
        symlink(skep_binary(), &pm2).expect("the folder is the test's own");
        let site = Self { skep, pm2 };
        site.write("ok.js", "setInterval(() => {}, 1000)\n");
        site.write("norun", "echo hi\n");
        std::fs::create_dir(site.skep.root().join("folder")).expect("the folder is the test's own");
        // One app lives here already: nothing of it may change.
        site.skep.ok(["start", "ok.js", "--name", "old", "--listen-timeout", "100"]);
        site
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.skep.root().join(name), text).expect("the folder is the test's own");
    }

    fn pm2(&self, words: &[&str]) -> Outcome {
        let mut command = self.skep.program(&self.pm2, words);
        command.env("PM2_HOME", self.skep.home());
        finish(command)
    }

    /// What is known and what runs.
    fn state(&self) -> Vec<(Value, Value, Value)> {
        let list: Vec<Value> = serde_json::from_str(&self.skep.ok(["jlist"])).expect("jlist prints JSON");
        list.into_iter()
            .map(|process| {
                (process["name"].clone(), process["pid"].clone(), process["pm2_env"]["status"].clone())
            })
            .collect()
    }

    /// Each command fails with exit code 1, says all of `words`, and leaves everything as it was.
    fn check(&self, commands: &[(&str, Outcome)], before: &[(Value, Value, Value)], words: &[&str]) {
        for (shown, outcome) in commands {
            let said = &outcome.stderr;
            assert_eq!(outcome.code, Some(1), "{shown}: {outcome:?}");
            for word in words {
                assert!(said.contains(word), "{shown} does not say {word:?}:\n{said}");
            }
            assert!(!said.contains("panicked") && !said.contains('\u{fffd}'), "{shown}:\n{said}");
        }
        assert_eq!(self.state(), before, "{commands:#?}");
    }

    /// A command line, under both names.
    fn line(&self, line: &str, words: &[&str]) {
        let before = self.state();
        let args: Vec<&str> = line.split(' ').collect();
        let commands = [
            (line, self.skep.run([&["start"], &args[..]].concat())),
            (line, self.pm2(&[&["start"], &args[..]].concat())),
        ];
        self.check(&commands, &before, words);
    }

    /// A file, by every verb that reads one.
    fn file(&self, name: &str, text: &str, words: &[&str]) {
        self.write(name, text);
        let before = self.state();
        let mut commands: Vec<(&str, Outcome)> =
            ["start", "apply", "validate"].map(|verb| (verb, self.skep.run([verb, name]))).into();
        // `--dry-run` keeps 2 for "there is something to do".
        commands.push(("apply --dry-run", self.skep.run(["apply", "--dry-run", name])));
        commands.push(("pm2 start", self.pm2(&["start", name])));
        commands.push(("pm2 startOrReload", self.pm2(&["startOrReload", name])));
        self.check(&commands, &before, words);
    }

    fn app(&self, name: &str, attributes: &Value, words: &[&str]) {
        let mut app = json!({ "name": "a", "script": "ok.js" });
        app.as_object_mut().expect("an object").extend(attributes.as_object().expect("an object").clone());
        // A sound one beside it is not started either.
        self.file(name, &json!({ "apps": [{ "name": "sound", "script": "ok.js" }, app] }).to_string(), words);
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused_with_its_remedy() {
    let site = Site::new();
    let (dead, run) = (site.skep.root().join("nosuch.js"), site.skep.root().join("norun"));
    site.line("nosuch.js", &["cript not found", &dead.display().to_string()]);
    site.line("./folder", &["folder", "is a directory", "name a file in it"]);
    site.line("folder", &["folder", "is a directory", "name a file in it"]);
    site.line("./norun", &[&run.display().to_string(), "nobody may execute it", "chmod +x"]);
    site.line("ok.js --name a/b", &["name", "\"a/b\"", "choose another"]);
    site.line("ok.js --name a -i banana", &["--instances", "'banana'", "write a number up to 1024"]);
    site.line("ok.js --name a -i 5000", &["--instances", "5000", "1024"]);
    site.line("ok.js --name a --max-memory-restart 10X", &["--max-memory-restart", "'10X'", "200M"]);
    site.line("ok.js --name a --cron-restart banana", &["--cron-restart", "'banana'", "0 3 * * *"]);
    site.line("ok.js --name a --kill-timeout soon", &["--kill-timeout", "'soon'", "1600"]);
    site.line("ok.js --name a --cwd /nonexistent", &["cwd", "/nonexistent", "create it"]);
    site.line("ok.js --name a --uid nobodyhere", &["uid", "nobodyhere", "getent passwd"]);
    site.line("ok.js --name a --gid nobodyhere", &["gid", "nobodyhere", "getent group"]);
    site.line("ok.js --name a --frobnicate", &["--frobnicate"]);
    site.line("nosuch.json", &["nosuch.json"]);
    site.line("/dev/null", &["script", "/dev/null", "a device or a socket"]);
    site.line(
        "ok.js --name a --output folder",
        &["out_file", "folder", "is a directory", "name a file in it"],
    );
}

#[test]
fn a_file_that_makes_no_sense_is_refused_whole() {
    let site = Site::new();
    let whole = json!({ "apps": [{ "name": "a", "script": "ok.js" }, { "name": "b", "script": "ok.js" }] })
        .to_string();
    site.file("cut.json", &whole[..whole.len() / 2], &["cut.json", "was it written to its end?"]);
    site.file(
        "tabs.yaml",
        "apps:\n\t- name: a\n\t  script: ok.js\n",
        &["tabs.yaml", "line 2", "YAML indents with spaces"],
    );
    site.file("broken.toml", "[[apps]]\nname = \n", &["broken.toml", "line 2"]);
    site.file("throws.config.js", "throw new Error('not today')\n", &["throws.config.js", "not today"]);
    site.file("number.json", "42", &["number.json", "describes no app"]);
    site.file("empty.json", "", &["empty.json", "is empty"]);
    site.app("unknown.json", &json!({ "instnaces": 2 }), &["a: instnaces: 2", "did you mean instances?"]);
    site.app(
        "types.json",
        &json!({ "autorestart": "maybe", "max_restarts": "x" }),
        &["a: autorestart: \"maybe\"", "true or false", "a: max_restarts: \"x\"", "a whole number"],
    );
    site.app(
        "banana.json",
        &json!({ "instances": "banana" }),
        &["a: instances: \"banana\"", "write a number up to 1024"],
    );
    site.app(
        "memory.json",
        &json!({ "max_memory_restart": "10X" }),
        &["a: max_memory_restart: \"10X\"", "200M"],
    );
    site.app("slash.json", &json!({ "name": "a/b" }), &["name", "\"a/b\"", "choose another"]);
    site.app("twice.json", &json!({ "name": "sound" }), &["sound", "is the name of 2 apps"]);
    site.app("nul.json", &json!({ "env": { "X": "one\0two" } }), &["a: env: \"X=one", "NUL", "remove it"]);
    site.app("cycle.json", &json!({ "depends_on": ["a"] }), &["a: depends_on", "a → a"]);
    site.app("script.json", &json!({ "script": "nosuch.js" }), &["a: ", "script not found", "nosuch.js"]);
    site.app("folder.json", &json!({ "script": "./folder" }), &["a: ", "is a directory"]);
    site.app("norun.json", &json!({ "script": "./norun" }), &["a: ", "nobody may execute it", "chmod +x"]);
    site.app("user.json", &json!({ "uid": "nobodyhere" }), &["a: uid: ", "nobodyhere", "getent passwd"]);
}

#[test]
fn the_api_refuses_what_makes_no_sense_with_the_attribute() {
    let site = Site::new();
    let path = |name: &str| site.skep.root().join(name).display().to_string();
    let before = site.state();
    let check = |route: &str, body: Value, status: u16, words: &[&str]| {
        let answer = http::post_unix(&site.skep.socket(), route, &body).expect("it answers");
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        let error = answer.json()["error"].clone();
        let said = format!("{} / {}", error["message"], error["hint"]);
        for word in words {
            assert!(said.contains(word), "{body} is not answered with {word:?}: {said}");
        }
    };
    let with = |attributes: Value| {
        let mut spec =
            json!({ "name": "a", "script": path("ok.js"), "interpreter": "node", "cwd": path("") });
        spec.as_object_mut().expect("an object").extend(attributes.as_object().expect("an object").clone());
        spec
    };
    for (attributes, status, words) in [
        (json!({ "script": path("nosuch.js") }), 422, ["a: script: ", "is not there"]),
        (json!({ "script": path("folder"), "interpreter": "none" }), 422, ["a: script: ", "is a directory"]),
        (json!({ "script": path("norun"), "interpreter": "none" }), 422, ["nobody may execute", "chmod +x"]),
        (json!({ "name": "a/b" }), 422, ["name", "choose another"]),
        (json!({ "name": "old" }), 409, ["the name `old` belongs to", "another name"]),
        (json!({ "instances": "banana" }), 400, ["a: instances: ", "write a number up to 1024"]),
        (json!({ "max_memory_restart": "10X" }), 400, ["a: max_memory_restart: ", "200M"]),
        (json!({ "instnaces": 2 }), 400, ["a: instnaces: ", "unknown field"]),
        (json!({ "env": { "X": "one\0two" } }), 422, ["env", "NUL"]),
        (json!({ "depends_on": ["a"] }), 422, ["a: depends_on", "leads back"]),
    ] {
        check("/v1/apps", json!({ "spec": with(attributes.clone()) }), status, &words);
        if status != 409 {
            // A sound one beside it is not started either.
            let apps = [with(json!({ "name": "sound" })), with(attributes)];
            check("/v1/apply", json!({ "apps": apps }), status, &words);
        }
    }
    let apps = [with(json!({ "name": "other" }))];
    check(
        "/v1/apply",
        json!({ "apps": apps, "renames": { "old": "third" } }),
        422,
        &["third", "describe it"],
    );
    // As of the second of two who rename the same app at once.
    check(
        "/v1/apply",
        json!({ "apps": apps, "renames": { "gone": "other" } }),
        404,
        &["there is no app gone", "skep list"],
    );
    assert_eq!(site.state(), before);
}

#[test]
fn an_app_keeps_its_name_where_something_is_tied_to_it() {
    let site = Site::new();
    let app = |name: &str, more: Value| {
        let mut app = json!({ "name": name, "script": "ok.js", "listen_timeout": 100 });
        app.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        app
    };
    let nightly = json!({ "tick": { "cron": "0 3 * * *", "command": "true" } });
    let apps = [
        app("db", json!({})),
        app("web", json!({ "depends_on": ["db"] })),
        app("jobs", json!({ "schedules": nightly })),
    ];
    site.write("order.json", &json!({ "apps": apps }).to_string());
    site.skep.ok(["start", "order.json"]);
    let before = site.state();
    for (line, words) in [
        ("restart db --name store", ["db cannot be called store", "web depends on db"]),
        ("restart jobs --name work", ["what its jobs have done", "delete it and start it"]),
        ("reload web --name db", ["another app has this name", "skep list"]),
        ("reload all --name one", ["names are unique", "name one app"]),
        ("restart order.json --name one", ["order.json is a file of apps", "change the name in the file"]),
        ("restart web --name a,b", ["name", "choose another"]),
    ] {
        let words_of: Vec<&str> = line.split(' ').collect();
        let outcome = site.skep.run(&words_of);
        site.check(&[(line, outcome)], &before, &words);
    }
    site.skep.ok(["reload", "web", "--name", "shop"]);
    assert_eq!(site.skep.app("shop").slots.len(), 1);
}

#[test]
fn ten_thousand_apps_are_checked_and_one_mistake_stops_all() {
    let site = Site::new();
    let app = |number: u32| json!({ "name": format!("n{number}"), "script": "ok.js" });
    let mut apps: Vec<Value> = (0..10_000).map(app).collect();
    apps[7_777]["max_restarts"] = json!("many");
    let before = site.state();
    site.write("many.json", &json!({ "apps": apps }).to_string());
    for verb in ["validate", "apply", "start"] {
        let outcome = site.skep.run([verb, "many.json"]);
        site.check(&[(verb, outcome)], &before, &["n7777: max_restarts: \"many\""]);
    }
    apps[7_777]["max_restarts"] = json!(1);
    site.write("many.json", &json!({ "apps": apps }).to_string());
    site.skep.ok(["validate", "many.json"]);
}

#[test]
fn a_variable_may_have_several_lines() {
    let site = Site::new();
    site.write("print.js", "console.log(JSON.stringify(process.env.X)); setInterval(() => {}, 1000)\n");
    let app = json!({ "name": "a", "script": "print.js", "env": { "X": "one\ntwo" }, "listen_timeout": 100 });
    site.write("lines.json", &json!({ "apps": [app] }).to_string());
    site.skep.ok(["start", "lines.json"]);
    skep_tests::Deadline::until("the worker has said it", || {
        site.skep.ok(["logs", "a"]).contains(r#""one\ntwo""#).then_some(())
    });
}

#[test]
fn a_home_that_cannot_be_used_is_named_with_what_to_do() {
    let skep = Skep::new();
    let start = |home: &str| {
        let mut command = skep.command(["start", "/bin/sleep", "--", "600"]);
        command.env("SKEP_HOME", skep.root().join(home));
        finish(command)
    };
    std::fs::write(skep.root().join("file"), "").expect("the folder is the test's own");
    std::fs::create_dir(skep.root().join("open")).expect("the folder is the test's own");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(skep.root().join("open"), open).expect("the folder is the test's own");
    for (home, words) in [("file", "is not a directory"), ("open", "chmod")] {
        let said = start(home).err();
        let path = skep.root().join(home).display().to_string();
        assert!(said.contains(&path) && said.contains(words), "{home}: {said}");
    }
    assert!(
        std::fs::read_dir(skep.root().join("open")).expect("readable").next().is_none(),
        "nothing is begun"
    );
}

#[test]
fn of_many_who_start_the_same_app_at_one_instant_one_does() {
    let skep = Skep::new();
    std::fs::write(skep.root().join("ok.js"), "setInterval(() => {}, 1000)\n").expect("the folder is ours");
    // There is no daemon yet: they also race for who starts it.
    let all: Vec<_> = (0..6)
        .map(|_| {
            let mut command = skep.command(["start", "ok.js", "--name", "one", "--listen-timeout", "100"]);
            std::thread::spawn(move || command.output().expect("the program is there"))
        })
        .collect();
    let outcomes: Vec<_> = all.into_iter().map(|thread| thread.join().expect("it ran")).collect();
    let done = outcomes.iter().filter(|output| output.status.success()).count();
    assert!(done >= 1, "{outcomes:?}");
    for output in outcomes.iter().filter(|output| !output.status.success()) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(1)
                && (said.contains("one already exists") || said.contains("the name `one` belongs to")),
            "{said}"
        );
    }
    assert_eq!(skep.app("one").slots.len(), 1);
}
