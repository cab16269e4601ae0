//! App files on the command line: found, read, evaluated where they are JavaScript, and resolved into specs.

mod javascript;
mod select;

use crate::failure::Failure;
use crate::machine::Machine;
use crate::verbs::serve;
use skep_api::ErrorCode;
use skep_spec::{
    AppSpec, DependsOn, Document, Facts, FileApp, FileError, OrderError, Problem, Resolved, Seen, Selection,
    SpecError, Syntax, check_order, resolve,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Names that a file may have when nobody names one, skep's own first.
pub(crate) const DEFAULT_NAMES: &[&str] = &[
    "skep.toml",
    "skep.yaml",
    "skep.yml",
    "skep.json",
    "ecosystem.config.js",
    "ecosystem.config.cjs",
    "ecosystem.config.mjs",
    "ecosystem.config.ts",
    "ecosystem.json",
    "ecosystem.yaml",
    "ecosystem.yml",
    "process.json",
];
/// Names of JavaScript files that are configuration and not apps.
const SCRIPTS: &[&str] = &[".config.js", ".config.cjs", ".config.mjs", ".config.ts"];
/// The name for standard input.
const STDIN: &str = "-";
/// The largest file: a hundred thousand apps with a few lines each.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file that was read.
#[derive(Debug)]
pub(crate) struct AppFile {
    /// As the user named it.
    pub(crate) name: String,
    /// Its absolute path; none for standard input.
    pub(crate) path: Option<String>,
    /// What is in it.
    pub(crate) document: Document,
}

/// Apps ready to be sent to the daemon.
#[derive(Debug)]
pub(crate) struct Apps {
    /// In the order of the file. What they inherit is taken out of each, because it is the same for all.
    pub(crate) specs: Vec<AppSpec>,
    /// The environment of whoever typed the command.
    pub(crate) inherited_env: BTreeMap<String, String>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let body = skep_api::ErrorBody::new(ErrorCode::InvalidSpec, error.to_string());
        match error.problems.as_slice() {
            [one] if !one.remedy.is_empty() => Self::Error(body.with_hint(one.remedy.clone())),
            _ => Self::Error(body),
        }
    }
}

fn refused(file: &str, problem: impl Into<String>, remedy: impl Into<String>) -> FileError {
    FileError::whole(file, problem, remedy)
}

/// Whether `what` names a file with apps in it. To run such a file as an app would be a surprise.
pub(crate) fn is_app_file(what: &str) -> bool {
    what == STDIN
        || (!what.contains(char::is_whitespace)
            && (Syntax::of(what).is_some() || SCRIPTS.iter().any(|ending| what.ends_with(ending))))
}

/// The file in the current directory that is meant when none is named.
pub(crate) fn default_file(machine: &Machine) -> Option<&'static str> {
    DEFAULT_NAMES.iter().copied().find(|name| Path::new(machine.cwd()).join(name).is_file())
}

/// Reads a file, or standard input.
pub(crate) fn open(what: &str, machine: &Machine) -> Result<AppFile, FileError> {
    if what == STDIN {
        let mut text = String::new();
        let read = std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| refused("stdin", format!("cannot be read: {error}"), ""))?;
        let value = skep_spec::parse(&text, guess(&text), "stdin")?;
        let document = skep_spec::read(&value, "stdin")?;
        return Ok(AppFile { name: "stdin".to_owned(), path: None, document });
    }
    let path = skep_spec::absolute_path(machine.cwd(), what);
    let value = match Syntax::of(what) {
        Some(syntax) => skep_spec::parse(&read(what, &path, machine)?, syntax, what)?,
        None => {
            look(what, &path, machine)?;
            javascript::evaluate(&path, what, machine)?
        }
    };
    let document = skep_spec::read(&value, what)?;
    Ok(AppFile { name: what.to_owned(), path: Some(path), document })
}

/// Standard input has no name to go by.
fn guess(text: &str) -> Syntax {
    let is_toml = |line: &str| {
        let line = line.trim();
        line.starts_with("[[") && line.ends_with("]]") || line.starts_with("[apps")
    };
    if text.lines().any(is_toml) {
        return Syntax::Toml;
    }
    match text.trim_start().chars().next() {
        Some('{' | '[' | '/') => Syntax::Json,
        _ => Syntax::Yaml,
    }
}

fn look(name: &str, path: &str, machine: &Machine) -> Result<(), FileError> {
    match machine.look(path) {
        Some(skep_spec::Entry::File { .. }) => Ok(()),
        Some(skep_spec::Entry::Directory) => Err(refused(name, "is a directory", "name a file in it")),
        Some(skep_spec::Entry::Other) => Ok(()),
        None => Err(refused(name, "there is no such file", format!("it was looked for at {path}"))),
    }
}

fn read(name: &str, path: &str, machine: &Machine) -> Result<String, FileError> {
    look(name, path, machine)?;
    let problem = |error: std::io::Error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::InvalidData => "write it in UTF-8",
            _ => "",
        };
        refused(name, format!("cannot be read: {error}"), remedy)
    };
    let file = File::open(path).map_err(problem)?;
    let mut text = String::new();
    let bytes = file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(problem)?;
    if bytes as u64 == FILE_BYTES_MAX {
        return Err(refused(name, format!("is larger than {FILE_BYTES_MAX} bytes"), "is it the right file?"));
    }
    Ok(text)
}

impl AppFile {
    /// The apps as they are to be run, those in `only` if it names any.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub(crate) fn resolve(
        &self,
        selection: &Selection,
        only: &[String],
        machine: &Machine,
    ) -> Result<Apps, FileError> {
        let mut apps =
            Apps { specs: Vec::new(), inherited_env: BTreeMap::new(), notes: self.document.notes.clone() };
        let mut problems = Vec::new();
        self.check_environment(selection, &mut apps.notes);
        let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
        for app in &self.document.apps {
            // An app that is not asked for may be wrong.
            if app.name().is_some_and(|name| !wanted(&name) && !selection.overrides.contains_key("name")) {
                continue;
            }
            match self.resolve_one(app, selection, machine) {
                Ok(Resolved { mut spec, notes }) if wanted(&spec.name) => {
                    apps.inherited_env = std::mem::take(&mut spec.inherited_env);
                    spec.source.clone_from(&self.path);
                    apps.notes.extend(notes);
                    apps.specs.push(spec);
                }
                Ok(_) => {}
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(doubles(&apps.specs));
        self.check_order(&mut apps, selection, &mut problems);
        for name in only {
            if problems.is_empty() && !apps.specs.iter().any(|spec| spec.name == *name) {
                let names: Vec<String> = self.document.apps.iter().filter_map(FileApp::name).collect();
                problems.push(Problem {
                    value: Some(format!("{name:?}")),
                    ..Problem::whole("is the name of no app in it", format!("it has {}", names.join(", ")))
                });
            }
        }
        if problems.is_empty() { Ok(apps) } else { Err(FileError { file: self.name.clone(), problems }) }
    }

    /// What can be said about `depends_on` without knowing which apps run already.
    fn check_order(&self, apps: &mut Apps, selection: &Selection, problems: &mut Vec<Problem>) {
        let environment = selection.environment.as_deref();
        let others = self.document.apps.iter().map(|app| (app.identity(environment), DependsOn::default()));
        for error in check_order(&apps.specs, &others.collect()) {
            match &error {
                OrderError::Unknown { app, on, .. } => {
                    apps.notes.push(format!("{app}: depends_on names {on}, which is not in this file"));
                }
                OrderError::Cycle { .. } | OrderError::Endless { .. } => {
                    let app = error.app().to_owned();
                    problems.push(Problem::of_app(&app, &SpecError::from(error)));
                }
            }
        }
    }

    /// The apps, of those in `only` if it names any, that have no `env_ENVIRONMENT`.
    pub(crate) fn without_environment<'a>(
        &'a self,
        environment: &'a str,
        only: &'a [String],
    ) -> impl Iterator<Item = &'a FileApp> {
        let wanted = |app: &FileApp| only.is_empty() || app.name().is_some_and(|name| only.contains(&name));
        let apps = self.document.apps.iter().filter(move |app| wanted(app));
        apps.filter(move |app| !app.environments().any(|name| name == environment))
    }

    /// PM2 warns and goes on when no app has the environment.
    fn check_environment(&self, selection: &Selection, notes: &mut Vec<String>) {
        let Some(environment) = &selection.environment else { return };
        if self.document.apps.iter().any(|app| app.environments().any(|name| name == environment)) {
            return;
        }
        let mut known: Vec<&str> = self.document.apps.iter().flat_map(FileApp::environments).collect();
        known.sort_unstable();
        known.dedup();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        notes.push(format!("no app in {} has env_{environment}; it has {known}", self.name));
    }

    fn resolve_one(
        &self,
        app: &FileApp,
        selection: &Selection,
        machine: &Machine,
    ) -> Result<Resolved, Problem> {
        let raw = app.to_raw(selection)?;
        let first = self.bases(machine).into_iter().map(|from| {
            let seen = Seen { facts: machine, from };
            let clothed = serve::clothe_if_named(raw.clone(), &seen)?;
            let is_site = clothed.what != raw.what;
            let mut resolved = resolve(clothed, &seen)?;
            if is_site {
                resolved
                    .notes
                    .extend(serve::without_effect(&raw.spec).map(|note| format!("{}: {note}", app.label)));
            }
            Ok(resolved)
        });
        let mut refusal: Option<SpecError> = None;
        for attempt in first {
            match attempt {
                Ok(resolved) => return Ok(resolved),
                Err(error) => drop(refusal.get_or_insert(error)),
            }
        }
        let error = refusal.expect("there is at least one place to look from");
        Err(Problem::of_app(&app.label, &error))
    }

    /// From where paths in the file are seen: skep's own files from where they are; PM2's from where the command was
    /// typed, as PM2 does, and if that leads nowhere from where they are.
    fn bases(&self, machine: &Machine) -> Vec<String> {
        let typed = machine.cwd().to_owned();
        let Some(path) = &self.path else { return vec![typed] };
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = if directory.is_empty() { "/" } else { directory }.to_owned();
        if name.starts_with("skep.") || directory == typed {
            return vec![directory];
        }
        vec![typed, directory]
    }
}

/// Apps of the same name.
fn doubles(specs: &[AppSpec]) -> Vec<Problem> {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for spec in specs {
        *seen.entry(spec.name.as_str()).or_default() += 1;
    }
    let twice = seen.into_iter().filter(|(_, count)| *count > 1);
    twice
        .map(|(name, count)| Problem {
            app: Some(name.to_owned()),
            attribute: Some("name".to_owned()),
            ..Problem::whole(
                format!("is the name of {count} apps"),
                "give each its own: a name stands for one app, however many instances it has",
            )
        })
        .collect()
}
