//! PM2's commands and their other names.

use super::say::Trouble;
use super::{Front, act, conf, describe, dump, host, left_out, list, look, scale, start, talk, usage};
use crate::verbs;
use skep_api::ApplyMode;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Start,
    Stop,
    Restart,
    Reload,
    Delete,
    StartOrRestart,
    StartOrReload,
    Scale,
    Reset,
    Kill,
    SendSignal,
    Send,
    Attach,
    Trigger,
    List,
    Jlist,
    Prettylist,
    Sysinfos,
    Describe,
    Env,
    Id,
    Pid,
    Ping,
    Report,
    Logs,
    Monit,
    Flush,
    ReloadLogs,
    Save,
    Resurrect,
    Cleardump,
    Update,
    Set,
    Get,
    Conf,
    Unset,
    Multiset,
    Ecosystem,
    Startup,
    Unstartup,
    Serve,
    Deploy,
    /// Does not exist here; something else does.
    LeftOut(&'static str),
}

const COMMANDS: &[(&str, Command)] = &[
    ("start", Command::Start),
    ("stop", Command::Stop),
    ("restart", Command::Restart),
    ("reload", Command::Reload),
    ("delete", Command::Delete),
    ("del", Command::Delete),
    ("startOrRestart", Command::StartOrRestart),
    ("startOrReload", Command::StartOrReload),
    ("startOrGracefulReload", Command::StartOrReload),
    ("scale", Command::Scale),
    ("reset", Command::Reset),
    ("kill", Command::Kill),
    ("sendSignal", Command::SendSignal),
    ("send", Command::Send),
    ("attach", Command::Attach),
    ("trigger", Command::Trigger),
    ("list", Command::List),
    ("ls", Command::List),
    ("l", Command::List),
    ("ps", Command::List),
    ("status", Command::List),
    ("jlist", Command::Jlist),
    ("prettylist", Command::Prettylist),
    ("slist", Command::Sysinfos),
    ("sysinfos", Command::Sysinfos),
    ("describe", Command::Describe),
    ("desc", Command::Describe),
    ("info", Command::Describe),
    ("show", Command::Describe),
    ("env", Command::Env),
    ("id", Command::Id),
    ("pid", Command::Pid),
    ("ping", Command::Ping),
    ("report", Command::Report),
    ("logs", Command::Logs),
    ("log", Command::Logs),
    ("monit", Command::Monit),
    ("imonit", Command::Monit),
    ("dash", Command::Monit),
    ("dashboard", Command::Monit),
    ("flush", Command::Flush),
    ("reloadLogs", Command::ReloadLogs),
    ("save", Command::Save),
    ("dump", Command::Save),
    ("resurrect", Command::Resurrect),
    ("cleardump", Command::Cleardump),
    ("update", Command::Update),
    ("updatePM2", Command::Update),
    ("set", Command::Set),
    ("get", Command::Get),
    ("conf", Command::Conf),
    ("config", Command::Conf),
    ("unset", Command::Unset),
    ("multiset", Command::Multiset),
    ("ecosystem", Command::Ecosystem),
    ("init", Command::Ecosystem),
    ("startup", Command::Startup),
    ("unstartup", Command::Unstartup),
    ("serve", Command::Serve),
    ("expose", Command::Serve),
    ("deploy", Command::Deploy),
];

/// All names of commands that exist here.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, _)| *name)
}

/// The command of this name.
pub(super) fn find(word: &str) -> Option<Command> {
    let found = COMMANDS.iter().find(|(name, _)| *name == word).map(|(_, command)| *command);
    found.or_else(|| left_out::instead_of(word).map(Command::LeftOut))
}

impl Command {
    /// Whether PM2 refuses to do it to something: `pm2 kill web` would end all apps.
    fn takes_nothing(self) -> bool {
        matches!(self, Self::Save | Self::Cleardump | Self::Resurrect | Self::Prettylist | Self::Kill)
    }

    pub(super) async fn run(self, front: &Front) -> Result<(), Trouble> {
        if let Some(word) = front.line.operand(0).filter(|_| self.takes_nothing()) {
            front.say.always(&format!("[PM2] \nUnknown command argument: {word}\n{}", help()));
            return Err(Trouble::Told);
        }
        match self {
            Self::Start | Self::StartOrRestart => Box::pin(start::run(ApplyMode::Restart, front)).await,
            Self::Stop => act::run(&act::STOP, front).await,
            Self::Restart => act::run(&act::RESTART, front).await,
            Self::Reload => act::run(&act::RELOAD, front).await,
            Self::Delete => act::run(&act::DELETE, front).await,
            Self::StartOrReload => Box::pin(start::run(ApplyMode::Reload, front)).await,
            Self::Scale => scale::run(front).await,
            Self::Reset => talk::reset(front).await,
            Self::Kill => talk::kill(front).await,
            Self::SendSignal => talk::signal(front).await,
            Self::Send => talk::send(front).await,
            Self::Attach => talk::attach(front).await,
            Self::Trigger => talk::trigger(front).await,
            Self::List => list::run(front).await,
            Self::Jlist => look::jlist(front).await,
            Self::Prettylist => look::prettylist(front).await,
            Self::Sysinfos => look::sysinfos(front),
            Self::Describe => describe::run(front).await,
            Self::Env => look::env(front).await,
            Self::Id => look::id(front).await,
            Self::Pid => look::pid(front).await,
            Self::Ping => look::ping(front).await,
            Self::Report => look::report(front).await,
            Self::Logs => talk::logs(front).await,
            Self::Monit => {
                drop(front.context.connect_or_start().await?);
                Ok(verbs::monit::run(&front.context).await?)
            }
            Self::Flush => talk::flush(front).await,
            Self::ReloadLogs => talk::reload_logs(front).await,
            Self::Save => dump::save(front).await,
            Self::Resurrect => dump::resurrect(front).await,
            Self::Cleardump => dump::clear(front),
            Self::Update => talk::update(front).await,
            Self::Set | Self::Get | Self::Conf | Self::Unset | Self::Multiset => {
                Box::pin(conf::run(self, front)).await
            }
            Self::Ecosystem => {
                let simple = front.line.operand(0) == Some("simple");
                verbs::init::run(verbs::init::Template::JavaScript, simple, &front.context)?;
                front.say.line("File ecosystem.config.js generated");
                Ok(())
            }
            Self::Startup => host::startup(true, front),
            Self::Unstartup => host::startup(false, front),
            Self::Serve => host::serve(front).await,
            Self::Deploy => host::deploy(front),
            Self::LeftOut(instead) => {
                let word = front.line.verb.as_deref().unwrap_or_default();
                if let Some(text) = left_out::built_in(word, &front.line.operands) {
                    front.say.info(text);
                    return Ok(());
                }
                Err(Trouble::Error(format!("`{word}` is not part of skep: {instead}")))
            }
        }
    }
}

/// What is printed when there is nothing to do.
pub(super) fn usage() -> String {
    "usage: pm2 [options] <command>\n\n\
     pm2 -h, --help             all available commands and options\n\
     pm2 <command> -h           help on a specific command\n\
     This pm2 is skep: `skep help` tells what it can do beyond PM2\n"
        .to_owned()
}

/// `--help`.
pub(super) fn help() -> String {
    format!(
        "\n  Usage: pm2 [cmd] app\n\n  Options:\n\n    \
         those of PM2, and those of `skep start --help`; they may stand before or behind the command\n\n  \
         Commands:\n\n{}\n  This pm2 is skep: `skep help` tells what it can do beyond PM2\n",
        usage::overview()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_mean_the_same_and_what_is_left_out_is_known() {
        assert_eq!(find("del"), find("delete"));
        assert_eq!(find("ls"), Some(Command::List));
        assert!(matches!(find("plus"), Some(Command::LeftOut(_))));
        assert_eq!(find("frobnicate"), None);
    }
}
