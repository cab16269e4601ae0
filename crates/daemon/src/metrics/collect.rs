//! Which figures there are: names, units and labels, as the Prometheus conventions have them (base units, `_total`).

use skep_api::StateQueue;
use skep_core::{AppView, SlotView, Status};
use skep_node_ipc::Measured;

use super::exposition::{Exposition, Kind};
use super::jobs::about_jobs;
use super::seconds;
use crate::driver::{Driver, now, unix_ms};
use crate::usage;

/// The labels and figures of one slot, gathered once for all families.
struct Row {
    app: String,
    namespace: String,
    index: String,
    slot: SlotView,
    pid: Option<u32>,
    cpu_seconds: Option<f64>,
    memory_bytes: Option<u64>,
    open_fds: Option<u64>,
    started_unix: Option<f64>,
    reply_seconds: Option<f64>,
    measured: Option<Measured>,
    utilization: Option<f64>,
    custom: Vec<(String, f64)>,
}

impl Row {
    fn labels(&self) -> Vec<(&str, &str)> {
        vec![("app", &self.app), ("namespace", &self.namespace), ("index", &self.index)]
    }

    fn with<'a>(&'a self, name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut labels = self.labels();
        labels.push((name, value));
        labels
    }
}

const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Driver {
    /// All figures as Prometheus's text. `loop_seconds` is how long the daemon's own event loop took for one round;
    /// `durable` are the queues on the disk, which is read beside the loop.
    pub(crate) fn exposition(&mut self, loop_seconds: f64, durable: Vec<StateQueue>) -> String {
        let apps = self.fleet.apps();
        let places: Vec<(&AppView, &SlotView)> =
            apps.iter().flat_map(|app| app.slots.iter().map(move |slot| (app, slot))).collect();
        let rows: Vec<Row> = places.into_iter().map(|(app, slot)| self.row(app, slot)).collect();
        let mut out = Exposition::default();
        self.about_skep(&mut out, loop_seconds, apps.len());
        about_processes(&mut out, &rows);
        about_restarts(&mut out, &rows);
        about_loops(&mut out, &rows);
        about_http(&mut out, &rows);
        about_custom(&mut out, &rows);
        self.about_listeners(&mut out);
        about_jobs(&mut out, &self.job_views());
        self.about_queues(durable, &mut out);
        self.about_hosts(&mut out);
        out.finish()
    }

    fn row(&self, app: &AppView, slot: &SlotView) -> Row {
        let at = now();
        let seen = slot.worker.as_ref();
        let pid = seen.and_then(|worker| worker.pid).filter(|pid| *pid > 0);
        let used = pid.and_then(|pid| usage::of(pid, at));
        let worker = seen.and_then(|worker| self.workers.get(&worker.id));
        let vitals = worker.map(|worker| &worker.vitals);
        Row {
            app: app.name.clone(),
            namespace: app.namespace.clone(),
            index: slot.index.to_string(),
            slot: slot.clone(),
            pid,
            cpu_seconds: used.map(|used| used.cpu.busy_ns as f64 / 1e9),
            memory_bytes: used.map(|used| used.memory_bytes),
            open_fds: pid.and_then(usage::open_descriptors),
            started_unix: seen.map(|worker| unix_ms() as f64 / 1e3 - seconds(at.since(worker.started))),
            reply_seconds: vitals.and_then(|vitals| vitals.reply(at)).map(seconds),
            measured: vitals.and_then(|vitals| vitals.fresh(at)).cloned(),
            utilization: seen
                .and_then(|worker| self.vitals_view(worker.id))
                .and_then(|view| view.event_loop_utilization),
            custom: worker.map(|worker| figures(&worker.told.monitor)).unwrap_or_default(),
        }
    }

    fn about_skep(&self, out: &mut Exposition, loop_seconds: f64, apps: usize) {
        let bare = |value: f64| [(vec![], value)];
        let version = [(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)];
        out.family("skep_build_info", Kind::Gauge, "The running version of skep.", version);
        let started = unix_ms() as f64 / 1e3 - seconds(now().since(self.site.started));
        let name = "skep_daemon_start_time_seconds";
        out.family(name, Kind::Gauge, "When this daemon started, since 1970.", bare(started));
        let restarts = self.site.generation.saturating_sub(1) as f64;
        let help = "How often the keeper has started the daemon anew.";
        out.family("skep_daemon_restarts_total", Kind::Counter, help, bare(restarts));
        let help = "How long one round of the daemon's event loop took.";
        out.family("skep_daemon_loop_delay_seconds", Kind::Gauge, help, bare(loop_seconds));
        let own = [("daemon", std::process::id()), ("keeper", self.site.keeper_pid as u32)]
            .map(|(process, pid)| (process, usage::of(pid, now())));
        let memory = own
            .iter()
            .filter_map(|(process, used)| Some((vec![("process", *process)], (*used)?.memory_bytes as f64)));
        out.family("skep_resident_memory_bytes", Kind::Gauge, "Memory of skep's own processes.", memory);
        let cpu = own.iter().filter_map(|(process, used)| {
            Some((vec![("process", *process)], (*used)?.cpu.busy_ns as f64 / 1e9))
        });
        out.family("skep_cpu_seconds_total", Kind::Counter, "Processor time of skep's own processes.", cpu);
        out.family("skep_apps", Kind::Gauge, "Apps that skep knows.", bare(apps as f64));
    }

    fn about_listeners(&mut self, out: &mut Exposition) {
        let apps = self.fleet.apps();
        let mut queues = Vec::new();
        for entry in self.ports.entries.values_mut() {
            let Some(app) = apps.iter().find(|app| app.id == entry.app) else { continue };
            let address = entry.group.address().to_string();
            for (slot, queue) in entry.group.queues() {
                let index = app.slots.iter().find(|seen| seen.id == slot).map(|seen| seen.index.to_string());
                if let (Some(index), Some(queue)) = (index, queue) {
                    queues.push((app, address.clone(), index, queue));
                }
            }
        }
        let samples = |value: fn(u32, u32) -> u32| {
            queues.iter().map(move |(app, address, index, queue)| {
                let labels: Vec<(&str, &str)> = vec![
                    ("app", &app.name),
                    ("namespace", &app.namespace),
                    ("index", index),
                    ("address", address),
                ];
                (labels, f64::from(value(queue.waiting, queue.limit)))
            })
        };
        let help = "Connections that wait to be accepted.";
        out.family("skep_listener_queue_connections", Kind::Gauge, help, samples(|waiting, _| waiting));
        let help = "Connections that may wait to be accepted.";
        out.family("skep_listener_queue_limit_connections", Kind::Gauge, help, samples(|_, limit| limit));
    }
}

/// One sample a slot that has the figure.
fn each<'a>(
    out: &mut Exposition,
    (name, kind, help): (&str, Kind, &str),
    rows: &'a [Row],
    value: impl Fn(&'a Row) -> Option<f64>,
) {
    out.family(name, kind, help, rows.iter().filter_map(|row| Some((row.labels(), value(row)?))));
}

fn about_processes(out: &mut Exposition, rows: &[Row]) {
    use Kind::{Counter, Gauge};
    let up = |row: &Row| Some(f64::from(u8::from(row.slot.status == Status::Online)));
    each(
        out,
        ("skep_worker_up", Gauge, "1 for a worker that serves, 0 for an instance that does not."),
        rows,
        up,
    );
    let help = "When the worker's process started, since 1970.";
    each(out, ("skep_worker_start_time_seconds", Gauge, help), rows, |row| {
        row.started_unix.filter(|_| row.pid.is_some())
    });
    let help = "Processor time that the worker has used.";
    each(out, ("skep_worker_cpu_seconds_total", Counter, help), rows, |row| row.cpu_seconds);
    let help = "Resident memory of the worker.";
    each(out, ("skep_worker_resident_memory_bytes", Gauge, help), rows, |row| Some(row.memory_bytes? as f64));
    each(out, ("skep_worker_open_fds", Gauge, "Descriptors that the worker has open."), rows, |row| {
        Some(row.open_fds? as f64)
    });
}

fn about_restarts(out: &mut Exposition, rows: &[Row]) {
    let samples = rows.iter().flat_map(|row| {
        let counts = row.slot.restarts;
        [
            ("crash", counts.crash),
            ("user", counts.user),
            ("schedule", counts.schedule),
            ("memory", counts.memory),
            ("watch", counts.watch),
            ("update", counts.update),
        ]
        .map(|(reason, count)| (row.with("reason", reason), f64::from(count)))
    });
    let help = "How often the instance got a new worker, by reason.";
    out.family("skep_worker_restarts_total", Kind::Counter, help, samples);
    let help = "Exits in a row that came too soon after the start.";
    each(out, ("skep_worker_unstable_restarts", Kind::Gauge, help), rows, |row| {
        Some(row.slot.unstable.into())
    });
}

fn about_loops(out: &mut Exposition, rows: &[Row]) {
    use Kind::{Counter, Gauge};
    let help = "How long the worker took to answer skep's last question over its channel.";
    each(out, ("skep_worker_reply_delay_seconds", Gauge, help), rows, |row| row.reply_seconds);
    for (at, name, what) in
        [(0, "mean", "on average"), (2, "p99", "in 99 of 100 cases at most"), (3, "max", "at most")]
    {
        let help = format!("How late the event loop was since the last look, {what}.");
        let name = format!("skep_worker_event_loop_delay_{name}_seconds");
        each(out, (&name, Gauge, &help), rows, |row| Some(row.measured.as_ref()?.delay?[at] / 1e3));
    }
    let help = "The share of the time since the last look that the event loop worked, from 0 to 1.";
    each(out, ("skep_worker_event_loop_utilization_ratio", Gauge, help), rows, |row| row.utilization);
    let measured = |value: fn(&Measured) -> f64| move |row: &Row| row.measured.as_ref().map(value);
    let help = "Time that the event loop has worked; its rate is the utilisation.";
    each(
        out,
        ("skep_worker_event_loop_active_seconds_total", Counter, help),
        rows,
        measured(|m| m.event_loop[1] / 1e3),
    );
    let help = "Time that the event loop has waited.";
    each(
        out,
        ("skep_worker_event_loop_idle_seconds_total", Counter, help),
        rows,
        measured(|m| m.event_loop[0] / 1e3),
    );
    let help = "Bytes of the JavaScript heap in use.";
    each(out, ("skep_worker_heap_used_bytes", Gauge, help), rows, measured(|m| m.heap[0]));
    each(
        out,
        ("skep_worker_heap_size_bytes", Gauge, "Bytes of the JavaScript heap."),
        rows,
        measured(|m| m.heap[1]),
    );
    let help = "Bytes that JavaScript objects hold outside the heap.";
    each(out, ("skep_worker_external_memory_bytes", Gauge, help), rows, measured(|m| m.heap[2]));
}

fn about_http(out: &mut Exposition, rows: &[Row]) {
    let asked: Vec<(&Row, &Measured)> =
        rows.iter().filter_map(|row| Some((row, row.measured.as_ref()?))).collect();
    let samples = asked.iter().flat_map(|(row, measured)| {
        CODES.iter().zip(measured.codes).map(|(code, count)| (row.with("code", code), count as f64))
    });
    let help = "HTTP/1 responses by class of their status, since skep was first asked.";
    out.family("skep_worker_http_responses_total", Kind::Counter, help, samples);
    let samples = asked.iter().map(|(row, measured)| (row.labels(), measured.accepted as f64));
    let help = "Connections that the worker has accepted, since skep was first asked.";
    out.family("skep_worker_accepted_connections_total", Kind::Counter, help, samples);
    if asked.is_empty() {
        return;
    }
    let name = "skep_worker_http_response_duration_seconds";
    out.head(
        name,
        Kind::Histogram,
        "Time from an HTTP/1 request's head to its answer's end; sampled under load.",
    );
    for (row, measured) in asked {
        let bounds = measured.bounds.iter().map(|bound| bound / 1e3);
        out.histogram(name, &row.labels(), bounds, &measured.buckets, measured.latency / 1e3);
    }
}

fn about_custom(out: &mut Exposition, rows: &[Row]) {
    let samples =
        rows.iter().flat_map(|row| row.custom.iter().map(|(name, value)| (row.with("name", name), *value)));
    out.family("skep_worker_custom_metric", Kind::Gauge, "Metrics of the app's own, by @pm2/io.", samples);
}

/// An app's own metrics that are numbers, or texts that begin with one (`12.5ms`).
fn figures(monitor: &serde_json::Map<String, serde_json::Value>) -> Vec<(String, f64)> {
    let number = |value: &serde_json::Value| match value.get("value").unwrap_or(value) {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => {
            let end =
                text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-'))).unwrap_or(text.len());
            text[..end].parse().ok()
        }
        _ => None,
    };
    monitor.iter().filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect()
}
