//! Apps that are there and get something else: through `require('pm2')`, and by `pm2 set`.

use super::side::{Side, same};
use serde_json::Value;
use skep_tests::{Deadline, finish, fixture, fixtures, skep_binary, tool};
use std::path::PathBuf;

/// What the script of this name sees of an API.
fn seen(side: &Side, api: PathBuf, script: &str) -> Value {
    let mut command = side.place.program("node", [fixture(script)]);
    command
        .env_remove("SKEP_HOME")
        .env("PM2_HOME", side.home())
        .env("PM2_DISABLE_VERSION_CHECK", "1")
        .env("SKEP_BIN", skep_binary())
        .env("PM2_API", api);
    let text = finish(command).ok();
    let json = text.lines().rfind(|line| line.starts_with("[[")).expect("the script prints a list");
    serde_json::from_str(json).expect("the script prints JSON")
}

#[test]
fn the_api_changes_what_is_there_as_pm2s_does() {
    let (pm2, skep) = (Side::pm2(), Side::skep());
    for side in [&pm2, &skep] {
        std::fs::write(side.place.root().join("app.js"), "setInterval(() => {}, 1000)\n")
            .expect("the folder is the test's own");
        side.run("ping").ok();
        side.run("start app.js --name web").ok();
        side.run("start app.js --name duo -i 2").ok();
    }
    let theirs = seen(&pm2, tool("pm2/node_modules/pm2"), "pm2-api-changes.cjs");
    let ours = seen(&skep, fixtures().join("../../npm/skep/pm2/index.cjs"), "pm2-api-changes.cjs");
    let steps = |list: &Value| list.as_array().cloned().expect("a list");
    for (ours, theirs) in steps(&ours).iter().zip(&steps(&theirs)) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours, theirs);
}

/// Variables of a worker that has this many restarts behind it.
fn variables(side: &Side, name: &str, restarts: u32) -> Vec<Value> {
    let env = Deadline::until(&format!("{name} was restarted {restarts} times"), || {
        let text = std::fs::read(side.facts().join(format!("{name}.json"))).ok()?;
        let facts: Value = serde_json::from_slice(&text).ok()?;
        let seen: u32 = facts["env"]["restart_time"].as_str()?.parse().ok()?;
        (seen == restarts).then(|| facts["env"].clone())
    });
    ["key", "other", "web", "back"].map(|variable| env[variable].clone()).into()
}

#[test]
fn a_worker_is_told_how_often_its_app_was_restarted_and_reloaded() {
    let (pm2, skep) = (Side::pm2(), Side::skep());
    for side in [&pm2, &skep] {
        std::fs::create_dir(side.facts()).expect("the folder is the test's own");
        side.run("ping").ok();
        side.run("start @pm2-worker.js --name web").ok();
        side.run("start @pm2-worker.js --name duo -i 1").ok();
        // A forked app is restarted; reload it twice at once, as fast as the command comes back.
        for (line, name, restarts) in [
            ("reload web", "web-0", 1),
            ("reload web", "web-0", 2),
            ("restart web", "web-0", 3),
            ("reload duo", "duo-1", 1),
            ("restart duo", "duo-1", 2),
            ("reload duo", "duo-1", 3),
        ] {
            side.run(line).ok();
            variables(side, name, restarts);
        }
    }
}

#[test]
fn a_setting_of_an_app_is_handed_on_to_it() {
    let (pm2, skep) = (Side::pm2(), Side::skep());
    for side in [&pm2, &skep] {
        std::fs::create_dir(side.facts()).expect("the folder is the test's own");
        side.run("ping").ok();
    }
    // Set before there is such an app: it has it from its first start.
    same(&pm2, &skep, "set web:key first");
    same(&pm2, &skep, "start @pm2-worker.js --name web --namespace back");
    // The number of restarts so far follows each command.
    for (line, restarts) in [
        ("get web:key", 0),
        ("set web:key v1", 1),
        ("set web.other v2", 2),
        ("config web:key v3", 3),
        ("config web:key", 3),
        ("get web", 3),
        ("get", 3),
        ("conf", 3),
        ("unset web:other", 3),
        ("restart web", 4),
        ("restart 0", 5),
        ("set back:key spaced", 6),
        ("set nosuch:key v", 6),
        ("set plain v", 6),
        ("unset plain", 6),
        ("get nosuch:other", 6),
        ("stop web", 6),
        ("set web:key again", 6),
        ("unset", 6),
        ("config", 6),
    ] {
        same(&pm2, &skep, line);
        let (theirs, ours) = (variables(&pm2, "web-0", restarts), variables(&skep, "web-0", restarts));
        assert_eq!(ours, theirs, "`pm2 {line}`");
    }
    for line in ["config web:key reloaded", "reload web", "unset all", "get", "get web:key"] {
        same(&pm2, &skep, line);
        let env = |side: &Side| {
            let env = side.processes()[0]["pm2_env"].clone();
            [env["key"].clone(), env["env"]["key"].clone(), env["env"]["web"].clone()]
        };
        assert_eq!(env(&skep), env(&pm2), "`pm2 {line}`");
    }
}
