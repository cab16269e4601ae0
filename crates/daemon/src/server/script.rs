//! Whether what a new app is to run is there: a client that has not looked is told so, instead of an app that fails
//! again and again.
//!
//! Apps that are there already are not looked at: what they run may come back.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::FileType;
use skep_api::{ErrorBody, ErrorCode};
use skep_spec::{AppSpec, NO_INTERPRETER};

use crate::driver::Shared;

/// Bits of which one allows somebody to execute a file.
const EXECUTE: u32 = 0o111;

/// Looks at the scripts of those of `specs` that are new.
///
/// # Errors
/// When one is not there, is a directory, or would have to be a program and is none.
pub(super) async fn check(driver: &Shared, specs: &[AppSpec]) -> Result<(), ErrorBody> {
    let known: Vec<String> = driver.borrow().fleet.apps().into_iter().map(|app| app.name).collect();
    // Those that make no sense are refused for that.
    let sound = specs.iter().filter(|spec| spec.validate().is_ok());
    let new = sound.filter(|spec| spec.command.is_none() && !known.contains(&spec.name));
    let scripts: Vec<Script> = new
        .filter_map(|spec| {
            let path = spec.script.clone().filter(|script| script.starts_with('/'))?;
            Some(Script { app: spec.name.clone(), path, alone: runs_alone(spec) })
        })
        .collect();
    // Who names a script has mostly just looked at it: the kernel remembers.
    let mut unknown = Vec::new();
    for script in scripts {
        match skep_sys::cached::mode(Path::new(&script.path)) {
            Some(found) => judge(&script, found)?,
            None => unknown.push(script),
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    // A dead network mount may keep a look waiting: not the driver.
    let looked = tokio::task::spawn_blocking(move || unknown.iter().try_for_each(look)).await;
    looked.unwrap_or(Ok(()))
}

struct Script {
    app: String,
    path: String,
    /// No interpreter runs it.
    alone: bool,
}

fn runs_alone(spec: &AppSpec) -> bool {
    spec.interpreter.as_deref().is_none_or(|interpreter| interpreter == NO_INTERPRETER)
}

fn look(script: &Script) -> Result<(), ErrorBody> {
    judge(script, std::fs::metadata(&script.path).map(|found| found.mode()))
}

/// `found`: type and permission bits of what is there.
fn judge(script: &Script, found: io::Result<u32>) -> Result<(), ErrorBody> {
    let Script { app, path, alone } = script;
    let refuse = |problem: &str, hint: &str| {
        let message = format!("{app}: script: {path:?} {problem}");
        Err(ErrorBody::new(ErrorCode::InvalidSpec, message).with_hint(hint))
    };
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            refuse("is not there", "write the full path of a file")
        }
        // Another user may see it, or the worker's own start will tell what is the matter.
        Err(_) => Ok(()),
        Ok(mode) if *alone && FileType::from_raw_mode(mode).is_dir() => {
            refuse("is a directory", "name a file in it")
        }
        Ok(mode) if *alone && mode & EXECUTE == 0 => refuse(
            "is a file that nobody may execute",
            "chmod +x makes it a program; or name its interpreter",
        ),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, alone: bool) -> String {
        let found = look(&Script { app: "a".into(), path: path.into(), alone });
        found.err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        assert_eq!(check("/nonexistent", false), r#"a: script: "/nonexistent" is not there"#);
        assert_eq!(check("/", true), r#"a: script: "/" is a directory"#);
        assert_eq!(check("/", false), "", "Node.js takes a directory");
        assert_eq!(
            check("/etc/passwd", true),
            r#"a: script: "/etc/passwd" is a file that nobody may execute"#
        );
        assert_eq!(check("/bin/sh", true), "");
    }
}
