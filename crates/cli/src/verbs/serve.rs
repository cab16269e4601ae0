//! `serve`: the files of a directory as an app whose worker is this program itself, by a hidden verb.
//!
//! The same for `script: "serve"` in a file of apps, and for PM2's `static`. What is to be served is told in PM2's
//! variables (`PM2_SERVE_PATH`, `PM2_SERVE_PORT` ...); the port is opened by skep and handed over (`LISTEN_FDS`), so
//! that workers share it and follow each other like those of any other program. A password is kept as its hash only.

use super::start::here;
use crate::failure::Failure;
use crate::host_args::ServeCommand;
use crate::session::Context;
use skep_serve::{Credentials, Options};
use skep_spec::{
    AppSpec, Entry, ExecMode, Facts, Listen, ListenAddress, Millis, RawStart, Runtime, SpecError,
};
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

/// The hidden verb of a worker; the directory follows.
pub(crate) const WORKER_VERB: &str = "__serve";
/// What a script is called in a file when a directory is to be served.
const SCRIPT: &str = "serve";
/// What it listens on when nobody says, as PM2.
const PORT_DEFAULT: u16 = 8080;
const HOMEPAGE_DEFAULT: &str = "/index.html";
/// How long downloads may go on when a worker is replaced, unless something else is said.
const KILL_TIMEOUT: Millis = Millis(30_000);
/// The first descriptor handed over (sd_listen_fds(3)).
const LISTEN_FDS_START: i32 = 3;

const PATH: &str = "PM2_SERVE_PATH";
const PORT: &str = "PM2_SERVE_PORT";
const HOST: &str = "PM2_SERVE_HOST";
const SPA: &str = "PM2_SERVE_SPA";
const HOMEPAGE: &str = "PM2_SERVE_HOMEPAGE";
const AUTH: &str = "PM2_SERVE_BASIC_AUTH";
const USERNAME: &str = "PM2_SERVE_BASIC_AUTH_USERNAME";
const FTP: &str = "PM2_SERVE_FTP";
const MONITOR: &str = "PM2_SERVE_MONITOR";
const PASSWORD: &str = "PM2_SERVE_BASIC_AUTH_PASSWORD";
/// The hash of the password: in the environment of the worker, or in a file of apps instead of the password.
const PASSWORD_HASH: &str = "SKEP_SERVE_PASSWORD_HASH";
/// PM2's, without effect here: the variable, the option, why, and what to use instead.
const WITHOUT_EFFECT: [(&str, &str, &str); 3] = [
    (FTP, "--ftp", NO_LISTING),
    ("PM2_SERVE_DIRECTORY", "directory", NO_LISTING),
    (
        MONITOR,
        "--monitor",
        "it puts a script of PM2's service into pages; requests, errors and latency are in `skep monit` and `skep metrics`, and \
         a script of your own belongs into the pages themselves",
    ),
];
const NO_LISTING: &str = "directories are not listed; give them an index.html (`tree -H . -L 1 --noreport -o index.html` writes one)";

/// `skep serve`.
pub(crate) async fn run(args: &ServeCommand, context: &Context) -> Result<(), Failure> {
    let (spec, notes) = describe(args, &here(&context.output)?)?;
    notes.iter().for_each(|note| context.output.say(note));
    super::start::add(spec, &args.app, &args.wait, context).await
}

/// The app that a command line asks for, and what should be said about it.
pub(crate) fn describe(args: &ServeCommand, facts: &dyn Facts) -> Result<(AppSpec, Vec<String>), SpecError> {
    let mut raw = args.app.to_raw(SCRIPT, &[])?;
    let port = raw.spec.port.take().or(args.at).map(|port| port.to_string());
    let flag = |given: bool| given.then(|| "true".to_owned());
    let said = [
        (PATH, args.path.clone()),
        (PORT, port),
        (HOST, args.host.clone()),
        (SPA, flag(args.spa)),
        (HOMEPAGE, args.homepage.clone()),
        (USERNAME, args.basic_auth_username.clone()),
        (PASSWORD, args.basic_auth_password.clone()),
        (FTP, flag(args.ftp)),
        (MONITOR, args.monitor.clone()),
    ];
    for (name, value) in said {
        raw.spec.env.extend(value.map(|value| (name.to_owned(), value)));
    }
    let notes = without_effect(&raw.spec).collect();
    Ok((skep_spec::resolve(clothe(raw, facts)?, facts)?.spec, notes))
}

/// What of PM2's `serve` was asked for and does nothing here, in sentences.
pub(crate) fn without_effect(spec: &AppSpec) -> impl Iterator<Item = String> {
    let asked =
        |name: &str| spec.env.get(name).is_some_and(|value| !matches!(value.as_str(), "false" | "null"));
    let asked = WITHOUT_EFFECT.iter().filter(move |(name, ..)| asked(name));
    asked.map(|(name, option, why)| format!("{option} ({name}) has no effect: {why}"))
}

/// An app of a file, made one that serves if its script is `serve` and there is no file of that name.
pub(crate) fn clothe_if_named(raw: RawStart, facts: &dyn Facts) -> Result<RawStart, SpecError> {
    let cwd = skep_spec::absolute_path(facts.cwd(), &raw.spec.cwd);
    let is_file = matches!(facts.look(&skep_spec::absolute_path(&cwd, SCRIPT)), Some(Entry::File { .. }));
    if raw.what == SCRIPT && !is_file { clothe(raw, facts) } else { Ok(raw) }
}

/// Puts this program in the place of the script, with what the variables say.
fn clothe(mut raw: RawStart, facts: &dyn Facts) -> Result<RawStart, SpecError> {
    let shell = facts.env();
    let spec = &mut raw.spec;
    let variable = |name: &str| {
        let found = spec.env.get(name).or_else(|| shell.get(name)).map(String::as_str);
        // A key that a file leaves open is `null` or `undefined` by the time that it is text.
        found.filter(|text| !matches!(*text, "" | "null" | "undefined")).map(str::to_owned)
    };
    let cwd = skep_spec::absolute_path(facts.cwd(), &spec.cwd);
    let root = skep_spec::absolute_path(&cwd, variable(PATH).as_deref().unwrap_or("."));
    if facts.look(&root) != Some(Entry::Directory) {
        return Err(SpecError::field(
            PATH,
            root,
            "is no directory",
            "name the directory to serve: `skep serve ./public`",
        ));
    }
    let port = port(variable(PORT))?;
    let spa = variable(SPA).is_some_and(|text| text == "true");
    let homepage = homepage(variable(HOMEPAGE))?;
    let listen = Listen {
        name: None,
        address: ListenAddress::Tcp { host: variable(HOST).filter(|host| host != "0.0.0.0"), port },
    };
    let door = door(&variable, &format!("{root}\n{port}"))?;
    // What was said is now in other places, checked.
    spec.env.retain(|name, _| !name.starts_with("PM2_SERVE_") && name != PASSWORD_HASH);
    let mut set = |name: &str, value: String| drop(spec.env.insert(name.to_owned(), value));
    set(SPA, spa.to_string());
    set(HOMEPAGE, homepage);
    set(PORT, port.to_string());
    if let Some((user, hash)) = door {
        set(USERNAME, user);
        set(PASSWORD_HASH, hash);
    }
    if spec.name.is_empty() {
        spec.name = format!("static-page-server-{port}");
    }
    spec.args = vec![WORKER_VERB.to_owned(), root];
    spec.listen = vec![listen];
    spec.runtime = Runtime::Fd;
    spec.exec_mode = Some(ExecMode::Fork).filter(|_| spec.exec_mode.is_some());
    spec.interpreter = Some("none".to_owned());
    if spec.kill_timeout == AppSpec::default().kill_timeout {
        spec.kill_timeout = KILL_TIMEOUT;
    }
    raw.what = ourselves()?;
    Ok(raw)
}

fn ourselves() -> Result<String, SpecError> {
    let path = std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
    path.ok_or_else(|| {
        SpecError::field(
            "script",
            SCRIPT,
            "needs skep's own file, which cannot be named",
            "is /proc mounted?",
        )
    })
}

fn port(text: Option<String>) -> Result<u16, SpecError> {
    let Some(text) = text else { return Ok(PORT_DEFAULT) };
    text.trim()
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| SpecError::field(PORT, text, "is no port", "write a number from 1 to 65535"))
}

fn homepage(text: Option<String>) -> Result<String, SpecError> {
    let text = text.unwrap_or_else(|| HOMEPAGE_DEFAULT.to_owned());
    let text = if text.starts_with('/') { text } else { format!("/{text}") };
    if text.contains(char::is_whitespace) || text == "/" {
        return Err(SpecError::field(HOMEPAGE, text, "is no path of a page", "write /index.html"));
    }
    Ok(text)
}

/// The name and the hash of the password, if a password is asked for.
fn door(
    variable: &dyn Fn(&str) -> Option<String>,
    place: &str,
) -> Result<Option<(String, String)>, SpecError> {
    let (user, password, hash) = (variable(USERNAME), variable(PASSWORD), variable(PASSWORD_HASH));
    match (user, hash, password) {
        (Some(user), _, _) if user.contains(':') => {
            Err(SpecError::field(USERNAME, user, "has a colon", "names of basic authentication have none"))
        }
        (Some(user), _, Some(password)) => {
            // The same file always gives the same text, or each `apply` would find a change.
            let text = Credentials::hash(&password, &format!("{place}\n{user}"));
            Ok(Some((user, text)))
        }
        (Some(user), Some(hash), None) => match Credentials::new(&user, &hash) {
            Ok(_) => Ok(Some((user, hash))),
            Err(error) => Err(SpecError::field(
                PASSWORD_HASH,
                hash,
                error.to_string(),
                format!("give the password itself, as {PASSWORD}"),
            )),
        },
        (Some(user), None, None) => Err(SpecError::field(
            USERNAME,
            user,
            "has no password",
            "give --basic-auth-password, or the variable PM2_SERVE_BASIC_AUTH_PASSWORD",
        )),
        (None, None, None) if variable(AUTH).is_none_or(|text| text != "true") => Ok(None),
        (None, ..) => Err(SpecError::field(
            AUTH,
            "true",
            "has no name",
            "give --basic-auth-username, or the variable PM2_SERVE_BASIC_AUTH_USERNAME",
        )),
    }
}

/// `__serve ROOT`: a worker.
pub(crate) fn worker(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let listeners = inherited(&variable);
    let (Some(root), false) = (args.next(), listeners.is_empty()) else {
        eprintln!("skep: this is an inner part of skep and not to be started by hand; use `skep serve`");
        return ExitCode::FAILURE;
    };
    skep_sys::process::set_name("skep-serve");
    let credentials = match (variable(USERNAME), variable(PASSWORD_HASH)) {
        (Some(user), Some(hash)) => match Credentials::new(&user, &hash) {
            Ok(credentials) => Some(credentials),
            Err(error) => {
                eprintln!("skep: {PASSWORD_HASH} {error}");
                return ExitCode::FAILURE;
            }
        },
        // Half of a lock is no reason to leave the door open.
        (None, None) => None,
        (user, _) => {
            eprintln!("skep: {USERNAME} is {user:?}, and {USERNAME} and {PASSWORD_HASH} go together");
            return ExitCode::FAILURE;
        }
    };
    let options = Options {
        root: PathBuf::from(root),
        spa: variable(SPA).is_some_and(|text| text == "true"),
        homepage: variable(HOMEPAGE).unwrap_or_else(|| HOMEPAGE_DEFAULT.to_owned()),
        credentials,
    };
    match skep_serve::serve(options, listeners) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skep: files cannot be served: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The sockets that were handed over to this very process (sd_listen_fds(3)).
fn inherited(variable: &dyn Fn(&str) -> Option<String>) -> Vec<TcpListener> {
    let number = |name: &str| variable(name).and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Vec::new();
    }
    let count = i32::try_from(number("LISTEN_FDS").unwrap_or(0)).unwrap_or(0);
    let fds = (0..count).filter_map(|n| skep_sys::process::inherited_descriptor(LISTEN_FDS_START + n));
    fds.map(TcpListener::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Verb};
    use crate::host_args::HostVerb;
    use crate::machine::Machine;
    use clap::Parser;

    fn check(line: &str) -> Result<AppSpec, String> {
        let folder = tempfile::tempdir().unwrap();
        let line = line.replace("ROOT", folder.path().to_str().unwrap());
        let Verb::Host(HostVerb::Serve(args)) = Cli::parse_from(line.split(' ')).verb else {
            panic!("not a serve");
        };
        describe(&args, &Machine::here().unwrap()).map(|(spec, _)| spec).map_err(|error| error.to_string())
    }

    #[test]
    fn it_becomes_an_app_whose_worker_is_this_program_on_a_socket_that_is_handed_over() {
        let spec = check("skep serve ROOT 9000 --spa -i 2").unwrap();
        assert_eq!(spec.name, "static-page-server-9000");
        assert_eq!((spec.args[0].as_str(), spec.args.len()), (WORKER_VERB, 2));
        assert_eq!(
            spec.listen,
            [Listen { name: None, address: ListenAddress::Tcp { host: None, port: 9000 } }]
        );
        assert_eq!((spec.runtime, spec.env[SPA].as_str()), (Runtime::Fd, "true"));
        assert_eq!(spec.argv()[1], WORKER_VERB);
        assert_eq!(check("skep serve ROOT --port 9001 --name x --kill-timeout 5s").unwrap().name, "x");
        assert_eq!(check("skep serve ROOT").unwrap().env[PORT], "8080");
    }

    #[test]
    fn a_password_leaves_only_its_hash_and_always_the_same() {
        let line = "skep serve /tmp --basic-auth-username anna --basic-auth-password s3cret-word";
        let spec = check(line).unwrap();
        assert!(!format!("{spec:?}").contains("s3cret-word"));
        assert_eq!(spec.env[PASSWORD_HASH], check(line).unwrap().env[PASSWORD_HASH]);
        assert!(Credentials::new("anna", &spec.env[PASSWORD_HASH]).is_ok());
    }

    #[test]
    fn what_only_pm2_has_says_what_to_use_instead() {
        let spec = |name: &str, value: &str| AppSpec {
            env: [(name.to_owned(), value.to_owned())].into(),
            ..AppSpec::default()
        };
        let note = |name, value| without_effect(&spec(name, value)).collect::<String>();
        assert!(
            note(FTP, "true").contains("--ftp (PM2_SERVE_FTP) has no effect")
                && note(FTP, "true").contains("index.html")
        );
        assert!(note(MONITOR, "").contains("skep monit"));
        assert_eq!(note(FTP, "false"), "");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, part) in [
            ("skep serve /no/such/directory", "is no directory"),
            ("skep serve ROOT --basic-auth-username anna", "has no password"),
            ("skep serve ROOT --basic-auth-password s", "has no name"),
            ("skep serve ROOT --basic-auth-username a:b --basic-auth-password s", "has a colon"),
            ("skep serve ROOT --homepage /", "is no path of a page"),
        ] {
            let text = check(line).unwrap_err();
            assert!(text.contains(part), "{line}: {text}");
        }
    }
}
