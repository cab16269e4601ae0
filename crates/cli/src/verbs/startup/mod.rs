//! `startup` and `unstartup`: a service of the machine's init system that keeps the apps of one account.
//!
//! First a plan (files and commands), from nothing but its inputs; then, where we may, its execution. The service needs
//! no guess of `PATH` or of a version manager's folders: an app is started with the environment that it was given, and
//! its Node is found at that moment.

mod carry_out;
mod plan;
mod setting;
mod text;

use crate::failure::{Failure, exit};
use crate::host_args::StartupCommand;
use crate::session::Context;
use plan::Plan;
use setting::Setting;
use skep_api::ErrorCode;
use std::path::Path;

/// An init system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Init {
    Systemd,
    OpenRc,
    Launchd,
}

/// The names of init systems, and of what PM2 calls by their hosts' names.
const NAMES: &[(Init, &[&str])] = &[
    (Init::Systemd, &["systemd", "ubuntu", "centos", "arch", "oracle", "debian", "fedora"]),
    (Init::OpenRc, &["openrc", "alpine", "gentoo"]),
    (Init::Launchd, &["launchd", "darwin", "macos"]),
];

/// Reads an init system's name.
pub(crate) fn init(word: &str) -> Result<Init, String> {
    let found = NAMES.iter().find(|(_, names)| names.contains(&word)).map(|(init, _)| *init);
    found.ok_or_else(|| {
        "there are systemd, openrc and launchd; with any other, let `skep daemon run` be started at boot"
            .to_owned()
    })
}

impl Init {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "openrc",
            Self::Launchd => "launchd",
        }
    }

    /// The one that runs here: by what only a running one makes (sd_booted(3); OpenRC's state folder).
    pub(crate) fn detect() -> Option<Self> {
        if Path::new("/run/systemd/system").is_dir() {
            Some(Self::Systemd)
        } else if Path::new("/run/openrc").is_dir() {
            Some(Self::OpenRc)
        } else {
            None
        }
    }
}

/// `skep startup`.
pub(crate) fn run(args: &StartupCommand, context: &Context) -> Result<(), Failure> {
    let setting = setting::read(args, context)?;
    perform(&plan::install(&setting), &setting, args, context)
}

/// `skep unstartup`.
pub(crate) fn undo(args: &StartupCommand, context: &Context) -> Result<(), Failure> {
    let setting = setting::read(args, context)?;
    perform(&plan::remove(&setting), &setting, args, context)
}

fn perform(plan: &Plan, setting: &Setting, args: &StartupCommand, context: &Context) -> Result<(), Failure> {
    if args.print {
        return if context.output.json {
            context.output.print_json(&plan.to_json())
        } else {
            context.output.print(&plan.show())
        };
    }
    if !setting.may_be_carried_out() {
        context.output.print(&plan.show())?;
        context.output.fail(&refusal(plan, setting));
        return Err(Failure::Told(exit::FAILURE));
    }
    carry_out(plan, context)?;
    if context.output.json { context.output.print_json(&plan.to_json()) } else { Ok(()) }
}

/// Why it was not carried out, and the command that does.
pub(crate) fn refusal(plan: &Plan, setting: &Setting) -> Failure {
    let command = setting.as_root(plan.verb);
    match setting.init {
        Init::Launchd => Failure::new(
            ErrorCode::Unsupported,
            "there is no launchd on Linux: the plan above is for a Mac, by hand",
            "`skep startup systemd` is what most machines need",
        ),
        Init::Systemd => Failure::new(
            ErrorCode::Unsupported,
            "only root may change the machine's services; nothing was done",
            format!("{command}   (or a service of your own: `skep {} --user`)", plan.verb),
        ),
        Init::OpenRc => Failure::new(
            ErrorCode::Unsupported,
            "only root may change the machine's services; nothing was done",
            command,
        ),
    }
}

/// For the name `pm2`: what it would do, and whether it may.
pub(crate) fn plan_for(
    args: &StartupCommand,
    installs: bool,
    context: &Context,
) -> Result<(Plan, Setting), Failure> {
    let setting = setting::read(args, context)?;
    let plan = if installs { plan::install(&setting) } else { plan::remove(&setting) };
    Ok((plan, setting))
}

pub(crate) use carry_out::carry_out;
