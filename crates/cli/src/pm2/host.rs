//! Commands about the machine around the apps: `startup`, `unstartup`.

use super::Front;
use super::say::Trouble;
use crate::host_args::StartupCommand;
use crate::verbs::startup;
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
