//! `start`: a known app again, or a new one.

use super::act::{RESTART, all, carry_out, told};
use super::options::WITHOUT_MEANING;
use super::say::Trouble;
use super::select::{Selected, select};
use super::shape::{self, Said};
use super::{Front, conf, files, list, patience, refusal, variables, write};
use crate::machine::Machine;
use crate::settle::Goal;
use crate::start_args::StartArgs;
use skep_api::client::Client;
use skep_api::{AppView, ApplyMode, CreateApp, Status};
use skep_spec::{AppSpec, ExecMode, Instances, SpecError, resolve};

/// What PM2 starts when nothing is named.
const DEFAULT_FILE: &str = "ecosystem.config.js";

/// `mode` is what is done with the apps of a file that are there already.
pub(super) async fn run(mode: ApplyMode, front: &Front) -> Result<(), Trouble> {
    if front.line.has("container") || front.line.has("dist") {
        return Err(Trouble::Error(
            "skep builds no container images: let the image's command be `skep run app.js`, or `pm2 start app.js --no-daemon`"
                .to_owned(),
        ));
    }
    for (option, instead) in WITHOUT_MEANING.iter().filter(|(option, _)| front.line.has(option)) {
        front.say.warn(&format!("--{option} has no effect: {instead}"));
    }
    let words = match front.line.operands.as_slice() {
        [] => vec![DEFAULT_FILE.to_owned()],
        words => words.to_vec(),
    };
    let args = front.line.app()?;
    for word in &words {
        one(word, &args, mode, front).await?;
    }
    list::show(front).await
}

async fn one(word: &str, args: &StartArgs, mode: ApplyMode, front: &Front) -> Result<(), Trouble> {
    let mut client = front.context.connect_or_start().await?;
    let apps = all(&mut client).await?;
    if files::is_file(word, front)? {
        return files::start(word, mode, front).await;
    }
    let is_path = word.contains('/') && front.cwd()?.join(word).is_file();
    if !is_path && let Some(known) = select(word, &apps, &front.cwd()?) {
        let by_path = !apps.iter().any(|app| app.name == word || app.namespace == word)
            && word.parse::<u32>().is_err()
            && word != "all"
            && !word.starts_with('/');
        if !by_path {
            return again(&known, &mut client, front).await;
        }
    }
    if word == "all" {
        return Err(Trouble::Warn("No process found".to_owned()));
    }
    let spec = new_app(word, args, front)?;
    match apps.iter().find(|app| app.name == spec.name && app.script == script_of(&spec)) {
        Some(app) if !front.line.has("force") => {
            if runs(app) {
                return Err(Trouble::Error(
                    "Script already launched, add -f option to force re-execution".to_owned(),
                ));
            }
            let known = select(&app.name, &apps, &front.cwd()?).unwrap_or_default();
            again(&known, &mut client, front).await
        }
        _ => {
            let spec = free_name(spec, &apps);
            if front.line.has("write") {
                write::write(word, args, &spec, front)?;
            }
            create(spec, &mut client, front).await
        }
    }
}

/// PM2 restarts what is started again.
async fn again(known: &Selected, client: &mut Client, front: &Front) -> Result<(), Trouble> {
    carry_out(&RESTART, known, client, front).await?;
    front.say.info("Process successfully started");
    Ok(())
}

fn runs(app: &AppView) -> bool {
    let up = |status: Status| matches!(status, Status::Online | Status::Launching | Status::WaitingRestart);
    app.slots.iter().any(|slot| up(slot.status))
}

fn script_of(spec: &AppSpec) -> String {
    spec.script.clone().or_else(|| spec.command.clone()).unwrap_or_default()
}

/// Names are unique here: a second app of the same name has a number behind it.
pub(super) fn free_name(mut spec: AppSpec, apps: &[AppView]) -> AppSpec {
    let taken = |name: &str| apps.iter().any(|app| app.name == name);
    if taken(&spec.name) {
        let free = (2u32..).map(|n| format!("{}-{n}", spec.name)).find(|name| !taken(name));
        spec.name = free.expect("numbers do not run out before names");
    }
    spec
}

fn new_app(word: &str, args: &StartArgs, front: &Front) -> Result<AppSpec, Trouble> {
    let machine =
        Machine::here().map_err(|error| Trouble::doing("the current directory cannot be used", &error))?;
    let mut raw = args.to_raw(word, &front.line.own_args).map_err(refused)?;
    if args.name.is_none() && is_command_line(word) && !front.cwd()?.join(word).exists() {
        raw.spec.name = shape::name_of_line(word).to_owned();
    }
    if let Some(cron) = &args.cron_restart {
        tell_cron(cron.0.as_ref(), front);
    }
    // PM2 does not look into a script for how many processes it is.
    if args.instances.is_none() && raw.spec.exec_mode.is_none() {
        raw.spec.exec_mode = Some(ExecMode::Fork);
    }
    let mut spec = resolve(raw, &machine).map_err(refused)?.spec;
    if spec.is_node() {
        spec.interpreter_args.extend(source_maps(front));
    } else if args.exec_mode.is_none() {
        spec.exec_mode = None;
    }
    let said = Said {
        instances: args.instances.is_some(),
        exec_mode: spec.exec_mode.is_some(),
        merge_logs: false,
        usual_log: front.line.has("log"),
    };
    shape::complete(&mut spec, said, front.context.home()?.path());
    variables::apply(&mut spec, &|attribute| args.says(attribute), &variables::own).map_err(refused)?;
    Ok(spec)
}

/// Whether PM2 calls it by its text, which has to be one that can be a name here.
fn is_command_line(word: &str) -> bool {
    const NAME_BYTES_MAX: usize = 128;
    let cannot_be = |c: char| c == ',' || c.is_control();
    let name = shape::name_of_line(word);
    let is_name = !name.trim().is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('-')
        && !name.contains(cannot_be);
    word.contains(' ') && is_name
}

/// PM2 tells of a schedule before it starts an app.
pub(super) fn tell_cron(cron: Option<&skep_spec::Cron>, front: &Front) {
    match cron {
        Some(pattern) => front.say.info(&format!("cron restart at {pattern}")),
        None => front.say.info("disabling cron restart"),
    }
}

fn source_maps(front: &Front) -> Option<String> {
    front.line.has("source-map-support").then(|| "--enable-source-maps".to_owned())
}

pub(super) fn refused(error: SpecError) -> Trouble {
    refusal::of_spec(&error)
}

pub(super) async fn create(mut spec: AppSpec, client: &mut Client, front: &Front) -> Result<(), Trouble> {
    conf::hand_on(&mut spec, conf::known(front).as_ref());
    let mode = match spec.exec_mode_choice() {
        ExecMode::Fork => "fork_mode",
        ExecMode::Cluster => "cluster_mode",
    };
    let count = spec.instances.on(processors());
    let plural = if count == 1 { "instance" } else { "instances" };
    front.say.info(&format!("Starting {} in {mode} ({count} {plural})", script_of(&spec)));
    let targets = [spec.name.clone()];
    let timeout_ms = patience::of_specs([&spec]);
    front.acted.borrow_mut().insert(spec.name.clone());
    let lines = client.create(&CreateApp { spec, wait: true, timeout_ms, unless_known: None }).await?;
    match told(lines, &targets, Goal::Running, front).await {
        // The script was started; that it fails is shown by `list`, and by skep's own words.
        Ok(()) | Err(Trouble::Told) => {}
        Err(trouble) => return Err(trouble),
    }
    front.say.info("Done.");
    Ok(())
}

fn processors() -> u32 {
    let all = Instances::Max;
    all.on(u32::try_from(skep_sys::cpus::available()).unwrap_or(1))
}
