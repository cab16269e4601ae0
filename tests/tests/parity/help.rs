//! `pm2 COMMAND --help`.

use super::side::{Side, same_code};

/// Options of PM2 that are refused here, or do nothing.
const LEFT_OUT: &[&str] = &[
    "--fresh",
    "--daemon",
    "--container",
    "--dist",
    "--image-name [name]",
    "--node-version [major]",
    "--dockerdaemon",
    "--ftp",
    "--monitor [frontend-app]",
];
/// What only skep has.
const ADDED: &[&str] = &["--since <time>", "--grep <pattern>"];

/// The usage line, and the options as they are written.
fn told(text: &str) -> (String, Vec<String>) {
    let usage = text.lines().find(|line| line.starts_with("  Usage: ")).expect("it has a usage").to_owned();
    let (_, options) = text.split_once("  Options:\n\n").expect("it has options");
    let flags = options.lines().filter_map(|line| line.trim_start().split("  ").next());
    let counts = |flags: &&str| !flags.is_empty() && !LEFT_OUT.contains(flags) && !ADDED.contains(flags);
    (usage, flags.filter(counts).map(str::to_owned).collect())
}

#[test]
fn each_command_tells_its_own_usage() {
    let (pm2, skep) = (Side::pm2(), Side::skep());
    for side in [&pm2, &skep] {
        side.run("ping").ok();
    }
    for line in [
        "start --help",
        "start app.js -n web -h",
        "restart -h",
        "stop -h",
        "del -h",
        "reload -h",
        "logs --help --nosuch",
        "log -h",
        "ls -h",
        "save -h",
        "serve -h",
        "sysinfos -h",
        "init -h",
        "scale -h",
        "trigger -h",
        "set -h",
        "describe -h",
    ] {
        let (theirs, ours) = same_code(&pm2, &skep, line);
        assert_eq!(told(&ours.stdout), told(&theirs.stdout), "`pm2 {line}`");
        assert_eq!((ours.code, ours.stderr.as_str()), (Some(0), ""), "`pm2 {line}`");
    }
    // Before the command it is about all of them, and behind the dashes it is the app's own.
    let (theirs, ours) = same_code(&pm2, &skep, "-h logs");
    for outcome in [theirs, ours] {
        assert!(outcome.stdout.contains("Usage: pm2 [cmd] app"), "{outcome:?}");
        assert!(outcome.stdout.contains("  logs [options] [id|name|namespace] "), "{outcome:?}");
    }
    same_code(&pm2, &skep, "start -- --help");
    same_code(&pm2, &skep, "nosuch --help");
}
