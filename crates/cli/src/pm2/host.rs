//! Commands about the machine around the apps: `startup`, `unstartup`, `serve`, `deploy`.

use super::act::all;
use super::say::Trouble;
use super::{Front, list, start};
use crate::args::WaitArgs;
use crate::host_args::{DeployCommand, ServeCommand, StartupCommand};
use crate::machine::Machine;
use crate::verbs::{deploy as deploying, serve as serving, startup};
use std::path::PathBuf;

/// `startup [platform]` and `unstartup [platform]`, with `-u`, `--hp`, `--service-name`, `--wait-ip`.
pub(super) fn startup(installs: bool, front: &Front) -> Result<(), Trouble> {
    let line = &front.line;
    let init = match line.operand(0) {
        Some(word) => Some(
            startup::init(word)
                .map_err(|text| Trouble::Error(format!("Unknown platform: {word}; {text}")))?,
        ),
        None => None,
    };
    let args = StartupCommand {
        init,
        user: false,
        account: line.value("user").map(str::to_owned),
        service_name: line.value("service-name").map(str::to_owned),
        wait_ip: line.has("wait-ip"),
        keep_workers: false,
        now: false,
        print: false,
        root: None,
    };
    // PM2's --hp is the account's home directory; PM2_HOME, if there is one, is already ours.
    let context = match line.value("hp") {
        Some(hp) if std::env::var_os("PM2_HOME").is_none() => {
            &front.context.with_home(PathBuf::from(hp).join(".skep"))
        }
        _ => &front.context,
    };
    let (plan, setting) = startup::plan_for(&args, installs, context)?;
    front.say.info(&format!("Init System found: {}", setting.init.name()));
    if !setting.may_be_carried_out() {
        let what = if installs { "setup" } else { "unsetup" };
        front.say.info(&format!("To {what} the Startup Script, copy/paste the following command:"));
        front.say.line(&setting.as_root(plan.verb));
        return Err(Trouble::Told);
    }
    for file in &plan.writes {
        front.say.info(&format!("Writing init configuration in {}", file.path.display()));
    }
    for path in &plan.removes {
        front.say.info(&format!("Removing {}", path.display()));
    }
    startup::carry_out(&plan, context)?;
    front.say.info("[v] Command successfully executed.");
    plan.notes.iter().for_each(|note| front.say.info(note));
    Ok(())
}

/// `serve [path] [port]`.
pub(super) async fn serve(front: &Front) -> Result<(), Trouble> {
    let line = &front.line;
    let machine =
        Machine::here().map_err(|error| Trouble::doing("the current directory cannot be used", &error))?;
    let port = match line.operand(1).or(line.value("port")) {
        Some(text) => Some(text.parse().map_err(|_| Trouble::Error(format!("{text} is no port")))?),
        None => None,
    };
    let text = |name: &str| line.value(name).map(str::to_owned);
    let args = ServeCommand {
        path: line.operand(0).map(str::to_owned),
        at: port,
        host: None,
        spa: line.has("spa"),
        homepage: None,
        basic_auth_username: text("basic-auth-username"),
        basic_auth_password: text("basic-auth-password"),
        ftp: line.has("ftp"),
        monitor: line.has("monitor").then(|| text("monitor").unwrap_or_default()),
        app: line.app()?,
        wait: WaitArgs { no_wait: false, timeout: None },
    };
    let (spec, notes) = serving::describe(&args, &machine).map_err(start::refused)?;
    notes.iter().for_each(|note| front.say.warn(note));
    let (root, port) = (spec.args.last().cloned().unwrap_or_default(), spec.env["PM2_SERVE_PORT"].clone());
    let mut client = front.context.connect_or_start().await?;
    let apps = all(&mut client).await?;
    start::create(start::free_name(spec, &apps), &mut client, front).await?;
    front.say.info(&format!("Serving {root} on port {port}"));
    list::show(front).await
}

/// `deploy [file] <environment> [command]`.
pub(super) fn deploy(front: &Front) -> Result<(), Trouble> {
    let args = DeployCommand {
        words: front.line.operands.iter().chain(&front.line.own_args).cloned().collect(),
        force: front.line.has("force"),
    };
    deploying::run(&args, deploying::Manner::Pm2, &front.context)?;
    Ok(())
}
