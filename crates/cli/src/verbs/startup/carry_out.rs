//! Doing what the plan says, and saying so.

use super::plan::Plan;
use crate::failure::Failure;
use crate::session::Context;
use skep_api::ErrorCode;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

/// Carries it out; stops at the first thing that fails.
pub(crate) fn carry_out(plan: &Plan, context: &Context) -> Result<(), Failure> {
    // A service that cannot be disabled (it is not there) can still be removed.
    for line in &plan.before {
        if let Err(failure) = run(line, context) {
            context.output.say(&failure.body().map(|body| body.message.clone()).unwrap_or_default());
        }
    }
    for file in &plan.writes {
        write(&file.path, &file.text, file.mode).map_err(|error| failed("write", &file.path, &error))?;
        context.output.say(&format!("written {}", file.path.display()));
    }
    for path in &plan.removes {
        match fs::remove_file(path) {
            Ok(()) => context.output.say(&format!("removed {}", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                context.output.say(&format!("{} is not there", path.display()));
            }
            Err(error) => return Err(failed("remove", path, &error)),
        }
    }
    plan.after.iter().try_for_each(|line| run(line, context))?;
    plan.notes.iter().for_each(|note| context.output.say(note));
    Ok(())
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    skep_sys::durable::replace(path, text.as_bytes(), mode)
}

fn failed(action: &str, path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot {action} {}: {error}", path.display());
    Failure::new(ErrorCode::StorageFailed, message, "`--print` shows what is to be done, to do it by hand")
}

fn run(line: &[String], context: &Context) -> Result<(), Failure> {
    let shown = shell_words::join(line);
    let Some((program, args)) = line.split_first() else { return Ok(()) };
    let output = Command::new(program).args(args).output().map_err(|error| {
        let message = format!("`{shown}` cannot be run: {error}");
        Failure::new(
            ErrorCode::Unsupported,
            message,
            "what was written stays; run it where the program is there",
        )
    })?;
    if output.status.success() {
        context.output.say(&format!("done: {shown}"));
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!("`{shown}` failed ({}): {}", output.status, said.trim());
    Err(Failure::new(ErrorCode::Internal, message, "what was written stays; `skep unstartup` takes it back"))
}
