//! `require('skep/pm2')` with files and descriptions of apps, on the oldest and the newest Node.

use serde_json::{Value, json};
use skep_tests::{Node, Skep, finish, fixtures, node, skep_binary};

#[test]
fn the_api_reads_files_and_descriptions_on_node_18() {
    check(&node(18));
}

#[test]
fn the_api_reads_files_and_descriptions_on_node_26() {
    check(&node(26));
}

#[track_caller]
fn check(node: &Node) {
    let skep = Skep::with_node(node);
    let mut command = skep.program("node", [fixtures().join("pm2-api-files.cjs")]);
    command.env("SKEP_BIN", skep_binary());
    let text = finish(command).ok();
    let out: Value = serde_json::from_str(&text).expect("the script prints JSON");
    let expected = json!({
        "connected": true,
        "file": ["a online 0", "a online 0", "b online 0"],
        "production": ["a online 1", "a online 1"],
        "what": ["prod"],
        "json": ["c online 0"],
        "described": ["d online 0"],
        "env": [["x y", "z"], "1", "{\"k\":2}"],
        "describedAgain": ["d online 1"],
        "several": ["e online 0", "f online 0"],
        "script": ["s online 0"],
        "scriptAgain": "Script already launched",
        "scriptForced": ["s-2 online 0"],
        "known": ["s online 1"],
        "missing": "Script not found: ./nosuch.js",
        "wrong": "y: max_memory_restart: \"10X\" is not accepted\n  write bytes, or a number with K, M, G or T (1048576, 200M, 1.5G)",
        "unknown": "y: instnaces: 2 is no attribute that skep knows\n  did you mean instances?",
        "updated": ["b online 1"],
        "fresh": "yes",
        "restartedFile": ["c online 1"],
        "reloadedFile": ["a online 2", "a online 2"],
        "version": true,
        "dumped": { "success": true },
        "flushed": { "success": true },
        "reopened": { "success": true },
        "signalled": ["b online 1"],
        "noTopic": "ID, DATA or TOPIC field is missing",
        "stoppedFile": ["c stopped 1"],
        "deletedFile": ["a online 2", "a online 2", "b online 1"],
        "noId": "99 : id unknown",
        "resurrected": 9,
        "killed": { "success": true },
        "again": true,
    });
    assert_eq!(out, expected);
    assert!(skep.err(["ping"]).contains("not running"), "with noDaemon it ends with the program");
}
