//! `validate`: everything that is wrong with files of apps, without starting anything.

use crate::app_file::AppFile;
use crate::failure::{Failure, exit};
use crate::file_args::{FileChoice, ValidateCommand};
use crate::machine::Machine;
use crate::session::Context;
use serde::Serialize;
use skep_spec::{FileError, Problem};

/// What is said of one file.
#[derive(Debug, Serialize)]
struct Verdict {
    file: String,
    valid: bool,
    apps: Vec<String>,
    problems: Vec<Told>,
    notes: Vec<String>,
}

/// One problem.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    problem: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

impl From<Problem> for Told {
    fn from(problem: Problem) -> Self {
        let Problem { app, attribute, value, problem, remedy } = problem;
        Self { app, attribute, value, problem, remedy }
    }
}

/// Reads and resolves each file.
pub(crate) fn run(args: &ValidateCommand, context: &Context) -> Result<(), Failure> {
    let machine = super::start::here(&context.output)?;
    let mut verdicts = Vec::new();
    if args.files.is_empty() {
        let name = crate::app_file::default_file(&machine).unwrap_or("skep.toml");
        verdicts.push(judge(name, &args.choice, &machine, context)?);
    }
    for name in &args.files {
        verdicts.push(judge(name, &args.choice, &machine, context)?);
    }
    let valid = verdicts.iter().all(|verdict| verdict.valid);
    if context.output.json {
        context.output.print_json(&verdicts)?;
    }
    if valid { Ok(()) } else { Err(Failure::Told(exit::FAILURE)) }
}

fn judge(name: &str, choice: &FileChoice, machine: &Machine, context: &Context) -> Result<Verdict, Failure> {
    let file = match crate::app_file::open(name, machine) {
        Ok(file) => file,
        Err(error) => return Ok(refused(error, context)),
    };
    judge_apps(&file, choice, machine, context)
}

fn judge_apps(
    file: &AppFile,
    choice: &FileChoice,
    machine: &Machine,
    context: &Context,
) -> Result<Verdict, Failure> {
    let selection = super::apply::selection(choice)?;
    Ok(match file.resolve(&selection, &choice.only, machine) {
        Ok(apps) => {
            apps.notes.iter().for_each(|note| context.output.say(note));
            let names: Vec<String> = apps.specs.iter().map(|spec| spec.name.clone()).collect();
            let count = match names.len() {
                1 => "1 app".to_owned(),
                many => format!("{many} apps"),
            };
            context.output.say(&format!("{}: {count}, nothing wrong", file.name));
            Verdict {
                file: file.name.clone(),
                valid: true,
                apps: names,
                problems: Vec::new(),
                notes: apps.notes,
            }
        }
        Err(error) => refused(error, context),
    })
}

fn refused(error: FileError, context: &Context) -> Verdict {
    if !context.output.json {
        context.output.fail(&Failure::from(error.clone()));
    }
    let problems = error.problems.into_iter().map(Told::from).collect();
    Verdict { file: error.file, valid: false, apps: Vec::new(), problems, notes: Vec::new() }
}
