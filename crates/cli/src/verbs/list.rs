//! `list`: a row for each slot.

use super::act::look;
use crate::args::ListCommand;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::progress::Report;
use crate::session::Context;
use crate::table::{Cell, Column, draw};
use anstyle::{AnsiColor, Style};
use skep_api::client::Client;
use skep_api::{AppView, AppsQuery, SlotView, Status, VitalsView};
use std::cmp::Ordering;
use std::io::IsTerminal;
use std::str::FromStr;

/// By what rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sort {
    field: Field,
    descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Name,
    Namespace,
    Pid,
    Cpu,
    Memory,
    Loop,
    Requests,
    Uptime,
    Restarts,
    Status,
}

const FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("name", Field::Name),
    ("namespace", Field::Namespace),
    ("pid", Field::Pid),
    ("cpu", Field::Cpu),
    ("memory", Field::Memory),
    ("loop", Field::Loop),
    ("req/s", Field::Requests),
    ("uptime", Field::Uptime),
    ("restarts", Field::Restarts),
    ("status", Field::Status),
];

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, order) = text.split_once(':').unwrap_or((text, "asc"));
        let Some(&(_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            return Err(format!("{name:?} is not a column; use one of {}", names.join(", ")));
        };
        match order {
            "asc" => Ok(Self { field, descending: false }),
            "desc" => Ok(Self { field, descending: true }),
            other => Err(format!("{other:?} is not an order; use asc or desc")),
        }
    }
}

/// Shows the apps. That skep is not running means that there are none.
pub(crate) async fn run(args: ListCommand, context: &Context) -> Result<(), Failure> {
    let client = context.connect_if_running().await?;
    let running = client.is_some();
    let apps = match client {
        Some(mut client) => {
            // Into a pipe goes what is known at once: a script that wants more says so.
            let vitals = args.vitals || context.output.json || std::io::stdout().is_terminal();
            let query = AppsQuery { vitals, ..AppsQuery::default() };
            look(&args.targets, query, &mut client, context).await?
        }
        None if !args.targets.is_empty() => return Err(Failure::not_running()),
        None => {
            context
                .output
                .say("skep is not running: `skep start app.js` starts it, `skep resurrect` what ran before");
            Vec::new()
        }
    };
    if context.output.json {
        return context.output.print_json(&apps);
    }
    if apps.is_empty() && running {
        context.output.say("there is no app yet: `skep start app.js` adds one");
    }
    context.output.print(&sorted_table(&apps, args.sort, &context.output))
}

/// Shows the apps that a command has reached its goal for: as its answer told, or asked for anew.
pub(crate) async fn show_done(
    report: &Report,
    client: &mut Client,
    context: &Context,
) -> Result<(), Failure> {
    match report.only_app() {
        Some(_) if context.output.json || context.output.quiet => Ok(()),
        Some(app) => context.output.print(&table(std::slice::from_ref(app), &context.output)),
        None => show(&report.done, client, context).await,
    }
}

/// Shows these apps after a command. That one of them is gone by now is no failure of the command.
pub(crate) async fn show(apps: &[String], client: &mut Client, context: &Context) -> Result<(), Failure> {
    if context.output.json || context.output.quiet {
        return Ok(());
    }
    let apps = match look(apps, AppsQuery::default(), client, context).await {
        Ok(apps) => apps,
        Err(Failure::Error(_)) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    context.output.print(&table(&apps, &context.output))
}

/// The table, by id.
pub(crate) fn table(apps: &[AppView], output: &Output) -> String {
    sorted_table(apps, Sort { field: Field::Id, descending: false }, output)
}

const COLUMNS: &[Column] = &[
    Column { title: "id", rank: 0, right: true },
    Column { title: "name", rank: 0, right: false },
    Column { title: "namespace", rank: 6, right: false },
    Column { title: "mode", rank: 5, right: false },
    Column { title: "pid", rank: 4, right: true },
    Column { title: "uptime", rank: 3, right: true },
    Column { title: "↺", rank: 2, right: true },
    Column { title: "status", rank: 0, right: false },
    Column { title: "cpu", rank: 2, right: true },
    Column { title: "memory", rank: 1, right: true },
    Column { title: "loop", rank: 5, right: true },
    Column { title: "busy", rank: 7, right: true },
    Column { title: "req/s", rank: 5, right: true },
    Column { title: "errors", rank: 7, right: true },
    Column { title: "listening on", rank: 8, right: false },
];

fn sorted_table(apps: &[AppView], sort: Sort, output: &Output) -> String {
    let mut rows: Vec<(&AppView, &SlotView)> =
        apps.iter().flat_map(|app| app.slots.iter().map(move |slot| (app, slot))).collect();
    rows.sort_by(|a, b| {
        let order = compare(sort.field, *a, *b);
        let order = if sort.descending { order.reverse() } else { order };
        order.then(a.1.id.cmp(&b.1.id))
    });
    if rows.is_empty() {
        return String::new();
    }
    let spaces = apps.iter().any(|app| app.namespace != "default");
    let cells: Vec<Vec<Cell>> = rows.iter().map(|(app, slot)| row(app, slot, spaces)).collect();
    draw(COLUMNS, &cells, output.width, output.color)
}

fn compare(field: Field, a: (&AppView, &SlotView), b: (&AppView, &SlotView)) -> Ordering {
    match field {
        Field::Id => a.1.id.cmp(&b.1.id),
        Field::Name => a.0.name.cmp(&b.0.name),
        Field::Namespace => a.0.namespace.cmp(&b.0.namespace),
        Field::Pid => a.1.pid.cmp(&b.1.pid),
        Field::Cpu => a.1.cpu_percent.unwrap_or(-1.0).total_cmp(&b.1.cpu_percent.unwrap_or(-1.0)),
        Field::Memory => a.1.memory_bytes.cmp(&b.1.memory_bytes),
        Field::Loop => compare_figures(a, b, human::lateness_ms),
        Field::Requests => compare_figures(a, b, |vitals| vitals.http_requests_per_second),
        Field::Uptime => a.1.uptime_ms.cmp(&b.1.uptime_ms),
        Field::Restarts => a.1.restarts.cmp(&b.1.restarts),
        Field::Status => a.1.status.as_str().cmp(b.1.status.as_str()),
    }
}

/// What is not known is less than everything.
fn compare_figures(
    a: (&AppView, &SlotView),
    b: (&AppView, &SlotView),
    figure: impl Fn(&VitalsView) -> Option<f64>,
) -> Ordering {
    let of = |slot: &SlotView| slot.vitals.as_ref().and_then(&figure).unwrap_or(-1.0);
    of(a.1).total_cmp(&of(b.1))
}

fn row(app: &AppView, slot: &SlotView, spaces: bool) -> Vec<Cell> {
    let addresses: Vec<&str> = app.listeners.iter().map(|listener| listener.address.as_str()).collect();
    let known = slot.vitals.as_ref();
    vec![
        slot.id.to_string().into(),
        Cell::styled(app.name.as_str(), Style::new().bold()),
        spaces.then_some(app.namespace.as_str()).into(),
        app.runtime.to_string().into(),
        slot.pid.into(),
        slot.uptime_ms.filter(|_| slot.pid.is_some()).map(human::uptime).into(),
        slot.restarts.to_string().into(),
        Cell::styled(status_word(app, slot), status_style(slot.status)),
        slot.cpu_percent.map(human::percent).into(),
        slot.memory_bytes.map(human::memory).into(),
        known.and_then(human::lateness_ms).map(human::span).into(),
        known.and_then(|vitals| vitals.event_loop_utilization).map(human::share).into(),
        known.and_then(|vitals| vitals.http_requests_per_second).map(human::rate).into(),
        known.and_then(|vitals| vitals.http_error_share).map(human::share).into(),
        Some(addresses.join(" ")).filter(|text| !text.is_empty()).into(),
    ]
}

/// What another host runs is not just stopped.
fn status_word(app: &AppView, slot: &SlotView) -> &'static str {
    match &app.singleton {
        Some(singleton) if singleton.needed && slot.status == Status::Stopped => "standby",
        Some(_) | None => slot.status.as_str(),
    }
}

/// The colour of a status.
pub(crate) fn status_style(status: Status) -> Style {
    match status {
        Status::Online => AnsiColor::Green.on_default(),
        Status::Launching | Status::Stopping | Status::WaitingRestart => AnsiColor::Yellow.on_default(),
        Status::Stopped => AnsiColor::BrightBlack.on_default(),
        Status::Errored => AnsiColor::Red.on_default(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use skep_api::ListenerView;
    use skep_spec::{Balance, Instances, Runtime};

    pub(crate) fn slot(id: u32, status: Status) -> SlotView {
        let runs = status == Status::Online;
        SlotView {
            id,
            index: id,
            status,
            worker: runs.then_some(id + 1),
            pid: runs.then_some(4_200 + id),
            successor_pid: None,
            restarts: id,
            unstable_restarts: 0,
            uptime_ms: runs.then_some(125_000),
            restart_in_ms: None,
            memory_bytes: runs.then_some(47_500_000),
            cpu_percent: runs.then_some(1.25),
            vitals: None,
            last_exit: None,
            actions: vec![],
            metrics: serde_json::Map::new(),
            out_file: None,
            error_file: None,
        }
    }

    pub(crate) fn app(name: &str, slots: Vec<SlotView>) -> AppView {
        AppView {
            id: 1,
            name: name.into(),
            namespace: "default".into(),
            status: Status::Online,
            instances: Instances::Count(2),
            instances_wanted: 2,
            argv: vec!["/usr/bin/node".into(), "/srv/app.js".into()],
            script: "/srv/app.js".into(),
            cwd: "/srv".into(),
            runtime: Runtime::Node,
            runtime_reason: "it is a Node.js script".into(),
            created_unix_ms: 0,
            slots,
            listeners: vec![ListenerView {
                address: "0.0.0.0:8080".into(),
                balance: Balance::Auto,
                selection: "ebpf-rr".into(),
                reason: "BPF is allowed".into(),
                queues: vec![],
            }],
            singleton: None,
            cannot_listen: None,
            rollout: None,
            spec: None,
        }
    }

    fn at(width: Option<usize>, color: bool) -> String {
        let output = Output { json: false, color, error_color: false, width, quiet: false };
        let apps = [
            app("shop-frontend", vec![slot(0, Status::Online), slot(1, Status::Online)]),
            AppView { listeners: vec![], ..app("jobs", vec![slot(2, Status::WaitingRestart)]) },
        ];
        table(&apps, &output)
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        assert_eq!(
            at(Some(200), false),
            "\
id  name           mode   pid  uptime  ↺  status            cpu  memory  listening on
 0  shop-frontend  node  4200      2m  0  online           1.2%   45.2M  0.0.0.0:8080
 1  shop-frontend  node  4201      2m  1  online           1.2%   45.2M  0.0.0.0:8080
 2  jobs           node     -       -  2  waiting restart     -       -  -
"
        );
    }

    #[test]
    fn eighty_columns_are_enough_to_see_what_matters() {
        assert_eq!(
            at(Some(80), false),
            "\
id  name           mode   pid  uptime  ↺  status            cpu  memory
 0  shop-frontend  node  4200      2m  0  online           1.2%   45.2M
 1  shop-frontend  node  4201      2m  1  online           1.2%   45.2M
 2  jobs           node     -       -  2  waiting restart     -       -
"
        );
    }

    #[test]
    fn forty_columns_keep_id_name_and_status() {
        assert_eq!(
            at(Some(40), false),
            "\
id  name           status
 0  shop-frontend  online
 1  shop-frontend  online
 2  jobs           waiting restart
"
        );
    }

    #[test]
    fn a_pipe_gets_everything_and_no_colours() {
        let piped = at(None, false);
        assert_eq!(piped, at(Some(200), false));
        assert!(!piped.contains('\u{1b}'));
        assert!(at(None, true).contains("\u{1b}[32monline\u{1b}[0m"));
    }

    #[test]
    fn rows_are_sorted_as_asked() {
        let ids = |sort: &str| -> Vec<String> {
            let apps = [app("b", vec![slot(0, Status::Online)]), app("a", vec![slot(1, Status::Stopped)])];
            let output = Output { json: false, color: false, error_color: false, width: None, quiet: false };
            let text = sorted_table(&apps, sort.parse().unwrap(), &output);
            text.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
        };
        assert_eq!(ids("name"), ["1", "0"]);
        assert_eq!(ids("memory:desc"), ["0", "1"]);
        assert_eq!(ids("restarts:desc"), ["1", "0"]);
        assert!("colour".parse::<Sort>().unwrap_err().contains("memory"));
        assert!("name:up".parse::<Sort>().is_err());
    }
}
