//! The names `pm2-runtime` and `pm2-docker`: apps in the foreground of a container, as `skep run`.

use super::command::find;
use super::options::{self, Line, Misread};
use super::say::{Say, Trouble};
use crate::args::Global;
use crate::failure::Failure;
use crate::run_args::{RunCommand, RunManner};
use crate::session::Context;
use crate::verbs::run::{self as foreground, Manner};
use skep_spec::Millis;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: pm2-runtime [options] <app.js | file of apps> [-- arguments]
       pm2-runtime start [options] <app.js | file of apps>

Runs apps in the foreground, as process 1 of a container; SIGTERM and SIGINT end them.

  --raw | --format | --formatted | --json   how lines look on standard output (raw)
  --no-auto-exit        stay when nothing runs any more
  --delay <seconds>     wait before the start
  --only <names>        of a file's apps, only these
  --env <name>          choose env_<name> of a file
  and the options of `pm2 start`: -i, --name, --max-memory-restart, --watch, ...
";

/// Options that only this name has: whether they have a value, and what is said about those without effect.
const OWN: &[(&str, Own)] = &[
    ("--json", Own::Flag),
    ("--raw", Own::Flag),
    ("--format", Own::Flag),
    ("--formatted", Own::Flag),
    ("--no-auto-exit", Own::Flag),
    ("--auto-exit", Own::Flag),
    ("--delay", Own::Value),
    ("--web", Own::WithoutEffect("figures are on the control socket: `skep metrics`, `pm2 jlist`")),
    ("--secret", Own::WithoutEffect("there is no service behind it")),
    ("--public", Own::WithoutEffect("there is no service behind it")),
    ("--machine-name", Own::WithoutEffect("there is no service behind it")),
];

#[derive(Debug, Clone, Copy)]
enum Own {
    Flag,
    Value,
    /// Its value, if it has one, goes with it.
    WithoutEffect(&'static str),
}

/// The one command that there is.
const START: &str = "start";

/// A command line, taken apart.
#[derive(Debug, Default)]
struct Asked {
    flags: Vec<String>,
    delay: Option<String>,
    /// What is left, in the words of `pm2 start`.
    line: Line,
    warnings: Vec<String>,
}

impl Asked {
    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }
}

/// Runs one command line, without the program's name.
pub(super) fn run(words: Vec<String>) -> ExitCode {
    match words.first().map(String::as_str) {
        None => {
            print!("{USAGE}");
            return ExitCode::FAILURE;
        }
        Some("-v" | "--version" | "-V") => return super::version(),
        Some("-h" | "--help" | "help") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(_) => {}
    }
    let home = std::env::var_os("PM2_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let asked = match read(&words) {
        Ok(asked) => asked,
        Err(Misread(text)) => {
            eprintln!("\n  error: {text}\n");
            return ExitCode::FAILURE;
        }
    };
    let context = Context::new(Global { json: asked.has("--json"), no_color: false, silent: true, home });
    let say = Say { silent: false, color: context.output.color, error_color: context.output.error_color };
    asked.warnings.iter().for_each(|text| say.warn(text));
    match start(&asked, &context) {
        Ok(()) => ExitCode::SUCCESS,
        // The app's own code, which PM2 does not tell.
        Err(Trouble::Failure(Failure::Told(code))) => ExitCode::from(code),
        Err(trouble) => {
            say.trouble(&trouble);
            ExitCode::from(trouble.exit_code())
        }
    }
}

fn start(asked: &Asked, context: &Context) -> Result<(), Trouble> {
    let line = &asked.line;
    let Some(what) = line.operand(0) else { return Err(Trouble::Plain(USAGE.to_owned())) };
    let mut app = line.app()?;
    app.env.extend(line.value("env").map(str::to_owned));
    let only = line.value("only").unwrap_or_default();
    let command = RunCommand {
        what: Some(what.to_owned()),
        app,
        manner: RunManner {
            only: only.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            raw: asked.has("--raw"),
            format: asked.has("--format"),
            formatted: asked.has("--formatted"),
            no_auto_exit: asked.has("--no-auto-exit"),
            delay: asked.delay.as_deref().map(delay).transpose()?,
        },
        args: line.own_args.clone(),
    };
    match foreground::run(&command, Manner::Pm2, context) {
        Ok(()) => Ok(()),
        Err(failure) => Err(Trouble::Failure(failure)),
    }
}

/// PM2 counts seconds here.
fn delay(text: &str) -> Result<Millis, Trouble> {
    let wrong = || Trouble::Error(format!("--delay {text} is no number of seconds"));
    let text =
        if text.bytes().all(|byte| byte.is_ascii_digit()) { format!("{text}s") } else { text.to_owned() };
    text.parse().map_err(|_| wrong())
}

fn read(words: &[String]) -> Result<Asked, Misread> {
    let mut asked = Asked::default();
    let mut rest = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            rest.push(word.clone());
            rest.extend(words.by_ref().cloned());
            break;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        match OWN.iter().find(|(known, _)| *known == name).map(|(_, own)| *own) {
            None => rest.push(word.clone()),
            Some(Own::Flag) => asked.flags.push(name.to_owned()),
            Some(Own::Value) => match inline.or_else(|| words.next().cloned()) {
                Some(value) => asked.delay = Some(value),
                None => return Err(Misread(format!("option `{name} <value>' argument missing"))),
            },
            Some(Own::WithoutEffect(why)) => {
                // A port or a key; a file to be run would not look like one.
                let is_value =
                    |word: &&String| !word.starts_with('-') && !word.contains('.') && *word != "start";
                if inline.is_none() && name == "--web" {
                    words.next_if(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
                } else if inline.is_none() {
                    words.next_if(is_value);
                }
                asked.warnings.push(format!("{name} has no effect: {why}"));
            }
        }
    }
    asked.line = tolerant(rest, &mut asked.warnings)?;
    Ok(asked)
}

/// PM2 passes over options that it does not know here.
fn tolerant(mut words: Vec<String>, warnings: &mut Vec<String>) -> Result<Line, Misread> {
    loop {
        match options::read(&words, find) {
            // `start` may be left out; with it the parser knows whose options these are.
            Ok(line) if line.verb.is_some() && line.verb.as_deref() != Some(START) => {
                words.insert(0, START.to_owned());
            }
            Ok(line) => return Ok(line),
            Err(Misread(text)) => {
                let name = text.strip_prefix("unknown option `").and_then(|rest| rest.strip_suffix('\''));
                let at =
                    name.and_then(|name| words.iter().position(|word| word.split('=').next() == Some(name)));
                let Some(at) = at else { return Err(Misread(text)) };
                warnings.push(format!("{} is not known and has no effect", words.remove(at)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Asked {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        read(&words).unwrap()
    }

    #[test]
    fn its_own_options_are_told_from_those_of_start() {
        let asked = check("start ecosystem.config.js --json --no-auto-exit --delay 3 --only a,b -i 2");
        assert!(asked.has("--json") && asked.has("--no-auto-exit"));
        assert_eq!((asked.delay.as_deref(), asked.line.operand(0)), (Some("3"), Some("ecosystem.config.js")));
        assert_eq!(asked.line.value("only"), Some("a,b"));
        assert_eq!(check("app.js --format -- --json").line.own_args, ["--json"]);
        assert_eq!(check("app.js").line.operands, ["app.js"]);
        assert_eq!(check("start app.js").line.operands, ["app.js"]);
        assert_eq!((delay("2").unwrap(), delay("1500ms").unwrap()), (Millis(2_000), Millis(1_500)));
        assert!(delay("soon").is_err());
    }

    #[test]
    fn what_has_no_effect_is_said_and_stops_nothing() {
        let asked = check("--web 9000 --secret abc --public def app.js --made-up");
        assert_eq!(asked.line.operands, ["app.js"]);
        assert_eq!(asked.warnings.len(), 4, "{:?}", asked.warnings);
    }
}
