//! What is said at a start or a restart, and what becomes of it.

use super::side::{Side, same, same_code};
use super::{compare_lists, log_files};
use serde_json::{Map, Value, json};

fn both() -> (Side, Side) {
    let (pm2, skep) = (Side::pm2(), Side::skep());
    for side in [&pm2, &skep] {
        let write = |name: &str, text: &str| {
            std::fs::write(side.place.root().join(name), text).expect("the folder is the test's own");
        };
        write("app.js", "setInterval(() => {}, 1000)\n");
        side.run("ping").ok();
    }
    (pm2, skep)
}

#[test]
fn modes_and_log_files_are_those_of_pm2() {
    let (pm2, skep) = both();
    // PM2 says of `max` that it starts 0 instances.
    same_code(&pm2, &skep, "start app.js --name all_cores -i max");
    for line in [
        "start app.js --name one -i 1",
        "start app.js --name a_b.c",
        "start app.js --name both --log",
        "start app.js --name x --name twice -i 3 -i 2",
    ] {
        same(&pm2, &skep, line);
    }
    compare_lists(&pm2, &skep);
    assert_eq!(log_files(&skep), log_files(&pm2));
    same(&pm2, &skep, "restart 0");
    same(&pm2, &skep, "restart one a_b.c");
    // More than six ids stand on several lines.
    same(&pm2, &skep, "start app.js --name more -i 4");
    same(&pm2, &skep, "restart all");
    same(&pm2, &skep, "delete all");
    // Of a file it is the same.
    for side in [&pm2, &skep] {
        let app = |name: &str, instances: Value| json!({ "name": name, "script": "app.js", "instances": instances });
        let mut forked = app("forked", json!(2));
        forked["exec_mode"] = json!("fork");
        let plain = json!({ "name": "my_plain", "script": "app.js", "watch": ["lib"] });
        let apps = [app("file_one", json!(1)), app("file_max", json!("max")), forked, plain];
        std::fs::write(side.place.root().join("eco.json"), json!({ "apps": apps }).to_string())
            .expect("the folder is the test's own");
    }
    same_code(&pm2, &skep, "start eco.json");
    // Their ids are given in any order.
    let rows = |side: &Side| {
        let mut rows: Vec<[Value; 4]> = side
            .processes()
            .into_iter()
            .map(|entry| {
                let env = &entry["pm2_env"];
                let id = format!("-{}.", entry["pm_id"]);
                let file = side.plain(&env["pm_out_log_path"].to_string()).concat().replace(&id, "-ID.");
                let watch = env.get("watch").filter(|watch| watch.is_array()).cloned();
                [entry["name"].clone(), env["exec_mode"].clone(), file.into(), watch.unwrap_or_default()]
            })
            .collect();
        rows.sort_by_key(|row| row.clone().map(|field| field.to_string()));
        rows
    };
    assert_eq!(rows(&skep), rows(&pm2));
}

#[test]
fn a_log_of_both_streams_lies_beside_those_of_each() {
    let (pm2, skep) = both();
    let app = |name: &str, more: Value| {
        let mut app = json!({ "name": name, "script": "said.js" });
        app.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        app
    };
    let apps = [
        app("one", json!({ "log_file": true })),
        app("my_two", json!({ "log": true, "instances": 2 })),
        app("merged", json!({ "log_file": true, "combine_logs": true, "instances": 2 })),
        app("named", json!({ "log": "all.log", "instances": 2 })),
        app("text", json!({ "log_file": "true" })),
        app("none", json!({ "log_file": false })),
        app("wrong", json!({ "out_file": true })),
    ];
    for app in apps {
        for side in [&pm2, &skep] {
            let write = |name: &str, text: &str| {
                std::fs::write(side.place.root().join(name), text).expect("the folder is the test's own");
            };
            write("said.js", "console.log('out'); console.error('err'); setInterval(() => {}, 1000)\n");
            write("eco.json", &json!({ "apps": [app] }).to_string());
        }
        same_code(&pm2, &skep, "start eco.json");
        let paths = |side: &Side| {
            let of = |entry: &Map<String, Value>| {
                let env = &entry["pm2_env"];
                let texts = [&entry["name"], &entry["pm_id"], &env["pm_log_path"]].map(Value::to_string);
                side.plain(&texts.join(" ")).concat()
            };
            side.processes().iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(paths(&skep), paths(&pm2), "{app}");
    }
    for side in [&pm2, &skep] {
        for (file, lines) in [("one.log", 2), ("my-two-1.log", 2), ("my-two-2.log", 2), ("merged.log", 4)] {
            let path = side.home().join("logs").join(file);
            skep_tests::Deadline::until(&format!("{file} has its lines"), || {
                let text = std::fs::read_to_string(&path).ok()?;
                let count = |word: &str| text.lines().filter(|line| *line == word).count();
                (count("out") == lines / 2 && count("err") == lines / 2).then_some(())
            });
        }
    }
    assert_eq!(log_files(&skep), log_files(&pm2));
}

#[test]
fn a_restart_changes_what_is_said_and_turns_off_what_is_set_to_nothing() {
    let (pm2, skep) = both();
    for line in [
        "start app.js --name web --restart-delay 200 --cron-restart 0",
        "restart web --max-memory-restart 100M --kill-timeout 2500",
        "restart 0 --namespace back",
        "reload web --listen-timeout 1000",
    ] {
        same(&pm2, &skep, line);
        // PM2 writes down that there is no schedule.
        let fields = |side: &Side| {
            let env = side.processes().remove(0)["pm2_env"].clone();
            ["max_memory_restart", "kill_timeout", "namespace", "listen_timeout", "restart_delay"]
                .map(|field| env[field].clone())
        };
        assert_eq!(fields(&skep), fields(&pm2), "`pm2 {line}`");
    }
    same(&pm2, &skep, "restart web --restart-delay 0");
    assert_eq!(skep.processes()[0]["pm2_env"].get("restart_delay"), None);
    skep.run("restart web --cron-restart=@daily").ok();
    assert_eq!(skep.processes()[0]["pm2_env"]["cron_restart"], "@daily");
    same(&pm2, &skep, "restart web --cron-restart 0");
    assert_eq!(skep.processes()[0]["pm2_env"].get("cron_restart"), None);
}

#[test]
fn what_finds_nothing_succeeds_where_scripts_count_on_it() {
    let (pm2, skep) = both();
    same(&pm2, &skep, "resurrect");
    same(&pm2, &skep, "reset all");
    for line in ["set a:b c", "get a:b", "get a", "get nosuch"] {
        same(&pm2, &skep, line);
    }
    // A file whose script has gone still names its apps.
    for side in [&pm2, &skep] {
        let file = r#"{ "apps": [{ "name": "gone", "script": "gone.js" }] }"#;
        std::fs::write(side.place.root().join("eco.json"), file).expect("the folder is the test's own");
        std::fs::write(side.place.root().join("gone.js"), "setInterval(() => {}, 1000)\n").expect("the same");
    }
    same(&pm2, &skep, "start eco.json");
    for side in [&pm2, &skep] {
        std::fs::remove_file(side.place.root().join("gone.js")).expect("it is there");
    }
    same(&pm2, &skep, "stop eco.json");
    same(&pm2, &skep, "delete eco.json");
}

#[test]
fn pythons_lines_are_in_the_log_when_they_are_written() {
    let (pm2, skep) = both();
    for side in [&pm2, &skep] {
        let script =
            "import os, time\nprint('unbuffered', os.environ['PYTHONUNBUFFERED'])\ntime.sleep(600)\n";
        std::fs::write(side.place.root().join("said.py"), script).expect("the folder is the test's own");
        side.run("start said.py").ok();
        let log = side.home().join("logs/said-out.log");
        skep_tests::Deadline::until("the line is there", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text == "unbuffered 1\n").then_some(())
        });
    }
    let version = |side: &Side| side.processes()[0]["pm2_env"].get("version").cloned();
    assert_eq!((version(&skep), version(&pm2)), (Some(Value::from("N/A")), Some(Value::from("N/A"))));
}
