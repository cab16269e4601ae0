//! Whose service, of which skep, with which home, called how.

use super::Init;
use crate::failure::Failure;
use crate::host_args::StartupCommand;
use crate::session::Context;
use nix::unistd::{Uid, User};
use skep_api::ErrorCode;
use std::path::{Path, PathBuf};

/// All that a plan is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) init: Init,
    /// skep's own file.
    pub(crate) skep: PathBuf,
    /// skep's home.
    pub(crate) home: PathBuf,
    pub(crate) account: String,
    /// The service's name, without an ending.
    pub(crate) name: String,
    /// A service of the user's own manager.
    pub(crate) user: bool,
    /// Where units of the user's own manager lie.
    pub(crate) user_units: PathBuf,
    pub(crate) wait_ip: bool,
    pub(crate) keep_workers: bool,
    pub(crate) now: bool,
    /// The image that is worked on.
    pub(crate) root: Option<PathBuf>,
    pub(crate) is_root: bool,
}

impl Setting {
    /// Whether this process may do it.
    pub(crate) fn may_be_carried_out(&self) -> bool {
        self.init != Init::Launchd && (self.user || self.is_root || self.root.is_some())
    }

    /// The same as root, to be copied into a shell.
    pub(crate) fn as_root(&self, verb: &str) -> String {
        let mut words = vec!["sudo".to_owned(), self.skep.display().to_string()];
        words.extend(["--home".to_owned(), self.home.display().to_string()]);
        words.extend([verb, self.init.name(), "-u", &self.account].map(str::to_owned));
        if self.name != default_name(&self.account, false) {
            words.extend(["--service-name".to_owned(), self.name.clone()]);
        }
        let flags = [(self.wait_ip, "--wait-ip"), (self.keep_workers, "--keep-workers"), (self.now, "--now")];
        words.extend(flags.iter().filter(|(given, _)| *given).map(|(_, flag)| (*flag).to_owned()));
        shell_words::join(words)
    }
}

/// What a service is called when nobody says: by its account, as PM2's are.
fn default_name(account: &str, user: bool) -> String {
    if user { "skep".to_owned() } else { format!("skep-{}", safe(account)) }
}

/// Unit names have few signs (systemd.unit(5)); scripts of OpenRC are file names.
fn safe(name: &str) -> String {
    let allowed = |sign: char| sign.is_ascii_alphanumeric() || "._-".contains(sign);
    name.chars().map(|sign| if allowed(sign) { sign } else { '-' }).collect()
}

/// Takes the command line, the accounts and the environment together.
pub(crate) fn read(args: &StartupCommand, context: &Context) -> Result<Setting, Failure> {
    let init = match args.init.or_else(|| args.root.is_none().then(Init::detect).flatten()) {
        Some(init) => init,
        None if args.root.is_some() || args.user => Init::Systemd,
        None => return Err(unknown_init()),
    };
    if args.user && init != Init::Systemd {
        let message = format!("--user: {} has no services of users", init.name());
        return Err(Failure::new(ErrorCode::BadRequest, message, "`@reboot skep resurrect` in your crontab"));
    }
    if args.keep_workers && init != Init::Systemd {
        let message = format!("--keep-workers: {} ends all that a service has started", init.name());
        return Err(Failure::new(ErrorCode::BadRequest, message, "leave it out; reloads lose no request"));
    }
    let account = account(args)?;
    let name = args.service_name.clone().unwrap_or_else(|| default_name(&account.name, args.user));
    if name.is_empty() || name != safe(&name) {
        let message = format!("--service-name: {name:?} is no name of a service");
        return Err(Failure::new(ErrorCode::BadRequest, message, "letters, digits, `.`, `_` and `-`"));
    }
    let is_mine = account.uid == Uid::effective();
    let home = if is_mine || context.names_home() {
        context.home()?.path().to_owned()
    } else {
        account.dir.join(".skep")
    };
    let skep = std::env::current_exe().map_err(|error| {
        Failure::new(
            ErrorCode::Internal,
            format!("skep's own file cannot be found: {error}"),
            "is /proc mounted?",
        )
    })?;
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Ok(Setting {
        init,
        skep,
        home,
        name,
        user: args.user,
        user_units: config.unwrap_or_else(|| account.dir.join(".config")).join("systemd/user"),
        account: account.name,
        wait_ip: args.wait_ip,
        keep_workers: args.keep_workers,
        now: args.now,
        root: args.root.as_deref().map(|root| std::path::absolute(root).unwrap_or_else(|_| root.to_owned())),
        is_root: Uid::effective().is_root(),
    })
}

fn unknown_init() -> Failure {
    Failure::new(
        ErrorCode::Unsupported,
        "no init system that skep knows runs here (systemd, OpenRC)",
        "name one to see its files: `skep startup systemd --print`; in a container use `skep run`",
    )
}

/// An account's facts.
struct Account {
    name: String,
    uid: Uid,
    dir: PathBuf,
}

fn account(args: &StartupCommand) -> Result<Account, Failure> {
    let by_sudo = || std::env::var("SUDO_USER").ok().filter(|_| Uid::effective().is_root() && !args.user);
    let found = match args.account.clone().or_else(by_sudo) {
        Some(name) => User::from_name(&name).ok().flatten().ok_or_else(|| {
            let message = format!("-u: there is no account {name:?} on this machine");
            Failure::new(ErrorCode::BadRequest, message, "`getent passwd` lists them")
        })?,
        None => match User::from_uid(Uid::effective()) {
            Ok(Some(user)) => user,
            _ => {
                let dir = std::env::var_os("HOME").map_or_else(|| Path::new("/").to_owned(), PathBuf::from);
                let uid = Uid::effective();
                return Ok(Account { name: uid.to_string(), uid, dir });
            }
        },
    };
    Ok(Account { name: found.name, uid: found.uid, dir: found.dir })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services_have_only_signs_that_init_systems_allow() {
        assert_eq!(default_name("deploy", false), "skep-deploy");
        assert_eq!(default_name("anna@ad example", false), "skep-anna-ad-example");
        assert_eq!(default_name("deploy", true), "skep");
    }
}
