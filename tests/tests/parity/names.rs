//! What an app is called, and what it is found by.

use super::side::{Side, same, same_code};
use serde_json::Value;
use skep_tests::{http, process};

/// A script that lives on and never listens, in both places.
fn write_apps(sides: [&Side; 2]) {
    for side in sides {
        let write = |name: &str, text: &str| {
            std::fs::write(side.place.root().join(name), text).expect("the folder is the test's own");
        };
        let live = "setInterval(() => {}, 1000)\n";
        write("app.js", live);
        write("eco.json", r#"{ "apps": [{ "name": "filed", "script": "app.js" }] }"#);
        // Two programs of PATH have these names.
        for (folder, file) in [("env", "env/index.js"), ("ls", "ls/notes.txt")] {
            std::fs::create_dir(side.place.root().join(folder)).expect("the folder is the test's own");
            write(file, live);
        }
    }
}

/// Ids, names and the files that each process goes on with.
fn known(side: &Side) -> Vec<[String; 4]> {
    let text = |value: &Value| side.plain(&value.to_string()).join("\n");
    let row = |entry: serde_json::Map<String, Value>| {
        let env = &entry["pm2_env"];
        [&entry["pm_id"], &env["name"], &env["pm_out_log_path"], &env["pm_pid_path"]].map(text)
    };
    side.processes().into_iter().map(row).collect()
}

#[test]
fn a_restart_gives_an_app_another_name() {
    let (pm2, skep) = (Side::pm2(), Side::skep());
    write_apps([&pm2, &skep]);
    for side in [&pm2, &skep] {
        side.run("ping").ok();
    }
    for line in [
        "start app.js --name web",
        "start app.js --name duo -i 2",
        "restart web --name other",
        "restart web",
        "restart 0 --name byid",
        "reload duo --name pair",
        "stop byid",
        "start byid --name again",
        "restart again --name again",
        "restart eco.json --name ignored",
    ] {
        same(&pm2, &skep, line);
        assert_eq!(known(&skep), known(&pm2), "`pm2 {line}`");
    }
    // Names are unique here, and all instances of an app have one: PM2 does as it is told.
    let before = known(&skep);
    for (line, words) in [
        ("restart again --name pair", "another app has this name"),
        ("restart again --name a/b", "\"a/b\""),
        ("restart all --name one", "names are unique"),
        ("restart 1 --name one", "all instances of an app have one name"),
    ] {
        let said = skep.run(line).err();
        assert!(said.contains(words), "`pm2 {line}`: {said}");
        assert_eq!(known(&skep), before, "`pm2 {line}`");
    }
    // The daemon that follows knows it by the new name, and the old one is free.
    let daemon = http::get_unix(&skep.home().join("skep.sock"), "/v1/daemon").expect("it answers");
    let pid = daemon.json()["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    process::kill(pid);
    assert_eq!(known(&skep), before);
    same_code(&pm2, &skep, "start app.js --name web");
}

#[test]
fn a_directory_is_entered_as_its_interpreter_does() {
    let (pm2, skep) = (Side::pm2(), Side::skep());
    write_apps([&pm2, &skep]);
    for side in [&pm2, &skep] {
        side.run("ping").ok();
    }
    same_code(&pm2, &skep, "start env");
    let names =
        |side: &Side| side.processes().into_iter().map(|entry| entry["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&skep), names(&pm2));
    let path = skep.processes()[0]["pm2_env"]["pm_exec_path"].clone();
    assert_eq!(path, Value::from(skep.place.root().join("env/index.js").display().to_string()));
    // PM2 gives the directory to Node.js again and again.
    let said = skep.run("start ls").err();
    assert!(
        said.contains("\"ls\" is a directory") && said.contains("the program of this name is /"),
        "{said}"
    );
    assert_eq!(names(&skep), names(&pm2));
}
