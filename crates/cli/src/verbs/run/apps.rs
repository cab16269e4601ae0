//! The apps of `skep run`, with their output where ours goes.

use crate::app_file;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::pm2::variables;
use crate::run_args::RunCommand;
use crate::session::Context;
use skep_api::ErrorCode;
use skep_spec::{AppSpec, Bytes, ExecMode, LogFile, LogType, Resolved, resolve};

/// Standard output and standard error, by the names under which the daemon opens them.
const STDOUT: &str = "/dev/stdout";
const STDERR: &str = "/dev/stderr";

/// In whose manner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Skep,
    /// As `pm2-runtime`: a port is shared only when a number of instances is named, and what goes to a file goes to
    /// standard output, too.
    Pm2,
}

/// All apps that were asked for, each after those that it depends on.
pub(super) fn read(
    args: &RunCommand,
    manner: Manner,
    machine: &Machine,
    context: &Context,
) -> Result<Vec<AppSpec>, Failure> {
    let what = match &args.what {
        Some(what) => what.clone(),
        None => app_file::default_file(machine).map(str::to_owned).ok_or_else(|| {
            Failure::new(
                ErrorCode::BadRequest,
                "there is nothing to run: no app was named, and there is no file of apps here",
                "name a script: skep run app.js",
            )
        })?,
    };
    let mut specs = if app_file::is_app_file(&what) {
        of_file(&what, args, manner, machine, context)?
    } else {
        vec![one(&what, args, manner, machine, context)?]
    };
    for spec in &mut specs {
        to_our_output(spec, manner);
        spec.log_type = match (context.output.json, args.manner.format, args.manner.formatted) {
            (true, ..) => LogType::Json,
            (_, true, _) => LogType::Pairs,
            (_, _, true) => LogType::Named,
            _ => spec.log_type,
        };
    }
    Ok(in_order(specs))
}

fn one(
    what: &str,
    args: &RunCommand,
    manner: Manner,
    machine: &Machine,
    context: &Context,
) -> Result<AppSpec, Failure> {
    let mut raw = args.app.to_raw(what, &args.args)?;
    let is_pm2s_choice = manner == Manner::Pm2 && raw.spec.exec_mode.is_none();
    if is_pm2s_choice && !raw.instances_given {
        raw.spec.exec_mode = Some(ExecMode::Fork);
    }
    let Resolved { mut spec, notes } = resolve(raw, machine)?;
    notes.iter().for_each(|note| context.output.say(note));
    if is_pm2s_choice && !spec.is_node() {
        spec.exec_mode = None;
    }
    if manner == Manner::Pm2 {
        variables::apply(&mut spec, &|attribute| args.app.says(attribute), &variables::own)?;
    }
    Ok(spec)
}

fn of_file(
    what: &str,
    args: &RunCommand,
    manner: Manner,
    machine: &Machine,
    context: &Context,
) -> Result<Vec<AppSpec>, Failure> {
    let selection = args.app.selection(&args.args)?;
    let file = app_file::open(what, machine)?;
    let apps = file.resolve(&selection, &args.manner.only, machine)?;
    apps.notes.iter().for_each(|note| context.output.say(note));
    if apps.specs.is_empty() {
        return Err(Failure::new(
            ErrorCode::BadRequest,
            format!("there is no app in {}", file.name),
            "`skep init` writes an example",
        ));
    }
    let inherited = apps.inherited_env;
    let environment = selection.environment.as_deref();
    let complete = |mut spec: AppSpec| {
        spec.inherited_env.clone_from(&inherited);
        let written = file.document.apps.iter().find(|app| app.identity(environment) == spec.name);
        let is_said = |attribute: &str| {
            let in_file = written.is_some_and(|app| app.attributes().contains_key(attribute));
            in_file || selection.overrides.contains_key(attribute)
        };
        if manner == Manner::Pm2 {
            if spec.exec_mode.is_none() && spec.is_node() && !is_said("instances") {
                spec.exec_mode = Some(ExecMode::Fork);
            }
            variables::apply(&mut spec, &is_said, &variables::own)?;
        }
        Ok(spec)
    };
    apps.specs.into_iter().map(complete).collect()
}

fn to_our_output(spec: &mut AppSpec, manner: Manner) {
    let names_files = spec.out_file.is_some() || spec.error_file.is_some();
    if !names_files {
        spec.merge_logs = true;
        spec.rotate.max_size = Bytes(0);
    } else if manner == Manner::Pm2 && spec.log_file.is_none() {
        spec.log_file = LogFile::Path(STDOUT.to_owned());
    }
    spec.out_file.get_or_insert_with(|| STDOUT.to_owned());
    spec.error_file.get_or_insert_with(|| STDERR.to_owned());
    if manner == Manner::Pm2 && names_files {
        // Not twice: the file for both is our standard output already.
        for file in [&mut spec.out_file, &mut spec.error_file] {
            if file.as_deref().is_some_and(|file| file == STDOUT || file == STDERR) {
                *file = Some("/dev/null".to_owned());
            }
        }
    }
}

/// Those without open dependencies first, otherwise as they stand; a cycle was refused before.
fn in_order(mut specs: Vec<AppSpec>) -> Vec<AppSpec> {
    let mut ordered: Vec<AppSpec> = Vec::with_capacity(specs.len());
    while !specs.is_empty() {
        let is_open = |name: &str| specs.iter().any(|spec| spec.name == name);
        let next = specs.iter().position(|spec| !spec.depends_on.iter().any(|(name, _)| is_open(name)));
        ordered.push(specs.remove(next.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Verb};
    use clap::Parser;

    fn specs_of(line: &str, manner: Manner) -> Vec<AppSpec> {
        let cli = Cli::parse_from(line.split(' '));
        let Verb::Run(args) = cli.verb else { panic!("not a run") };
        read(&args, manner, &Machine::here().unwrap(), &Context::new(cli.global)).unwrap()
    }

    fn spec_of(line: &str) -> AppSpec {
        specs_of(line, Manner::Skep).remove(0)
    }

    #[test]
    fn output_goes_where_ours_goes_unless_a_file_is_named() {
        let plain = spec_of("skep run sh -i 2");
        assert_eq!(plain.out_file.as_deref(), Some(STDOUT));
        assert_eq!(plain.error_file.as_deref(), Some(STDERR));
        assert!(plain.merge_logs && plain.rotate.max_size == Bytes(0));
        let named = spec_of("skep run sh -o /tmp/x.log");
        assert_eq!((named.out_file.as_deref(), named.log_file.is_none()), (Some("/tmp/x.log"), true));
        assert!(!named.merge_logs);
        let both = specs_of("skep run sh -o /tmp/x.log", Manner::Pm2).remove(0);
        assert_eq!((both.out_file.as_deref(), both.log_file.path()), (Some("/tmp/x.log"), Some(STDOUT)));
        assert_eq!(both.error_file.as_deref(), Some("/dev/null"));
    }

    #[test]
    fn lines_look_as_they_were_asked_to() {
        assert_eq!(spec_of("skep run sh").log_type, LogType::Raw);
        assert_eq!(spec_of("skep run sh --json").log_type, LogType::Json);
        assert_eq!(spec_of("skep run sh --format").log_type, LogType::Pairs);
        assert_eq!(spec_of("skep run sh --formatted").log_type, LogType::Named);
    }

    #[test]
    fn all_apps_of_a_file_are_run_each_after_what_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("skep.json");
        let text = r#"{"apps":[{"name":"web","script":"/bin/sh","depends_on":["db"]},{"name":"db","script":"/bin/sh"}]}"#;
        std::fs::write(&file, text).unwrap();
        let names = |line: &str| {
            let specs = specs_of(line, Manner::Skep);
            assert!(specs.iter().all(|spec| spec.inherited_env.contains_key("PATH")));
            specs.into_iter().map(|spec| spec.name).collect::<Vec<_>>()
        };
        let line = format!("skep run {}", file.display());
        assert_eq!(names(&line), ["db", "web"]);
        assert_eq!(names(&format!("{line} --only db")), ["db"]);
    }
}
