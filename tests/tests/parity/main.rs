//! The same commands for PM2 and for skep under the name `pm2`; what scripts see is compared.

mod changes;
mod help;
mod names;
mod options;
mod side;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use side::{Side, same, same_code};
use skep_tests::fixture;

/// Fields whose values differ from run to run, or from place to place.
const CHANGING: &[&str] = &[
    "FACTS",
    "PM2_HOME",
    "SKEP_TEST_MARK",
    "created_at",
    "pm_uptime",
    "unique_id",
    "axm_actions",
    "axm_monitor",
    "axm_options",
    "axm_dynamic",
    "env",
    "exit_code",
    "PATH",
    "HOME",
];
/// What PM2 only has for its own sake: what its shell was doing, how its agent is to behave.
const ITS_OWN: &[&str] = &[
    "_",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "PM2_INTERACTOR_PROCESSING",
    "SILENT",
    "PM2_DISABLE_VERSION_CHECK",
    "_tree_pids",
    // A restart sets it in PM2, though each instance goes on with files of its own.
    "merge_logs",
];

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Each entry has each field of PM2's, of the same type, and the same value where it does not change.
pub(crate) fn compare_lists(pm2: &Side, skep: &Side) {
    let (theirs, ours) = (pm2.processes(), skep.processes());
    assert_eq!(ours.len(), theirs.len());
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!((&ours["name"], &ours["pm_id"]), (&theirs["name"], &theirs["pm_id"]));
        let keys = |entry: &Map<String, Value>| entry.keys().cloned().collect::<Vec<_>>();
        let sorted = |mut keys: Vec<String>| {
            keys.sort();
            keys
        };
        assert_eq!(sorted(keys(ours)), sorted(keys(theirs)));
        let env = |entry: &Map<String, Value>| entry["pm2_env"].as_object().cloned().expect("an object");
        let (their_env, our_env) = (env(theirs), env(ours));
        for (name, value) in their_env.iter().filter(|(name, _)| !ITS_OWN.contains(&name.as_str())) {
            let found = our_env.get(name).unwrap_or_else(|| panic!("{name}: is missing ({value})"));
            assert_eq!(kind(found), kind(value), "{name}: {found} and {value}");
            if !CHANGING.contains(&name.as_str()) && !value.is_object() {
                let plain = |side: &Side, value: &Value| side.plain(&value.to_string());
                assert_eq!(plain(skep, found), plain(pm2, value), "{name}");
            }
        }
    }
}

/// Each variable that PM2 gives to a worker is there with the same value.
fn compare_workers(pm2: &Side, skep: &Side, name: &str) {
    let (theirs, ours) = (pm2.facts_of(name), skep.facts_of(name));
    assert_eq!((&ours["main"], &ours["channel"]), (&theirs["main"], &theirs["channel"]), "{name}");
    assert_eq!(ours["script"], Value::from(fixture("pm2-worker.js").display().to_string()));
    let variables = |facts: &Value| -> BTreeMap<String, String> {
        serde_json::from_value(facts["env"].clone()).expect("an environment")
    };
    let ours = variables(&ours);
    for (variable, value) in variables(&theirs) {
        // Objects that PM2 wrote as text, and what it copied from its own daemon.
        let text_of_object = value.contains("[object") || value.is_empty();
        let known = CHANGING.contains(&variable.as_str()) || ITS_OWN.contains(&variable.as_str());
        if text_of_object || known || variable == "_pm2_version" {
            continue;
        }
        let found = ours.get(&variable).unwrap_or_else(|| panic!("{name}: {variable} is missing ({value})"));
        assert_eq!(skep.plain(found), pm2.plain(&value), "{name}: {variable}");
    }
}

pub(crate) fn log_files(side: &Side) -> Vec<String> {
    let entries = std::fs::read_dir(side.home().join("logs")).expect("there are logs");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.contains("-out"));
    names.sort();
    names
}

#[test]
fn scripts_see_the_same_under_the_name_pm2() {
    let (pm2, skep) = (Side::pm2(), Side::skep());
    for side in [&pm2, &skep] {
        std::fs::create_dir(side.facts()).expect("the folder is the test's own");
        assert!(side.run("ping").ok().contains("{ msg: 'pong' }"));
    }
    same(&pm2, &skep, "stop all");
    same(&pm2, &skep, "start @pm2-worker.js --name web");
    same(&pm2, &skep, "start @pm2-worker.js --name duo -i 2 --namespace back");
    for name in ["web-0", "duo-1", "duo-2"] {
        compare_workers(&pm2, &skep, name);
    }
    compare_lists(&pm2, &skep);
    assert_eq!(log_files(&skep), log_files(&pm2));
    for line in [
        "stop nosuch",
        "delete 666",
        "restart 666",
        "reload 666",
        "restart web --env production",
        "start @pm2-worker.js --name web",
        "start nosuch.js",
        "start nosuch.config.js",
        "start --nosuch",
        "describe nosuch",
        "env 99",
        "id duo",
        "id nosuch",
        "pid nosuch",
        "pid back",
        "pid 1",
        "describe back",
        "get nosuch",
        "send 99 x",
        "trigger web nosuch",
        "scale duo 2",
        "scale nosuch 2",
        "attach web",
        "id",
        "env",
        "describe",
        "sendSignal SIGUSR2 nosuch",
    ] {
        same(&pm2, &skep, line);
    }
    same(&pm2, &skep, "restart web");
    let (theirs, ours) = same_code(&pm2, &skep, "reload duo");
    assert_eq!((ours.stdout.contains('┌'), theirs.stdout.contains('┌')), (false, false), "no table");
    same(&pm2, &skep, "stop web");
    same(&pm2, &skep, "send 0 line");
    same(&pm2, &skep, "start web");
    same(&pm2, &skep, "stop back");
    same(&pm2, &skep, "restart /du./");
    same(&pm2, &skep, "reset 1");
    // Before it is scaled: PM2 goes on telling the number of instances that it was started with.
    compare_lists(&pm2, &skep);
    same(&pm2, &skep, "scale duo 3");
    same(&pm2, &skep, "save");
    same_code(&pm2, &skep, "set some value");
    same_code(&pm2, &skep, "nosuch");
    for line in ["kill web", "save web", "resurrect web", "prettylist web", "cleardump web"] {
        let (theirs, ours) = same_code(&pm2, &skep, line);
        for outcome in [theirs, ours] {
            assert!(outcome.stdout.contains("Unknown command argument: web"), "`pm2 {line}`: {outcome:?}");
        }
    }
    let pretty = skep.run("prettylist").ok();
    assert!(pretty.contains("name: 'web'") && pretty.contains("status: 'online'"), "{pretty}");
    same(&pm2, &skep, "delete web");
    same(&pm2, &skep, "delete duo");
    compare_dumps(&pm2, &skep);
    same_code(&pm2, &skep, "kill");
    files_of_apps(&pm2, &skep);
    bad_values(&pm2, &skep);
    same(&pm2, &skep, "delete all");
    same(&pm2, &skep, "save");
    same(&pm2, &skep, "kill");
}

/// A file in each place; what is done with it is told in the same words.
fn files_of_apps(pm2: &Side, skep: &Side) {
    for side in [pm2, skep] {
        let script = fixture("pm2-worker.js").display().to_string();
        let app = |name: &str| serde_json::json!({ "name": name, "script": script, "env": { "FACTS": side.facts() } });
        let (one, mut two) = (app("one"), app("two"));
        two["env_blue"] = serde_json::json!({ "COLOR": "blue" });
        let file = serde_json::json!({ "apps": [one, two] }).to_string();
        std::fs::write(side.place.root().join("eco.json"), file).expect("the folder is the test's own");
    }
    for line in [
        "start eco.json --only one",
        "start eco.json --env blue",
        "restart eco.json",
        "stop eco.json",
        "restart eco.json --only two",
        "delete eco.json",
    ] {
        same(pm2, skep, line);
    }
}

/// What scripts look for stands in both complaints, and the exit codes are the same.
fn bad_values(pm2: &Side, skep: &Side) {
    for (line, part) in [
        ("start @pm2-worker.js --max-memory-restart 10X", "Verify \"max_memory_restart\" with regex failed"),
        ("start @pm2-worker.js --kill-timeout abc", "Expect \"kill_timeout\" to be a typeof [object Number]"),
        ("start @pm2-worker.js --max-restarts abc", "Expect \"max_restarts\" to be a typeof [object Number]"),
        ("start @pm2-worker.js --cron-restart banana", "Cron pattern error: CronPattern: "),
        ("start @pm2-worker.js --uid nosuchuser", "User nosuchuser cannot be found"),
        ("start @pm2-worker.js --interpreter nosuch", "Interpreter nosuch is NOT AVAILABLE in PATH."),
    ] {
        let (theirs, ours) = same_code(pm2, skep, line);
        for (side, outcome) in [(pm2, theirs), (skep, ours)] {
            let said = side.plain(&outcome.stderr).join("\n");
            assert!(said.contains(part), "`pm2 {line}`: {said}");
        }
    }
}

/// What PM2 saved, skep brings back.
fn compare_dumps(pm2: &Side, skep: &Side) {
    let ours: Value = read_dump(skep);
    let theirs: Value = read_dump(pm2);
    let names = |dump: &Value| -> Vec<String> {
        dump.as_array().into_iter().flatten().map(|entry| entry["name"].to_string()).collect()
    };
    assert_eq!(names(&ours), names(&theirs));
    std::fs::copy(pm2.home().join("dump.pm2"), skep.home().join("dump.pm2")).expect("copied");
    let said = skep.run("resurrect").ok();
    assert!(said.contains("[PM2] Resurrecting"), "{said}");
    assert_eq!(said.matches(" restored\n").count(), names(&ours).len(), "{said}");
    let brought: Vec<String> = skep.processes().iter().map(|entry| entry["name"].to_string()).collect();
    let count = |names: &[String], name: &str| names.iter().filter(|found| found.contains(name)).count();
    assert_eq!((count(&brought, "web"), count(&brought, "duo")), (1, 3), "{brought:?}");
}

fn read_dump(side: &Side) -> Value {
    let text = std::fs::read(side.home().join("dump.pm2")).expect("the dump was written");
    serde_json::from_slice(&text).expect("it is JSON")
}
