//! Files of apps: read in every format, brought into force, refused when they make no sense.

use serde_json::{Value, json};
use skep_tests::strict::{self, Mode, Plan, Think};
use skep_tests::{Deadline, LIMIT, Outcome, Port, Skep, finish, fixture, http, node, tool};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A skep whose folder holds a server, and the files that a test writes.
fn site() -> Skep {
    let skep = Skep::new();
    fs::copy(fixture("facts.js"), skep.root().join("facts.js")).expect("the folder is ours");
    skep
}

fn write(skep: &Skep, name: &str, text: &str) {
    fs::write(skep.root().join(name), text).expect("the folder is ours");
}

/// Runs `skep …` with the variable that the server of these tests needs.
fn skep<const N: usize>(skep: &Skep, args: [&str; N]) -> Outcome {
    let mut command = skep.command(args);
    command.env("FACTS", skep.root());
    finish(command)
}

/// What the server `name` was started with, in its first instance.
fn facts(folder: &Path, name: &str) -> Value {
    let text = fs::read_to_string(folder.join(format!("{name}-0.json"))).expect("the app has told");
    serde_json::from_str(&text).expect("the app tells in JSON")
}

/// An app that is ready at once and tells what it was given.
const APP: &str = r#"{"name":"web","script":"facts.js","args":["web","one","two words"],"instances":2,
    "listen_timeout":"30s","env":{"T_NUMBER":3000,"T_LINES":"a\nb"},"env_production":{"T_NUMBER":80}}"#;

fn check_format(name: &str, text: &str) {
    let site = site();
    write(&site, name, text);
    skep(&site, ["start", name, "--env", "production"]).ok();
    assert_eq!(site.settled("web", 2).slots.len(), 2, "{name}");
    let facts = facts(site.root(), "web");
    assert_eq!(facts["args"], json!(["one", "two words"]), "{name}");
    assert_eq!(facts["env"], json!({ "T_NUMBER": "80", "T_LINES": "a\nb" }), "{name}");
}

#[test]
fn commonjs_is_read() {
    check_format(
        "ecosystem.config.js",
        &format!("console.log('chatter');\nmodule.exports = {{ apps: [{APP}] }};"),
    );
}

#[test]
fn ecmascript_modules_with_a_promise_are_read() {
    let text = format!("const apps = await Promise.resolve([{APP}]);\nexport default {{ apps }};");
    check_format("ecosystem.config.mjs", &text);
}

#[test]
fn typescript_is_read() {
    check_format(
        "ecosystem.config.ts",
        &format!("const apps: object[] = [{APP}];\nexport default {{ apps }};"),
    );
}

#[test]
fn json_with_comments_is_read() {
    check_format("apps.json", &format!("// what runs here\n{{ apps: [{APP},] }}"));
}

#[test]
fn yaml_is_read() {
    let text = "apps:\n  - name: web # the site\n    script: facts.js\n    args: web one 'two words'\n    instances: 2\n    \
                listen_timeout: 30s\n    env: { T_NUMBER: 3000, T_LINES: \"a\\nb\" }\n    env_production:\n      T_NUMBER: 80\n";
    check_format("apps.yaml", text);
}

#[test]
fn toml_is_read() {
    let text = "[apps.web]\nscript = \"facts.js\"\nargs = [\"web\", \"one\", \"two words\"]\ninstances = 2\n\
                listen_timeout = \"30s\"\nenv = { T_NUMBER = 3000, T_LINES = \"a\\nb\" }\nenv_production = { T_NUMBER = 80 }\n";
    check_format("skep.toml", text);
}

#[test]
fn standard_input_is_read() {
    let site = site();
    let mut command = site.command(["start", "-"]);
    command.env("FACTS", site.root()).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("[{APP}]").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    site.settled("web", 2);
}

#[test]
fn a_file_is_found_and_stands_for_its_apps_in_every_verb() {
    let site = site();
    let other = APP.replace("\"web\"", "\"api\"");
    write(&site, "ecosystem.config.js", &format!("module.exports = {{ apps: [{APP}, {other}] }}"));
    skep(&site, ["start", "--only", "api"]).ok();
    assert_eq!(site.apps().len(), 1);
    let first = site.settled("api", 2).pids();
    skep(&site, ["start"]).ok();
    assert_eq!(site.settled("api", 2).pids(), first, "what runs and has not changed is left alone");
    skep(&site, ["restart", "ecosystem.config.js", "--env", "production"]).ok();
    assert!(site.settled("api", 2).pids().iter().all(|pid| !first.contains(pid)));
    assert_eq!(facts(site.root(), "api")["env"]["T_NUMBER"], "80");
    skep(&site, ["startOrReload", "--only", "web"]).ok();
    assert_eq!(facts(site.root(), "web")["env"]["T_NUMBER"], "3000");
    skep(&site, ["stop", "ecosystem.config.js"]).ok();
    assert!(site.apps().iter().all(|app| app.status == "stopped"));
    skep(&site, ["delete", "ecosystem.config.js"]).ok();
    assert!(site.apps().is_empty());
}

#[test]
fn a_javascript_file_that_throws_or_hangs_is_told_with_its_line() {
    let site = site();
    write(&site, "throws.config.js", "const a = 1;\nmodule.exports = { apps: b.c };\n");
    write(&site, "syntax.config.cjs", "module.exports = {\n  apps: [ }\n");
    write(&site, "nothing.config.js", "module.exports = 7;\n");
    write(&site, "f.config.js", "module.exports = [{ name: 'f', script: 'a.js', instances: () => 3 }];\n");
    write(&site, "waits.config.mjs", "await new Promise(() => {});\n");
    write(&site, "hangs.config.js", "for (;;);\n");
    let refusal = |name: &str| {
        let mut command = site.command(["start", name]);
        command.env("SKEP_CONFIG_TIMEOUT", if name.starts_with("hangs") { "500ms" } else { "60s" });
        let outcome = finish(command);
        assert_eq!(outcome.code, Some(1), "{name}: {}", outcome.stderr);
        outcome.stderr
    };
    assert!(
        refusal("throws.config.js")
            .contains("throws.config.js:2: cannot be evaluated: ReferenceError: b is not")
    );
    assert!(refusal("syntax.config.cjs").contains("syntax.config.cjs:2: cannot be evaluated: SyntaxError"));
    assert!(refusal("nothing.config.js").contains("it exports number"));
    assert!(refusal("f.config.js").contains("f: instances is a function; write the value that it returns"));
    assert!(refusal("waits.config.mjs").contains("nothing settles"));
    assert!(refusal("hangs.config.js").contains("did not end within 500ms"));
    assert!(!site.home().exists(), "no daemon was started for any of it");
}

fn serving(port: &Port, version: &str, more: &str) -> String {
    format!(
        "[apps.web]\nscript = \"facts.js\"\nargs = [\"web\", \"{version}\"]\ninstances = 2\nlisten_timeout = \"30s\"\n\
         kill_timeout = \"10s\"\nport = {}\n{more}\n",
        port.number()
    )
}

#[test]
fn apply_changes_what_has_changed_without_losing_a_request_and_nothing_the_second_time() {
    let (site, port) = (site(), Port::free());
    write(&site, "skep.toml", &serving(&port, "one", "env = { T_OLD = \"1\", T_BOTH = \"1\" }"));
    assert_eq!(skep(&site, ["apply", "--dry-run"]).code, Some(2), "everything is new");
    assert!(!site.home().exists(), "a dry run starts nothing");
    skep(&site, ["apply"]).ok();
    let first = site.settled("web", 2).pids();
    assert!(skep(&site, ["apply"]).ok().contains("web"));
    assert_eq!(skep(&site, ["apply", "--dry-run"]).code, Some(0), "the same file changes nothing");

    write(
        &site,
        "skep.toml",
        &serving(&port, "one", "max_restarts = 3\nenv = { T_OLD = \"1\", T_BOTH = \"1\" }"),
    );
    skep(&site, ["apply"]).ok();
    assert_eq!(site.settled("web", 2).pids(), first, "a hot change leaves workers alone");

    write(&site, "skep.toml", &serving(&port, "two", "env = { T_BOTH = \"2\" }"));
    let dry = skep(&site, ["apply", "--dry-run"]);
    assert_eq!(dry.code, Some(2));
    assert!(dry.stderr.contains("roll") && dry.stderr.contains("env.T_OLD"), "{}", dry.stderr);
    assert_eq!(site.settled("web", 2).pids(), first, "a dry run changes nothing");
    let think = Think { min: Duration::ZERO, max: Duration::from_millis(20) };
    let load = strict::start(Plan::get(port.address(), Mode::KeepAlive(think), 4)).unwrap();
    load.wait_for_more(40, LIMIT);
    skep(&site, ["apply"]).ok();
    load.wait_for_more(40, LIMIT);
    let report = load.stop();
    assert_eq!(report.failures(), 0, "{report}");
    assert!(site.settled("web", 2).pids().iter().all(|pid| !first.contains(pid)));
    let answer = http::get(port.address(), "/").unwrap().json();
    assert_eq!(answer, json!({ "args": ["two"], "env": { "T_BOTH": "2" } }), "removed variables are gone");
}

#[test]
fn a_rollout_that_fails_leaves_the_old_workers_and_says_why() {
    let (site, port) = (site(), Port::free());
    write(&site, "skep.toml", &serving(&port, "one", ""));
    skep(&site, ["apply"]).ok();
    let first = site.settled("web", 2).pids();
    write(&site, "skep.toml", &serving(&port, "two", "node_args = \"--no-such-option\"\nmax_restarts = 1"));
    let outcome = skep(&site, ["apply"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("no-such-option"), "{}", outcome.stderr);
    assert_eq!(site.settled("web", 2).pids(), first);
    assert_eq!(http::get(port.address(), "/").unwrap().json()["args"], json!(["one"]));
    assert_eq!(skep(&site, ["apply", "--dry-run"]).code, Some(2), "what failed is still to be done");
}

#[test]
fn what_left_the_file_is_pruned_and_others_are_not() {
    let site = site();
    let app = |name: &str| {
        APP.replace("\"web\"", &format!("\"{name}\"")).replace("\"instances\":2", "\"instances\":1")
    };
    write(&site, "skep.json", &format!("[{}, {}]", app("web"), app("old")));
    write(&site, "other.json", &format!("[{}]", app("other")));
    skep(&site, ["start", "skep.json", "other.json"]).ok();
    write(&site, "skep.json", &format!("[{}]", app("web")));
    skep(&site, ["apply"]).ok();
    assert_eq!(site.apps().len(), 3, "nothing is pruned unasked");
    skep(&site, ["apply", "--prune"]).ok();
    let names: Vec<String> = site.apps().into_iter().map(|app| app.name).collect();
    assert_eq!(names, ["web", "other"]);
    skep(&site, ["apply", "--prune=all"]).ok();
    assert_eq!(site.apps().len(), 1);
}

#[test]
fn a_restart_with_another_number_of_instances_is_no_failure() {
    let site = site();
    let app = |instances: u32| {
        format!(r#"{{"name":"web","script":"facts.js","instances":{instances},"listen_timeout":"30s"}}"#)
    };
    write(&site, "web.json", &app(1));
    skep(&site, ["start", "web.json"]).ok();
    write(&site, "web.json", &app(3));
    let said = skep(&site, ["restart", "web.json"]);
    assert_eq!((said.code, said.stderr.contains("took web over")), (Some(0), false), "{said:?}");
    assert_eq!(site.app("web").slots.len(), 3);
}

#[test]
fn validate_and_convert_speak_to_machines() {
    let site = site();
    write(
        &site,
        "ecosystem.config.js",
        &format!("module.exports = {{ apps: [{APP}], deploy: {{ p: {{ ref: 'x' }} }} }}"),
    );
    let told: Value = serde_json::from_str(&skep(&site, ["validate", "--json"]).ok()).unwrap();
    assert_eq!((&told[0]["valid"], &told[0]["apps"]), (&json!(true), &json!(["web"])));
    for format in ["toml", "yaml", "json"] {
        let text = skep(&site, ["convert", "--to", format]).ok();
        let name = format!("skep.{format}");
        write(&site, &name, &text);
        skep(&site, ["validate", name.as_str()]).ok();
        assert!(text.contains("deploy"), "{text}");
        // It describes the same apps: to a running fleet it changes nothing but where they come from.
    }
    skep(&site, ["apply", "ecosystem.config.js"]).ok();
    let dry = skep(&site, ["apply", "skep.toml", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(dry.stdout.lines().next().unwrap()).unwrap();
    let changes = plan["apps"][0]["changes"].as_array().unwrap();
    assert!(changes.iter().all(|change| change["field"] == "source"), "{plan}");
    write(&site, "bad.json", r#"{"name":"x","script":"gone.js","foo":1}"#);
    let outcome = skep(&site, ["validate", "bad.json", "--json"]);
    let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(outcome.code, Some(1));
    assert_eq!(told[0]["problems"][0]["attribute"], "foo");
}

#[test]
fn the_examples_that_init_writes_run() {
    let site = site();
    write(&site, "app.js", "require('http').createServer().listen(0)");
    skep(&site, ["init", "simple"]).ok();
    skep(&site, ["start", "--port", "0", "-i", "1"]).ok();
    site.settled("web", 1);
    assert!(skep(&site, ["init"]).err().contains("move it away"));
    skep(&site, ["ecosystem"]).ok();
    skep(&site, ["validate", "ecosystem.config.js"]).ok();
}

/// The real PM2 and skep are given the same files; each app tells what it was started with.
#[test]
fn apps_get_from_skep_what_they_get_from_pm2() {
    let site = site();
    for folder in ["pm2-facts", "skep-facts", "sub"] {
        fs::create_dir(site.root().join(folder)).unwrap();
    }
    fs::copy(fixture("facts.js"), site.root().join("sub/other.js")).unwrap();
    write(
        &site,
        "ecosystem.config.js",
        r#"module.exports = { apps: [
            { name: 'web', script: './facts.js', args: "web 'two words' --flag=1", instances: 2, exec_mode: 'cluster',
              env: { T_NUMBER: 3000, T_TRUE: true, T_OBJECT: { a: [1, 2] }, T_KEEP: 'x' },
              env_production: { T_NUMBER: 80 } },
            { name: 'sub', script: 'other.js', cwd: './sub', args: ['sub', 'a b', '$HOME'], nodeArgs: '--max-old-space-size=99' },
            { name: 'shout', exec: './facts.js', args: 'shout', exec_mode: 'fork_mode', node_args: ['--no-warnings'],
              env: { T_TEXT: 'a "quoted" $thing' }, append_env_to_name: true, maxRestarts: '3' },
        ] };"#,
    );
    write(
        &site,
        "apps.yaml",
        "apps:\n  - name: yaml\n    script: facts.js\n    args: yaml\n    env:\n      T_A: 1.50\n      T_B: off\n",
    );
    write(
        &site,
        "apps.json",
        "// comment\n{ apps: [{ name: 'json', script: 'facts.js', args: 'json', env: { T_A: 'b' }, }] }",
    );
    let pm2 = Pm2::new(&site);
    for args in [
        vec!["start", "ecosystem.config.js", "--env", "production"],
        vec!["start", "apps.yaml"],
        vec!["start", "apps.json"],
    ] {
        pm2.run(&args).ok();
        let mut command = site.command(&args);
        command.env("FACTS", site.root().join("skep-facts"));
        finish(command).ok();
    }
    for file in ["web-0", "web-1", "sub-0", "shout-0", "yaml-0", "json-0"] {
        let read = |folder: &str| wait_for(&site.root().join(folder).join(format!("{file}.json")));
        let (theirs, ours) = (read("pm2-facts"), read("skep-facts"));
        assert_eq!(ours["args"], theirs["args"], "{file}");
        assert_eq!(ours["env"], theirs["env"], "{file}");
        assert_eq!(ours["cwd"], theirs["cwd"], "{file}");
        assert_eq!(ours["execArgv"], theirs["execArgv"], "{file}");
    }
    let list: Value = serde_json::from_str(&pm2.run(&["jlist"]).ok()).unwrap();
    let mut theirs: Vec<&str> =
        list.as_array().unwrap().iter().filter_map(|app| app["name"].as_str()).collect();
    theirs.sort_unstable();
    let ours = site.apps().into_iter().flat_map(|app| vec![app.name; app.slots.len()]);
    let mut ours: Vec<String> = ours.collect();
    ours.sort_unstable();
    assert_eq!(ours, theirs);
}

/// The real PM2 in a home of its own; ended when dropped.
struct Pm2<'a> {
    site: &'a Skep,
}

impl<'a> Pm2<'a> {
    fn new(site: &'a Skep) -> Self {
        Self { site }
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let bin = node(22).bin;
        let mut command = Command::new(bin.join("node"));
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        command
            .arg(tool("pm2/node_modules/pm2/bin/pm2"))
            .args(args)
            .current_dir(self.site.root())
            .env("PATH", path)
            .env("PM2_HOME", self.site.root().join("pm2-home"))
            .env("FACTS", self.site.root().join("pm2-facts"))
            .env_remove("PORT")
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::null());
        finish(command)
    }
}

impl Drop for Pm2<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(self.run(&["kill"]));
        }
    }
}

/// A file that somebody is about to write.
fn wait_for(path: &Path) -> Value {
    let text = Deadline::until(&path.display().to_string(), || fs::read_to_string(path).ok());
    serde_json::from_str(&text).expect("the app tells in JSON")
}
