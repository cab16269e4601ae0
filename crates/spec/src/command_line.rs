//! Command lines: `npm run dev`, `node server.js --port 80`, `python3 app.py`, `a && b`.
//!
//! A package manager that only starts Node.js is a process of its own that swallows signals, hides exit codes and
//! costs 40 MB. Where a script of package.json says nothing but `node file`, the file is started directly. Whatever
//! is not surely that is run exactly as it was written.

use crate::facts::{Entry, Facts, absolute, base_name};
use crate::interpreter::is_node;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A package.json larger than this is not looked into: real ones are a few kilobytes.
const PACKAGE_BYTES_MAX: usize = 1 << 20;

/// What a command line comes down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A Node.js script.
    Node {
        /// The `node` that was named, a path or a name.
        node: String,
        /// Its own flags.
        flags: Vec<String>,
        /// The script's path.
        script: String,
        /// The script's arguments.
        args: Vec<String>,
        /// Variables that the line sets.
        env: BTreeMap<String, String>,
        /// The package's name, when it came by way of package.json.
        package: Option<String>,
    },
    /// A program with arguments, without a shell.
    Words(Vec<String>),
    /// Needs a shell.
    Shell(String),
}

/// What makes a command line more than words: only a shell knows what it means.
const SHELL_MARKS: &[char] =
    &['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '[', '~', '{', '}', '#', '\n', '!'];

/// Whether `line` can be split into words and mean the same without a shell. Marks inside quotes count too: better
/// one shell too many than one too few.
fn is_plain(line: &str) -> bool {
    !line.contains(SHELL_MARKS)
}

/// Reads one line of text.
pub(crate) fn read_line(line: &str, cwd: &str, facts: &dyn Facts) -> Line {
    let words = if is_plain(line) { shell_words::split(line).ok() } else { None };
    match words {
        Some(words) if !words.is_empty() => match read_words(&words, cwd, facts) {
            Line::Words(words) if has_assignment(&words) => Line::Shell(line.to_owned()),
            other => other,
        },
        Some(_) | None => Line::Shell(line.to_owned()),
    }
}

fn has_assignment(words: &[String]) -> bool {
    words.first().is_some_and(|word| split_assignment(word).is_some())
}

/// Reads a program and its arguments that are words already.
pub(crate) fn read_words(words: &[String], cwd: &str, facts: &dyn Facts) -> Line {
    node_line(words, cwd, facts, BTreeMap::new())
        .or_else(|| package_script(words, cwd, facts))
        .unwrap_or_else(|| Line::Words(words.to_vec()))
}

/// `NAME=value`.
fn split_assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    (starts && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')).then_some((name, value))
}

/// Flags of Node.js whose value is the next word. Flags that make it run something else than a file are missing on
/// purpose.
const FLAGS_WITH_VALUE: &[&str] = &[
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--input-type",
    "--title",
    "--env-file",
];
/// Flags that mean that no file is run, or that Node.js starts other processes.
const FLAGS_WITHOUT_FILE: &[&str] = &[
    "-e",
    "--eval",
    "-p",
    "--print",
    "-i",
    "--interactive",
    "--run",
    "--test",
    "--watch",
    "--watch-path",
    "-c",
    "--check",
    "-v",
    "--version",
    "-h",
    "--help",
    "-",
];

/// `[cross-env] [NAME=value…] node [flags…] file [args…]`.
fn node_line(
    words: &[String],
    cwd: &str,
    facts: &dyn Facts,
    mut env: BTreeMap<String, String>,
) -> Option<Line> {
    let mut words = words.iter();
    let mut word = words.next()?;
    if word == "cross-env" || word == "env" {
        word = words.next()?;
    }
    while let Some((name, value)) = split_assignment(word) {
        env.insert(name.to_owned(), value.to_owned());
        word = words.next()?;
    }
    if !is_node(word) {
        return None;
    }
    let node = word.clone();
    let mut flags = Vec::new();
    let file = loop {
        let word = words.next()?;
        let flag = word.split_once('=').map_or(word.as_str(), |(flag, _)| flag);
        if FLAGS_WITHOUT_FILE.contains(&flag) {
            return None;
        }
        if !word.starts_with('-') {
            break word;
        }
        flags.push(word.clone());
        if FLAGS_WITH_VALUE.contains(&word.as_str()) {
            flags.push(words.next()?.clone());
        }
    };
    let script = find_module(&absolute(cwd, file), facts)?;
    Some(Line::Node { node, flags, script, args: words.cloned().collect(), env, package: None })
}

/// The file that `node path` runs.
fn find_module(path: &str, facts: &dyn Facts) -> Option<String> {
    let is_file = |path: &str| matches!(facts.look(path), Some(Entry::File { .. }));
    let candidates = [path.to_owned(), format!("{path}.js"), format!("{path}/index.js")];
    candidates.into_iter().find(|candidate| is_file(candidate))
}

/// What is of interest in a package.json.
#[derive(Debug, Deserialize)]
struct Package {
    name: Option<String>,
    version: Option<String>,
    #[serde(default)]
    scripts: BTreeMap<String, String>,
}

/// The script's name and its further arguments, when the words start a script of package.json.
fn script_of(words: &[String]) -> Option<(&str, &[String])> {
    let manager = base_name(words.first()?);
    let rest = &words[1..];
    let (name, args) = match (manager, rest.first()?.as_str()) {
        ("npm" | "pnpm" | "yarn" | "bun", "run" | "run-script") => (rest.get(1)?, &rest[2..]),
        ("npm" | "pnpm" | "yarn", "start") => (&rest[0], &rest[1..]),
        _ => return None,
    };
    if name.starts_with('-') {
        return None;
    }
    // npm and pnpm want a `--` before the script's arguments; without it a flag is meant for them.
    match args.first().map(String::as_str) {
        None => Some((name, args)),
        Some("--") => Some((name, &args[1..])),
        Some(first) if first.starts_with('-') => None,
        Some(_) => Some((name, args)),
    }
}

/// A script of package.json that is surely `node file`.
fn package_script(words: &[String], cwd: &str, facts: &dyn Facts) -> Option<Line> {
    let (name, more) = script_of(words)?;
    // bun runs `node file` with node as well, but by its own rules for the environment.
    if base_name(&words[0]) == "bun" {
        return None;
    }
    let path = absolute(cwd, "package.json");
    let package: Package = serde_json::from_slice(&facts.read(&path, PACKAGE_BYTES_MAX)?).ok()?;
    let has = |script: String| package.scripts.contains_key(&script);
    if has(format!("pre{name}")) || has(format!("post{name}")) {
        return None;
    }
    let line = package.scripts.get(name).filter(|line| is_plain(line))?;
    let words = shell_words::split(line).ok()?;
    let mut found = node_line(&words, cwd, facts, npm_env(&package, name, line, cwd, &path, facts))?;
    if let Line::Node { args, package: from, .. } = &mut found {
        args.extend(more.iter().cloned());
        *from = package.name;
    }
    Some(found)
}

/// The variables that package managers set for a script and that programs are known to read.
fn npm_env(
    package: &Package,
    script: &str,
    line: &str,
    cwd: &str,
    path: &str,
    facts: &dyn Facts,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
    set("npm_lifecycle_event", script);
    set("npm_lifecycle_script", line);
    set("npm_package_json", path);
    if let Some(name) = &package.name {
        set("npm_package_name", name);
    }
    if let Some(version) = &package.version {
        set("npm_package_version", version);
    }
    let bin = absolute(cwd, "node_modules/.bin");
    match facts.env().get("PATH") {
        Some(search) => set("PATH", &format!("{bin}:{search}")),
        None => set("PATH", &bin),
    };
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fake::Machine;

    fn package(scripts: &str) -> Machine {
        let json = format!(r#"{{"name":"@acme/shop","version":"1.2.3","scripts":{scripts}}}"#);
        Machine::usual()
            .file("/srv/package.json", &json)
            .file("/srv/server.js", "")
            .file("/srv/lib/index.js", "")
    }

    /// The script and arguments of a line that comes down to Node.js.
    fn node(line: &Line) -> (&str, Vec<&str>, Vec<&str>) {
        match line {
            Line::Node { script, flags, args, .. } => (
                script,
                flags.iter().map(String::as_str).collect(),
                args.iter().map(String::as_str).collect(),
            ),
            Line::Words(_) | Line::Shell(_) => panic!("{line:?} is not Node.js"),
        }
    }

    #[test]
    fn an_npm_script_that_only_starts_node_is_started_directly() {
        let machine = package(r#"{"start":"NODE_ENV=production node -r ./x --trace-gc server.js --a"}"#);
        let line = read_line("npm start -- --b", "/srv", &machine);
        assert_eq!(node(&line), ("/srv/server.js", vec!["-r", "./x", "--trace-gc"], vec!["--a", "--b"]));
        let Line::Node { env, package, .. } = line else { unreachable!("seen above") };
        assert_eq!(package.as_deref(), Some("@acme/shop"));
        assert_eq!(env["NODE_ENV"], "production");
        assert_eq!(env["npm_package_version"], "1.2.3");
        assert_eq!(env["PATH"], "/srv/node_modules/.bin:/usr/bin");
    }

    #[test]
    fn other_managers_and_forms_are_known() {
        let machine = package(r#"{"dev":"cross-env A=1 node lib", "start":"node server"}"#);
        for text in ["npm run dev", "yarn run dev", "pnpm run dev", "npm run-script dev"] {
            assert_eq!(node(&read_line(text, "/srv", &machine)).0, "/srv/lib/index.js", "{text}");
        }
        assert_eq!(node(&read_line("yarn start", "/srv", &machine)).0, "/srv/server.js");
        let words = ["npm", "run", "dev"].map(str::to_owned);
        assert_eq!(node(&read_words(&words, "/srv", &machine)).0, "/srv/lib/index.js");
    }

    #[test]
    fn what_is_not_surely_node_runs_as_it_was_written() {
        let machine = package(
            r#"{"a":"next start", "b":"tsc && node server.js", "c":"node server.js", "prec":"tsc",
                "d":"node --watch server.js", "e":"node missing.js", "f":"node -e 1"}"#,
        );
        for script in ["a", "b", "c", "d", "e", "f", "nope"] {
            let text = format!("npm run {script}");
            assert_eq!(
                read_line(&text, "/srv", &machine),
                Line::Words(vec!["npm".into(), "run".into(), script.into()])
            );
        }
        assert!(matches!(read_line("npm run c --silent", "/srv", &machine), Line::Words(_)));
    }

    #[test]
    fn a_plain_command_line_needs_no_shell_and_another_does() {
        let machine = package("{}");
        let words = |text: &str| read_line(text, "/srv", &machine);
        assert_eq!(
            words("python3 'my app.py' --ok"),
            Line::Words(vec!["python3".into(), "my app.py".into(), "--ok".into()])
        );
        for shell in ["a && b", "echo $HOME", "ls *.js", "A=1 ./run", "it's"] {
            assert_eq!(words(shell), Line::Shell(shell.into()));
        }
        assert_eq!(node(&words("node --inspect server.js x")).2, ["x"]);
    }
}
