//! skep under the name `pm2`: PM2's command line, texts, exit codes and JSON, in front of the same API.
//!
//! The facts are those of PM2 7.0.4, seen when it ran; where scripts depend on a text or a number it is PM2's, and
//! where nobody can (a faster answer, a reason for a failure) skep's. What this refuses to know: how anything is done.

mod act;
mod command;
mod conf;
mod describe;
mod dump;
mod files;
mod host;
mod left_out;
mod list;
mod look;
mod options;
mod patience;
mod refusal;
mod runtime;
mod say;
mod scale;
mod select;
mod shape;
mod start;
mod streaming;
mod talk;
mod usage;
pub(crate) mod variables;
mod write;

use crate::args::Global;
use crate::failure::Failure;
use crate::session::Context;
pub(crate) use describe::metric_rows;
pub(crate) use shape::stem as file_stem;

use command::{Command, find};
use options::{Line, Misread};
use say::{Say, Trouble};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use streaming::Foreground;

/// The release of PM2 whose interface this is.
const PM2_VERSION: &str = "7.0.4";

/// Who answers, if the program was called by one of PM2's names.
pub(crate) fn front(program: Option<&OsStr>) -> Option<fn(Vec<String>) -> ExitCode> {
    match Path::new(program?).file_name()?.to_str()? {
        "pm2" => Some(run),
        "pm2-runtime" | "pm2-docker" => Some(runtime::run),
        _ => None,
    }
}

/// What a command works with.
struct Front {
    context: Context,
    line: Line,
    say: Say,
    /// The apps that were started, restarted or reloaded: `--attach` shows what they write.
    acted: RefCell<BTreeSet<String>>,
}

/// Runs one command line, without the program's name.
pub(crate) fn run(words: Vec<String>) -> ExitCode {
    match words.first().map(String::as_str) {
        Some("-v" | "--version" | "-V") => return version(),
        Some("-h" | "--help" | "help") => return help(),
        _ => {}
    }
    let line = match options::read(&words, find) {
        Ok(line) if line.asks_for_help_first() => return help(),
        Ok(line) => line,
        Err(Misread(text)) => {
            eprintln!("\n  error: {text}\n");
            return ExitCode::FAILURE;
        }
    };
    let silent = line.has("silent") || std::env::var_os("PM2_SILENT").is_some_and(|value| value == "true");
    let home = std::env::var_os("PM2_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let context = Context::new(Global { json: false, no_color: line.has("no-color"), silent: true, home });
    let say = Say { silent, color: context.output.color, error_color: context.output.error_color };
    let Some(word) = line.verb.as_deref() else {
        print!("{}", command::usage());
        return ExitCode::FAILURE;
    };
    let Some(command) = find(word) else {
        // On standard output, as PM2 does.
        print!("[PM2][ERROR] Command not found\n\n{}", command::usage());
        return ExitCode::FAILURE;
    };
    if line.has("help") {
        say.always(&usage::of(word).unwrap_or_else(command::help));
        return ExitCode::SUCCESS;
    }
    let front = Front { context, line, say, acted: RefCell::default() };
    match carry_out(command, &front) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            front.say.trouble(&trouble);
            ExitCode::from(trouble.exit_code())
        }
    }
}

fn carry_out(command: Command, front: &Front) -> Result<(), Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| Failure::out_of_resources(&error))?;
    runtime.block_on(run_and_stay(command, front))
}

/// The command, and what was to follow it.
async fn run_and_stay(command: Command, front: &Front) -> Result<(), Trouble> {
    if front.line.has("no-daemon") {
        front.say.line("pm2 launched in no-daemon mode");
        let foreground = Foreground::take(front).await?;
        if let Err(trouble) = command.run(front).await {
            foreground.give_up(front).await?;
            return Err(trouble);
        }
        return Box::pin(foreground.stay(front)).await;
    }
    command.run(front).await?;
    if front.line.has("attach") {
        let acted = front.acted.take().into_iter().collect();
        return Box::pin(streaming::attach(acted, front)).await;
    }
    Ok(())
}

fn version() -> ExitCode {
    eprintln!("skep {}, in the manner of PM2:", env!("CARGO_PKG_VERSION"));
    println!("{PM2_VERSION}");
    ExitCode::SUCCESS
}

fn help() -> ExitCode {
    // A reader that has gone (`pm2 --help | head`) wants no more.
    drop(std::io::stdout().write_all(command::help().as_bytes()));
    ExitCode::SUCCESS
}
