//! `describe`: all about one app.

use super::act::look;
use super::list::status_style;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::session::Context;
use crate::table::{Cell, Column, draw, paint, printable};
use anstyle::Style;
use skep_api::{AppView, AppsQuery, Detail, ListenerView, SlotView};
use skep_spec::AppSpec;

/// Shows the apps that the targets mean, one after the other.
pub(crate) async fn run(targets: &[String], context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let apps = look(targets, AppsQuery { detail: Detail::Full, vitals: true }, &mut client, context).await?;
    if context.output.json {
        return context.output.print_json(&apps);
    }
    let texts: Vec<String> = apps.iter().map(|app| describe(app, &context.output)).collect();
    context.output.print(&texts.join("\n"))
}

/// The width of the first column: the longest title and a gap.
const TITLE_WIDTH: usize = 15;

fn field(title: &str, value: &str, output: &Output) -> String {
    let padding = " ".repeat(TITLE_WIDTH.saturating_sub(title.len()));
    format!("{}{padding}{}\n", paint(title, Style::new().bold(), output.color), printable(value))
}

fn describe(app: &AppView, output: &Output) -> String {
    let mut text = field("name", &app.name, output);
    let status = paint(app.status.as_str(), status_style(app.status), output.color);
    let title = paint("status", Style::new().bold(), output.color);
    text.push_str(&format!("{title}{}{status}\n", " ".repeat(TITLE_WIDTH - "status".len())));
    let mut add = |title: &str, value: &str| text.push_str(&field(title, value, output));
    if let Some(rollout) = &app.rollout {
        add(
            "reload",
            &format!("{} of {} done, waiting for {}", rollout.done, rollout.total, rollout.waiting_for),
        );
    }
    add("namespace", &app.namespace);
    add("runs", &app.argv.join(" "));
    add("in", &app.cwd);
    add("instances", &instances(app));
    add("runtime", &format!("{}: {}", app.runtime, app.runtime_reason));
    if let Some(singleton) = &app.singleton {
        add("singleton", &singleton.to_string());
    }
    if let Some(why) = &app.cannot_listen {
        add("cannot listen", why);
    }
    if let Some(spec) = &app.spec {
        for (title, value) in changed(spec) {
            add(title, &value);
        }
    }
    text.push('\n');
    text.push_str(&draw(
        SLOT_COLUMNS,
        &app.slots.iter().map(slot_row).collect::<Vec<_>>(),
        output.width,
        output.color,
    ));
    for slot in &app.slots {
        for (stream, file) in [("out", &slot.out_file), ("error", &slot.error_file)] {
            if let Some(file) = file {
                text.push_str(&field(&format!("{} {stream}", slot.id), file, output));
            }
        }
    }
    for slot in &app.slots {
        text.push_str(&told(slot, output));
    }
    for listener in &app.listeners {
        text.push('\n');
        text.push_str(&describe_listener(listener, output));
    }
    text
}

/// What a worker tells of itself: its metrics, and the actions that `skep trigger` calls.
fn told(slot: &SlotView, output: &Output) -> String {
    let mut text = String::new();
    for (name, value) in slot.vitals.as_ref().map(human::vitals).unwrap_or_default() {
        text.push_str(&field(&format!("{} {name}", slot.id), &value, output));
    }
    for (name, value) in crate::pm2::metric_rows(&slot.metrics) {
        text.push_str(&field(&format!("{} {name}", slot.id), &format!(" {value}"), output));
    }
    if !slot.actions.is_empty() {
        text.push_str(&field(&format!("{} actions", slot.id), &slot.actions.join(", "), output));
    }
    text
}

fn instances(app: &AppView) -> String {
    let asked = app.instances.to_string();
    let wanted = app.instances_wanted.to_string();
    if asked == wanted { wanted } else { format!("{wanted} ({asked} was asked for)") }
}

/// What was asked for and is not the default, in the words of the flags.
fn changed(spec: &AppSpec) -> Vec<(&'static str, String)> {
    let usual = AppSpec::default();
    let mut out = Vec::new();
    let mut add = |title, differs: bool, value: String| {
        if differs {
            out.push((title, value));
        }
    };
    add("balance", spec.balance != usual.balance, spec.balance.to_string());
    add("drain", spec.drain != usual.drain, spec.drain.to_string());
    let closes = spec.drain_websockets != usual.drain_websockets;
    add("drain websockets", closes, spec.drain_websockets.to_string());
    add("autorestart", !spec.autorestart, "no".to_owned());
    add("max restarts", spec.max_restarts != usual.max_restarts, spec.max_restarts.to_string());
    add("min uptime", spec.min_uptime != usual.min_uptime, spec.min_uptime.to_string());
    add("restart delay", spec.restart_delay != usual.restart_delay, spec.restart_delay.to_string());
    let backoff = spec.exp_backoff_restart_delay;
    if let Some(cron) = &spec.cron_restart {
        let zone = spec.cron_timezone.as_ref().map(|zone| format!(" ({zone})")).unwrap_or_default();
        add("cron restart", true, format!("{cron}{zone}"));
    }
    if spec.watch.is_on() {
        let ignored = match spec.ignore_watch.as_slice() {
            [] => String::new(),
            some => format!(" without {}", some.join(", ")),
        };
        add("watches", true, format!("{}{ignored}", spec.watch));
    }
    if let Some(limit) = spec.max_memory_restart {
        let whose = if spec.max_memory_tree { " with its processes" } else { "" };
        add("max memory", true, format!("{limit} a worker{whose}"));
    }
    add("backoff", backoff != usual.exp_backoff_restart_delay, backoff.to_string());
    add("kill signal", spec.kill_signal != usual.kill_signal, spec.kill_signal.to_string());
    add("kill timeout", spec.kill_timeout != usual.kill_timeout, spec.kill_timeout.to_string());
    add("ready when", spec.wait_ready, "it says so".to_owned());
    add("listen timeout", spec.listen_timeout != usual.listen_timeout, spec.listen_timeout.to_string());
    for (title, probe) in [("readiness", &spec.readiness), ("liveness", &spec.liveness)] {
        add(title, probe.is_some(), probe.as_ref().map(skep_spec::Probe::summary).unwrap_or_default());
    }
    add("max surge", spec.max_surge != usual.max_surge, spec.max_surge.to_string());
    let unavailable = spec.max_unavailable;
    add("max missing", unavailable != usual.max_unavailable, unavailable.to_string());
    if let Some(user) = &spec.uid {
        add("user", true, user.to_string());
    }
    out
}

const SLOT_COLUMNS: &[Column] = &[
    Column { title: "id", rank: 0, right: true },
    Column { title: "worker", rank: 5, right: true },
    Column { title: "pid", rank: 2, right: true },
    Column { title: "status", rank: 0, right: false },
    Column { title: "uptime", rank: 2, right: true },
    Column { title: "↺", rank: 1, right: true },
    Column { title: "cpu", rank: 4, right: true },
    Column { title: "memory", rank: 3, right: true },
    Column { title: "last exit", rank: 6, right: false },
];

fn slot_row(slot: &SlotView) -> Vec<Cell> {
    let status = match (slot.restart_in_ms, slot.successor_pid) {
        (Some(ms), _) => format!("{} in {}", slot.status, human::uptime(ms)),
        (None, Some(pid)) => format!("{}, {pid} takes over", slot.status),
        (None, None) => slot.status.to_string(),
    };
    vec![
        slot.id.to_string().into(),
        slot.worker.into(),
        slot.pid.into(),
        Cell::styled(status, status_style(slot.status)),
        slot.uptime_ms.map(human::uptime).into(),
        slot.restarts.to_string().into(),
        slot.cpu_percent.map(human::percent).into(),
        slot.memory_bytes.map(human::memory).into(),
        slot.last_exit.as_ref().map(|exit| exit.message.as_str()).into(),
    ]
}

fn describe_listener(listener: &ListenerView, output: &Output) -> String {
    let mut text = field("listening on", &listener.address, output);
    let balance = format!("{} by {}: {}", listener.balance, listener.selection, listener.reason);
    text.push_str(&field("balance", &balance, output));
    let queues: Vec<String> = listener
        .queues
        .iter()
        .map(|queue| format!("{}: {}/{}", queue.slot, queue.waiting, queue.limit))
        .collect();
    if !queues.is_empty() {
        text.push_str(&field("queues", &queues.join("  "), output));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::list::tests::{app, slot};
    use skep_api::{ExitView, QueueView, Status};
    use skep_spec::{Instances, Millis};

    #[test]
    fn a_description_tells_what_is_particular() {
        let mut view = app("web", vec![slot(0, Status::Online), slot(1, Status::WaitingRestart)]);
        view.instances = Instances::Max;
        view.slots[0].out_file = Some("/h/logs/web-out-0.log".into());
        view.slots[1].restart_in_ms = Some(1_500);
        view.slots[1].last_exit =
            Some(ExitView { code: Some(1), signal: None, message: "exited with code 1".into() });
        view.listeners[0].queues = vec![QueueView { slot: 0, waiting: 3, limit: 511 }];
        view.spec = Some(Box::new(AppSpec { kill_timeout: Millis(5_000), ..AppSpec::default() }));
        let output = Output { json: false, color: false, error_color: false, width: Some(100), quiet: false };
        assert_eq!(
            describe(&view, &output),
            "\
name           web
status         online
namespace      default
runs           /usr/bin/node /srv/app.js
in             /srv
instances      2 (max was asked for)
runtime        node: it is a Node.js script
kill timeout   5s

id  worker   pid  status                 uptime  ↺   cpu  memory  last exit
 0       1  4200  online                     2m  0  1.2%   45.2M  -
 1       -     -  waiting restart in 1s       -  1     -       -  exited with code 1
0 out          /h/logs/web-out-0.log

listening on   0.0.0.0:8080
balance        auto by ebpf-rr: BPF is allowed
queues         0: 3/511
"
        );
    }
}
