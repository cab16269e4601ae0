//! From what was typed to an [`AppSpec`] that any machine's daemon can carry out.

use crate::command_line::{Line, read_line, read_words};
use crate::facts::{Entry, Facts, absolute, base_name, extension};
use crate::{Account, AppSpec, ExecMode, SpecError, folder, interpreter, name, program};

/// What was typed: the thing to run, and a spec in which only what the user said is set.
#[derive(Debug, Clone, PartialEq)]
pub struct RawStart {
    /// A script, a program, or a command line: `app.js`, `./server`, `npm run dev`.
    pub what: String,
    /// What the user said; `name`, `script`, `cwd` and so on are empty where nothing was said.
    pub spec: AppSpec,
    /// Whether the number of instances was given (as in PM2, that asks for cluster mode).
    pub instances_given: bool,
}

/// An app ready to be sent to the daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The app, validated.
    pub spec: AppSpec,
    /// What the user should know about how it was understood, each a sentence.
    pub notes: Vec<String>,
}

/// How much of a script is read to see whether it forks workers by itself.
const SCRIPT_BYTES_MAX: usize = 256 << 10;

/// Variables that describe the process that typed the command, not its environment: a worker that calls skep must
/// not hand its own identity to another. (Node.js's IPC channel, systemd's sockets and notifications, PM2's and
/// skep's numbers, what a shell sets anew for each command; and a password that is only kept as its hash.)
const OWN_VARIABLES: &[&str] = &[
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
    "NODE_APP_INSTANCE",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "pm_id",
    "PM2_SERVE_BASIC_AUTH_PASSWORD",
    "SKEP_WORKER",
    "_",
    "OLDPWD",
    "PWD",
    "SHLVL",
];

/// Settles everything that was left open, looking at the machine.
pub fn resolve(raw: RawStart, facts: &dyn Facts) -> Result<Resolved, SpecError> {
    let RawStart { what, mut spec, instances_given } = raw;
    let mut notes = Vec::new();
    spec.cwd = absolute(facts.cwd(), &spec.cwd);
    if facts.look(&spec.cwd) != Some(Entry::Directory) {
        let cwd = spec.cwd.clone();
        return Err(SpecError::field(
            "cwd",
            cwd,
            "is not a directory",
            "create it, or give another with --cwd",
        ));
    }
    check_accounts(&spec, facts)?;
    spec.inherited_env = facts.env();
    spec.inherited_env.retain(|name, _| !OWN_VARIABLES.contains(&name.as_str()));

    let named_after = match find(&what, &spec, facts)? {
        Found::File(path) => take_file(&mut spec, &path, facts)?,
        Found::Folder((folder, script)) => {
            take_file(&mut spec, &script, facts)?;
            folder
        }
        Found::Program(path) => take_program(&mut spec, &path, facts)?,
        Found::Line(line) => take_line(&mut spec, line, &mut notes, facts)?,
    };
    if spec.name.is_empty() {
        spec.name = name::derive(&named_after);
    }
    if spec.exec_mode.is_none() && !instances_given && spec.is_node() && forks_by_itself(&spec, facts) {
        spec.exec_mode = Some(ExecMode::Fork);
        notes.push(format!(
            "{} forks workers by itself, so it is started as one ordinary process; use -i to have skep share its port",
            base_name(spec.script.as_deref().unwrap_or_default()),
        ));
    }
    let files = [
        ("out_file", spec.out_file.as_mut()),
        ("error_file", spec.error_file.as_mut()),
        ("log_file", spec.log_file.path_mut()),
        ("pid_file", spec.pid_file.as_mut()),
    ];
    for (field, path) in files.into_iter().filter_map(|(field, path)| Some((field, path?))) {
        *path = absolute(&spec.cwd, path);
        if facts.look(path) == Some(Entry::Directory) {
            // Whoever writes would wait for a file that never comes.
            return Err(SpecError::field(field, path.clone(), "is a directory", "name a file in it"));
        }
    }
    spec.validate()?;
    Ok(Resolved { spec, notes })
}

/// Names of users and groups are known before anything is started. Numbers need no entry in the database.
fn check_accounts(spec: &AppSpec, facts: &dyn Facts) -> Result<(), SpecError> {
    if let Some(Account::Name(name)) = &spec.uid
        && !facts.has_user(name)
    {
        return Err(SpecError::field(
            "uid",
            name,
            "is no user of this machine",
            "`getent passwd` lists them",
        ));
    }
    if let Some(Account::Name(name)) = &spec.gid
        && !facts.has_group(name)
    {
        return Err(SpecError::field(
            "gid",
            name,
            "is no group of this machine",
            "`getent group` lists them",
        ));
    }
    Ok(())
}

/// What the thing to run turned out to be.
enum Found {
    /// A file, by its absolute path.
    File(String),
    /// A directory and the script in it, by their absolute paths.
    Folder((String, String)),
    /// A program of `PATH`, by its absolute path.
    Program(String),
    /// A command line.
    Line(String),
}

fn find(what: &str, spec: &AppSpec, facts: &dyn Facts) -> Result<Found, SpecError> {
    if what.trim().is_empty() {
        return Err(SpecError::field(
            "script",
            what,
            "is empty",
            "name a script, a program or a command line",
        ));
    }
    // PM2 looks from --cwd; what a shell has completed is seen from where it was typed.
    for base in [spec.cwd.as_str(), facts.cwd()] {
        let path = absolute(base, what);
        match facts.look(&path) {
            Some(Entry::File { .. }) => return Ok(Found::File(path)),
            Some(Entry::Directory) => return enter(what, &path, spec, facts).map(Found::Folder),
            Some(Entry::Other) => {
                return Err(SpecError::field(
                    "script",
                    what,
                    "is a device or a socket",
                    "name a script, a program or a command line",
                ));
            }
            None => {}
        }
    }
    if what.contains(char::is_whitespace) {
        return Ok(Found::Line(what.to_owned()));
    }
    if !what.contains('/')
        && let Some(program) = facts.find_program(what)
    {
        return Ok(Found::Program(program));
    }
    Err(not_found(what, &spec.cwd, facts))
}

/// The script of a directory, as its interpreter finds it. A directory goes before a program of `PATH` with its name, as
/// in PM2; which of the two was meant is asked where the directory has nothing to run.
fn enter(what: &str, path: &str, spec: &AppSpec, facts: &dyn Facts) -> Result<(String, String), SpecError> {
    if let Some(script) = folder::script(path, spec.interpreter.as_deref(), facts) {
        return Ok((path.to_owned(), script));
    }
    let mut remedy = format!("name a file in it, or use `skep start \"npm start\" --cwd {what}`");
    if !what.contains('/')
        && let Some(program) = facts.find_program(what)
    {
        remedy = format!("name a file in it; the program of this name is {program}");
    }
    Err(SpecError::field("script", what, "is a directory without a script to start", remedy))
}

/// An error that names the file which was probably meant.
fn not_found(what: &str, cwd: &str, facts: &dyn Facts) -> SpecError {
    let path = absolute(cwd, what);
    let (directory, wanted) = path.rsplit_once('/').unwrap_or(("", &path));
    let directory = if directory.is_empty() { "/" } else { directory };
    let names = facts.names_in(directory);
    // `skep start app` means app.js; `skep start ap.js` as well.
    let same_stem = names.iter().find(|name| {
        let extension = extension(name);
        !extension.is_empty() && &name[..name.len() - extension.len()] == wanted
    });
    let alike = || {
        let scored = names.iter().map(|name| (strsim::damerau_levenshtein(wanted, name), name));
        scored.filter(|&(distance, _)| distance <= wanted.len() / 3).min().map(|(_, name)| name)
    };
    let remedy = match same_stem.or_else(alike) {
        Some(name) => format!("did you mean {name}?"),
        None if what.contains('/') || !extension(what).is_empty() => {
            format!("there is no such file; paths are seen from {cwd}")
        }
        None => format!("it is neither a file in {cwd}, nor a program in PATH, nor the name of a known app"),
    };
    SpecError::ScriptNotFound { path, remedy }
}

fn take_file(spec: &mut AppSpec, path: &str, facts: &dyn Facts) -> Result<String, SpecError> {
    interpreter::settle(spec, path, facts)?;
    spec.script = Some(path.to_owned());
    Ok(path.to_owned())
}

/// A program of `PATH`. Its arguments may say more: `npm -- run dev`, `node -- server.js`.
fn take_program(spec: &mut AppSpec, path: &str, facts: &dyn Facts) -> Result<String, SpecError> {
    if spec.interpreter.is_some() {
        return take_file(spec, path, facts);
    }
    let mut words = vec![path.to_owned()];
    words.append(&mut spec.args);
    let cwd = spec.cwd.clone();
    match read_words(&words, &cwd, facts) {
        line @ Line::Node { .. } => take_node(spec, line, facts),
        Line::Words(words) => Ok(take_words(spec, words, facts)),
        Line::Shell(line) => Ok(take_shell(spec, line)),
    }
}

fn take_line(
    spec: &mut AppSpec,
    line: String,
    notes: &mut Vec<String>,
    facts: &dyn Facts,
) -> Result<String, SpecError> {
    if let Some(interpreter) = &spec.interpreter {
        return Err(SpecError::field(
            "interpreter",
            interpreter,
            "cannot run a command line",
            "name the script alone, and give its arguments after --",
        ));
    }
    let cwd = spec.cwd.clone();
    match read_line(&line, &cwd, facts) {
        node @ Line::Node { .. } => {
            let name = take_node(spec, node, facts)?;
            if spec.script.as_deref().is_some_and(|script| !line.contains(base_name(script))) {
                notes.push(format!(
                    "`{line}` only starts {}, so it is started directly",
                    spec.argv().join(" ")
                ));
            }
            Ok(name)
        }
        Line::Words(mut words) => {
            let path = if words[0].contains('/') { absolute(&cwd, &words[0]) } else { words[0].clone() };
            let Some(program) = facts.find_program(&path) else {
                return Err(not_found(&words[0], &cwd, facts));
            };
            words[0] = program;
            words.append(&mut spec.args);
            Ok(take_words(spec, words, facts))
        }
        Line::Shell(line) => Ok(take_shell(spec, line)),
    }
}

fn take_node(spec: &mut AppSpec, line: Line, facts: &dyn Facts) -> Result<String, SpecError> {
    let Line::Node { node, flags, script, args, env, package } = line else {
        unreachable!("callers have matched Line::Node")
    };
    spec.interpreter = Some(node);
    spec.interpreter_args.splice(0..0, flags);
    interpreter::settle(spec, &script, facts)?;
    spec.args.splice(0..0, args);
    for (name, value) in env {
        spec.env.entry(name).or_insert(value);
    }
    spec.script = Some(script.clone());
    Ok(package.unwrap_or(script))
}

/// A program with arguments, run as it stands. It is named after the first file among its arguments.
fn take_words(spec: &mut AppSpec, words: Vec<String>, facts: &dyn Facts) -> String {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    spec.args = words.collect();
    let is_file = |word: &&String| {
        !word.starts_with('-') && matches!(facts.look(&absolute(&spec.cwd, word)), Some(Entry::File { .. }))
    };
    let named_after = match (base_name(&program), spec.args.iter().find(is_file)) {
        (_, Some(file)) => file.clone(),
        ("npm" | "pnpm" | "yarn" | "npx" | "bunx" | "bun" | "deno", None) => {
            let script = spec.args.iter().rfind(|word| !word.starts_with('-'));
            script.cloned().unwrap_or_else(|| program.clone())
        }
        (_, None) => program.clone(),
    };
    spec.script = Some(program);
    spec.interpreter = Some(program::NO_INTERPRETER.to_owned());
    named_after
}

fn take_shell(spec: &mut AppSpec, line: String) -> String {
    let first = line.split_whitespace().find(|word| !word.contains('=')).unwrap_or("app").to_owned();
    spec.command = Some(line);
    spec.script = None;
    first
}

/// Whether a Node.js script looks as if it forked cluster workers by itself.
fn forks_by_itself(spec: &AppSpec, facts: &dyn Facts) -> bool {
    let text = spec.script.as_deref().and_then(|script| facts.read(script, SCRIPT_BYTES_MAX));
    let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default()).into_owned();
    let imports = ["'cluster'", "\"cluster\"", "'node:cluster'", "\"node:cluster\""];
    imports.iter().any(|import| text.contains(import)) && text.contains("fork(")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fake::Machine;
    use crate::{Instances, Runtime};

    fn raw(what: &str, args: &[&str]) -> RawStart {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        RawStart { what: what.into(), spec: AppSpec { args, ..AppSpec::default() }, instances_given: false }
    }

    fn machine() -> Machine {
        Machine::usual()
            .file("/srv/app.js", "require('http')")
            .file("/srv/server.py", "")
            .executable("/srv/my-binary", "\x7fELF\0")
            .file("/srv/sub/own.js", "const cluster = require('node:cluster'); cluster.fork()")
            .file(
                "/srv/package.json",
                r#"{"name":"shop","scripts":{"dev":"node app.js","build":"vite --host"}}"#,
            )
    }

    fn check(what: &str, args: &[&str]) -> (String, Vec<String>, Runtime) {
        let spec = resolve(raw(what, args), &machine()).unwrap().spec;
        (spec.name.clone(), spec.argv(), spec.runtime_choice().runtime)
    }

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn scripts_programs_and_command_lines_are_understood() {
        let node = argv(&["/usr/bin/node", "/srv/app.js"]);
        assert_eq!(check("app.js", &[]), ("app".into(), node.clone(), Runtime::Node));
        assert_eq!(check("npm run dev", &[]), ("shop".into(), node.clone(), Runtime::Node));
        assert_eq!(check("npm", &["run", "dev"]), ("shop".into(), node.clone(), Runtime::Node));
        assert_eq!(check("node app.js", &[]), ("app".into(), node, Runtime::Node));
        assert_eq!(
            check("server.py", &["--port", "80"]),
            (
                "server".into(),
                argv(&["/usr/bin/python3", "/srv/server.py", "--port", "80"]),
                Runtime::Bindshare
            )
        );
        assert_eq!(
            check("./my-binary", &[]),
            ("my-binary".into(), argv(&["/srv/my-binary"]), Runtime::Bindshare)
        );
        assert_eq!(
            check("npm run build", &[]),
            ("build".into(), argv(&["/usr/bin/npm", "run", "build"]), Runtime::Bindshare)
        );
        assert_eq!(
            check("python3 server.py -v", &["--x"]),
            ("server".into(), argv(&["/usr/bin/python3", "server.py", "-v", "--x"]), Runtime::Bindshare)
        );
        assert_eq!(
            check("cd x && make", &[]),
            ("cd".into(), argv(&["/bin/sh", "-c", "cd x && make"]), Runtime::Bindshare)
        );
    }

    #[test]
    fn an_npm_script_that_was_seen_through_is_told() {
        let resolved = resolve(raw("npm run dev", &[]), &machine()).unwrap();
        assert_eq!(
            resolved.notes,
            ["`npm run dev` only starts /usr/bin/node /srv/app.js, so it is started directly"]
        );
    }

    #[test]
    fn a_script_that_forks_by_itself_stays_an_ordinary_process_unless_instances_are_asked_for() {
        let alone = resolve(raw("sub/own.js", &[]), &machine()).unwrap();
        assert_eq!(alone.spec.runtime_choice().runtime, Runtime::Bindshare);
        assert_eq!(alone.notes.len(), 1);
        let mut many = raw("sub/own.js", &[]);
        many.spec.instances = Instances::Max;
        many.instances_given = true;
        assert_eq!(resolve(many, &machine()).unwrap().spec.runtime_choice().runtime, Runtime::Node);
    }

    #[test]
    fn a_missing_script_is_answered_with_the_file_that_was_meant() {
        let remedy = |what: &str| resolve(raw(what, &[]), &machine()).unwrap_err().remedy().to_owned();
        assert_eq!(remedy("app"), "did you mean app.js?");
        assert_eq!(remedy("ap.js"), "did you mean app.js?");
        assert_eq!(remedy("sevrer.py"), "did you mean server.py?");
        assert!(remedy("frontend").contains("neither a file"));
        assert!(remedy("./sub").contains("npm start"));
        assert!(remedy("sub").contains("npm start"));
        assert!(remedy("nosuch --flag").contains("neither a file"));
        assert!(remedy(" ").contains("name a script"));
    }

    #[test]
    fn a_directory_goes_before_a_program_of_its_name_and_is_never_taken_for_it() {
        let machine = machine().file("/srv/ruby/index.js", "").file("/srv/bash/notes.txt", "");
        let ruby = resolve(raw("ruby", &[]), &machine).unwrap().spec;
        assert_eq!((ruby.name.as_str(), ruby.script.as_deref()), ("ruby", Some("/srv/ruby/index.js")));
        let error = resolve(raw("bash", &[]), &machine).unwrap_err();
        assert!(error.to_string().contains("is a directory"), "{error}");
        assert!(error.remedy().contains("the program of this name is /usr/bin/bash"), "{}", error.remedy());
    }

    #[test]
    fn the_environment_of_the_typist_is_inherited_but_not_its_identity() {
        let mut machine = machine();
        machine.env.insert("DATABASE_URL".into(), "x".into());
        machine.env.insert("NODE_CHANNEL_FD".into(), "3".into());
        let spec = resolve(raw("app.js", &[]), &machine).unwrap().spec;
        assert_eq!(spec.inherited_env.keys().collect::<Vec<_>>(), ["DATABASE_URL", "PATH"]);
    }

    #[test]
    fn paths_are_absolute_from_the_apps_directory() {
        let mut own = raw("own.js", &[]);
        own.spec.cwd = "sub".into();
        own.spec.out_file = Some("log/out.log".into());
        let spec = resolve(own, &machine()).unwrap().spec;
        assert_eq!(spec.script.as_deref(), Some("/srv/sub/own.js"));
        assert_eq!((spec.cwd.as_str(), spec.out_file.as_deref()), ("/srv/sub", Some("/srv/sub/log/out.log")));
        let mut folder = raw("app.js", &[]);
        folder.spec.log_file = crate::LogFile::Path("sub".into());
        let error = resolve(folder, &machine()).unwrap_err();
        assert_eq!(error.to_string(), r#"log_file: "/srv/sub" is a directory"#);
        let mut lost = raw("app.js", &[]);
        lost.spec.cwd = "nowhere".into();
        assert!(resolve(lost, &machine()).unwrap_err().to_string().contains("is not a directory"));
    }
}
