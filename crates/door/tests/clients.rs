//! Real clients and libraries from npm on the door (`npm/clients.test.cjs`), and Debian's redis-cli and redis-benchmark.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Door;

/// A Node that all of the libraries run on: the newest major of connect-redis wants 22. `cargo xtask test` tells where the
/// Nodes are that it has installed; by hand, the one in the PATH has to do.
fn node() -> PathBuf {
    std::env::var_os("SKEP_NODES")
        .map_or_else(|| "node".into(), |nodes| Path::new(&nodes).join("24/bin/node"))
}

#[test]
fn libraries_from_npm_do_their_normal_job() {
    let door = Door::open();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm");
    assert!(folder.join("node_modules").exists(), "run `cargo xtask tools fixtures`");
    let output = Command::new(node())
        .args(["--test", "--test-reporter=tap", "--test-force-exit", "clients.test.cjs"])
        .current_dir(folder)
        .env("SKEP_REDIS_PATH", &door.socket)
        .output()
        .expect("run `cargo xtask tools`");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("# pass 15\n") && told.contains("# skipped 0\n"), "{told}");
}

#[test]
fn redis_cli_and_redis_benchmark_work() {
    let door = Door::open();
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).arg("-s").arg(&door.socket).args(args).output();
        let output = output.expect("run `cargo xtask tools`");
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(run("redis-cli", &["set", "k", "v"]), "OK\n");
    assert_eq!(run("redis-cli", &["-3", "get", "k"]), "v\n");
    assert_eq!(run("redis-cli", &["--scan"]), "k\n");
    assert!(run("redis-cli", &["info", "server"]).contains("redis_version:"));
    let all = run("redis-benchmark", &["-n", "2000", "-c", "20", "-P", "8", "-q", "--csv"]);
    for test in [
        "PING_INLINE",
        "SET",
        "GET",
        "INCR",
        "LPUSH",
        "RPOP",
        "SADD",
        "HSET",
        "SPOP",
        "ZADD",
        "ZPOPMIN",
        "LRANGE_600 (first 600 elements)",
        "MSET (10 keys)",
    ] {
        assert!(all.contains(&format!("\"{test}\"")), "{test} is missing in\n{all}");
    }
}
