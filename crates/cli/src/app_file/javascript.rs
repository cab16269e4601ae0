//! A configuration file in JavaScript or TypeScript, evaluated by the user's own `node`, in a process of its own that
//! is given a limited time. The daemon never sees such a file.

use super::refused;
use crate::machine::Machine;
use serde_json::Value;
use skep_spec::{Facts, FileError, Millis};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a file may take: long enough for one that asks a server for secrets, on a machine that is busy.
const TIMEOUT_MS: u64 = 30_000;
/// The variable that changes it.
const TIMEOUT_VARIABLE: &str = "SKEP_CONFIG_TIMEOUT";
/// Variables that belong to the process that typed the command.
const OWN_VARIABLES: &[&str] = &["NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "NODE_UNIQUE_ID"];

/// Run by `node -e`. The result is written to descriptor 0, which is a pipe to us: what the file prints goes where it
/// always goes and cannot be mistaken for it.
const LOADER: &str = r#"
const fs = require('fs'), url = require('url');
const [file, ...typed] = process.argv.slice(1);
process.argv = [process.argv[0], 'skep', ...typed];
console.log = console.info = console.debug = console.error;
const plain = (key, value) => {
  if (value instanceof RegExp) {
    const flags = value.flags.replace(/[^ims]/g, '');
    return 'regex:' + (flags && `(?${flags})`) + value.source;
  }
  if (typeof value === 'bigint') return String(value);
  return value;
};
import(url.pathToFileURL(file).href).then(async (module) => {
  let value = 'default' in module ? module.default : { ...module };
  if (value && value.__esModule && 'default' in value) value = value.default;
  value = await value;
  if (value === null || typeof value !== 'object') {
    throw new TypeError('it exports ' + (value === null ? 'null' : typeof value) + ', not an object with apps');
  }
  // JSON would leave it out, and the app would start without it.
  for (const app of Object.values(value.apps ?? value.pm2 ?? (Array.isArray(value) ? value : [value]))) {
    for (const [name, given] of Object.entries(app ?? {})) {
      if (typeof given === 'function') {
        throw new TypeError(`${app.name ?? 'the app'}: ${name} is a function; write the value that it returns`);
      }
    }
  }
  const text = JSON.stringify(value, plain);
  for (let at = 0, bytes = Buffer.from(text); at < bytes.length;) at += fs.writeSync(0, bytes, at);
  process.exit(0);
}).catch((error) => { setImmediate(() => { throw error; }); });
"#;

/// What the file exports.
///
/// # Errors
/// With the line in the file when it throws; when it takes too long; when there is no `node`.
pub(super) fn evaluate(path: &str, name: &str, machine: &Machine) -> Result<Value, FileError> {
    let Some(node) = machine.find_program("node") else {
        return Err(refused(
            name,
            "is JavaScript, and there is no node in PATH to evaluate it",
            "install Node.js, or write the same as skep.toml, skep.yaml or skep.json",
        ));
    };
    let timeout = timeout(name)?;
    let (mut child, mut result, mut complaints) = spawn(&node, path).map_err(|error| {
        refused(name, format!("cannot be evaluated: {node}: {error}"), "does `node --version` work?")
    })?;
    let (done, finished) = channel();
    let other = done.clone();
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = result.read_to_end(&mut text);
        let _ = done.send(Part::Result(text));
    });
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = complaints.read_to_end(&mut text);
        let _ = other.send(Part::Complaints(text));
    });
    let Some((result, complaints)) = collect(&finished, Duration::from_millis(timeout.0)) else {
        end(&mut child);
        return Err(refused(
            name,
            format!("did not end within {timeout}"),
            format!("does it wait for something? {TIMEOUT_VARIABLE}=2m gives it more time"),
        ));
    };
    let status = child.wait().map_err(|error| refused(name, format!("cannot be evaluated: {error}"), ""))?;
    let complaints = String::from_utf8_lossy(&complaints);
    if !status.success() || result.is_empty() {
        return Err(thrown(name, path, &complaints));
    }
    // What it wrote to the console is for whoever typed the command.
    eprint!("{complaints}");
    serde_json::from_slice(&result).map_err(|error| {
        refused(name, format!("exports what JSON cannot carry: {error}"), "export an object with apps")
    })
}

enum Part {
    Result(Vec<u8>),
    Complaints(Vec<u8>),
}

/// Both parts; `None` when they do not come in time.
fn collect(finished: &Receiver<Part>, timeout: Duration) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut result, mut complaints) = (None, None);
    while result.is_none() || complaints.is_none() {
        match finished.recv_timeout(timeout) {
            Ok(Part::Result(text)) => result = Some(text),
            Ok(Part::Complaints(text)) => complaints = Some(text),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
    }
    result.zip(complaints)
}

fn spawn(node: &str, path: &str) -> std::io::Result<(Child, std::io::PipeReader, std::process::ChildStderr)> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(node);
    if path.ends_with("ts") {
        // Node.js 22.6 and later; ignored where it is the default, refused where it cannot be done.
        command.arg("--experimental-strip-types").arg("--no-warnings");
    }
    command.args(["--input-type=commonjs", "-e", LOADER, "--", path]);
    command.args(std::env::args_os().skip(1));
    for name in OWN_VARIABLES {
        command.env_remove(name);
    }
    let mut child = command
        .stdin(Stdio::from(OwnedFd::from(writer)))
        .stdout(Stdio::from(std::io::stderr()))
        .stderr(Stdio::piped())
        .spawn()?;
    let complaints = child.stderr.take().expect("it was asked for");
    Ok((child, reader, complaints))
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn timeout(name: &str) -> Result<Millis, FileError> {
    match std::env::var(TIMEOUT_VARIABLE) {
        Ok(text) => text.parse().map_err(|_| {
            refused(name, format!("{TIMEOUT_VARIABLE}={text:?} is not a duration"), "write 30s")
        }),
        Err(_) => Ok(Millis(TIMEOUT_MS)),
    }
}

/// Node's own complaint, with the place in the file.
fn thrown(name: &str, path: &str, complaints: &str) -> FileError {
    if complaints.contains("bad option: --experimental-strip-types") {
        return refused(
            name,
            "is TypeScript, which this node cannot read",
            "use Node.js 22.6 or later, or write the file in JavaScript",
        );
    }
    // Node ends without a word when nothing is left that could settle the promise that it waits for.
    let silent = "it exports nothing: it waits for a promise that nothing settles, or ends the process";
    let message = complaints.lines().find(|line| is_message(line)).map_or(silent, str::trim);
    let line = complaints.lines().find_map(|line| line_in(line, path));
    let place = line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
    FileError::whole(&place, format!("cannot be evaluated: {message}"), "")
}

/// `TypeError: x is not a function`, `Error [ERR_X]: …`, but no frame of a stack.
fn is_message(line: &str) -> bool {
    let Some((head, _)) = line.split_once(':') else { return false };
    let name = head.split_once(" [").map_or(head, |(name, _)| name);
    let name = name.strip_prefix("Uncaught ").unwrap_or(name);
    name.ends_with("Error") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The line number in `file:///path:3`, `/path:3:5` and `at Object.<anonymous> (/path:3:5)`.
fn line_in(line: &str, path: &str) -> Option<u32> {
    let (_, rest) = line.split_once(&format!("{path}:"))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_and_the_reason_are_found_in_what_node_says() {
        let thrown = |complaints: &str| thrown("e.js", "/srv/e.js", complaints).to_string();
        let text = "file:///srv/e.js:3\n  oops(\n  ^\n\nReferenceError: oops is not defined\n    at x\n";
        assert_eq!(thrown(text), "e.js:3: cannot be evaluated: ReferenceError: oops is not defined");
        let text = "[eval]:1\nthrow\n^\n\nTypeError [ERR]: no\n    at Object.<anonymous> (/srv/e.js:7:5)\n";
        assert_eq!(thrown(text), "e.js:7: cannot be evaluated: TypeError [ERR]: no");
        assert!(thrown("").contains("nothing settles"));
    }
}
