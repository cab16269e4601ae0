//! A slot as an entry of PM2's `jlist`.

use serde_json::{Map, Value, json};
use skep_api as api;
use skep_core::{self as core, SlotId};
use skep_spec::AppSpec;

use super::{PM2_VERSION, Past, Told, identity};
use crate::driver::{Driver, now, unix_ms};
use crate::launch::{Facts, Place};
use crate::views::unix_ms_of;

/// Parts of a spec that stand elsewhere in an entry, or nowhere.
const ELSEWHERE: &[&str] = &[
    "name",
    "namespace",
    "script",
    "command",
    "cwd",
    "env",
    "inherited_env",
    "interpreter",
    "interpreter_args",
    "exec_mode",
    "instances",
    "instance_var",
    "out_file",
    "error_file",
    "log_file",
    "pid_file",
];

impl Driver {
    /// Every slot, or these, by id.
    pub(crate) fn pm2_processes(&mut self, only: Option<&[SlotId]>) -> Vec<Value> {
        let mut entries = Vec::new();
        for app in self.fleet.apps() {
            let spec = self.specs.get(&(app.id, app.revision)).cloned().unwrap_or_default();
            for slot in &app.slots {
                if only.is_none_or(|only| only.contains(&slot.id)) {
                    entries.push((slot.id, self.pm2_process(&app, &spec, slot)));
                }
            }
        }
        entries.sort_by_key(|(id, _)| *id);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn pm2_process(&mut self, app: &core::AppView, spec: &AppSpec, slot: &core::SlotView) -> Value {
        let view = self.slot_view(spec, slot);
        let told = slot.worker.as_ref().and_then(|worker| self.workers.get(&worker.id));
        let told = told.map(|worker| worker.told.clone()).unwrap_or_default();
        let place = Place {
            worker: slot.worker.as_ref().map_or(skep_core::WorkerId(0), |worker| worker.id),
            app: app.id,
            slot: slot.id,
            index: slot.index,
            past: past_of(app, slot, None),
        };
        let facts = self.facts(None);
        let pm2_env = pm2_env(spec, place, facts, &told, slot, &view);
        let monit = json!({
            "memory": view.memory_bytes.unwrap_or_default(),
            "cpu": rounded(view.cpu_percent.unwrap_or_default()),
        });
        json!({
            "pid": view.pid.unwrap_or_default(),
            "name": app.name,
            "pm2_env": pm2_env,
            "pm_id": slot.id.0,
            "monit": monit,
        })
    }

    /// What the daemon knows and the spec does not.
    pub(crate) fn facts<'a>(&'a self, preload: Option<&'a std::path::Path>) -> Facts<'a> {
        Facts { home: &self.site.home, skep: &self.site.skep, user: &self.site.user, preload }
    }
}

/// To tenths; a whole number has no point, as in JavaScript.
fn rounded(percent: f32) -> Value {
    let tenths = (f64::from(percent) * 10.0).round();
    if tenths % 10.0 == 0.0 { json!((tenths / 10.0) as u64) } else { json!(tenths / 10.0) }
}

/// What happened in a slot up to now, or will have when `worker` has its place: who takes over from another one is told
/// of a restart before it is counted.
pub(crate) fn past_of(app: &core::AppView, slot: &core::SlotView, worker: Option<core::WorkerId>) -> Past {
    let takes_over = slot.successor.as_ref().is_some_and(|successor| Some(successor.id) == worker);
    Past {
        restarts: slot.restarts.total() + u32::from(takes_over),
        unstable_restarts: slot.unstable,
        created_unix_ms: unix_ms_of(slot.created),
        now_unix_ms: unix_ms(),
        instances: app.slots.iter().filter(|slot| !slot.leaving).count() as u32,
    }
}

/// PM2 takes a forked process for online once it was started.
fn status(spec: &AppSpec, view: &api::SlotView) -> api::Status {
    let forked = spec.exec_mode_choice() == skep_spec::ExecMode::Fork;
    match view.status {
        api::Status::Launching if forked && !spec.wait_ready => api::Status::Online,
        other => other,
    }
}

fn pm2_env(
    spec: &AppSpec,
    place: Place,
    facts: Facts<'_>,
    told: &Told,
    slot: &core::SlotView,
    view: &api::SlotView,
) -> Map<String, Value> {
    let environment = spec.environment();
    let mut env: Map<String, Value> =
        environment.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    // PM2 has the environment in here twice, flat and whole; scripts read either.
    let mut all = env.clone();
    settings(spec, &mut all);
    for (name, value) in identity(spec, place, facts) {
        all.insert(name.to_owned(), typed(name, value));
    }
    all.insert(spec.instance_var.clone(), json!(place.index));
    all.insert("node_args".to_owned(), json!(spec.interpreter_args));
    if !spec.args.is_empty() {
        all.insert("args".to_owned(), json!(spec.args));
    }
    all.insert("filter_env".to_owned(), json!(spec.filter_env));
    let watch = match &spec.watch {
        skep_spec::Watch::All(on) => json!(on),
        skep_spec::Watch::Path(path) => json!([path]),
        skep_spec::Watch::Paths(paths) => json!(paths),
    };
    all.insert("watch".to_owned(), watch);
    all.insert("status".to_owned(), json!(status(spec, view).as_str()));
    all.insert("pm_uptime".to_owned(), json!(started_unix_ms(slot, place.past)));
    all.insert("axm_actions".to_owned(), json!(told.actions));
    all.insert("axm_monitor".to_owned(), json!(told.monitor));
    all.insert("axm_options".to_owned(), json!(told.options));
    all.insert("axm_dynamic".to_owned(), json!({}));
    all.insert("versioning".to_owned(), Value::Null);
    if identity::exec_mode(spec) == "cluster_mode" {
        all.insert("_pm2_version".to_owned(), json!(PM2_VERSION));
    }
    if slot.worker.is_some() || view.last_exit.is_some() {
        let version = told.version.clone().or_else(|| version_of(spec));
        all.insert("version".to_owned(), json!(version.as_deref().unwrap_or("N/A")));
    }
    if let Some(version) = &told.node_version {
        all.insert("node_version".to_owned(), json!(version));
    }
    if let Some(exit) = &view.last_exit {
        all.insert("exit_code".to_owned(), json!(exit.code.or(exit.signal).unwrap_or_default()));
    }
    all.insert("prev_restart_delay".to_owned(), json!(slot.backoff.as_millis()));
    // What `pm2 set app:key value` has said, as text; an empty object where nothing was.
    env.entry(spec.name.clone()).or_insert_with(|| json!({}));
    env.insert("unique_id".to_owned(), all.get("unique_id").cloned().unwrap_or_default());
    all.insert("env".to_owned(), Value::Object(env));
    all
}

/// What the user asked for beyond the defaults, in PM2's names where they are ours too.
fn settings(spec: &AppSpec, all: &mut Map<String, Value>) {
    let fields = |spec: &AppSpec| match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let defaults = fields(&AppSpec::default());
    for (name, value) in fields(spec) {
        if !ELSEWHERE.contains(&name.as_str()) && defaults.get(&name) != Some(&value) {
            all.insert(name, value);
        }
    }
}

/// Variables are text; in JSON, PM2's are what they were before.
fn typed(name: &str, text: String) -> Value {
    const TEXTS: &[&str] = &["name", "namespace", "username", "unique_id", "pm_exec_path", "pm_cwd"];
    if TEXTS.contains(&name) {
        return json!(text);
    }
    match text.as_str() {
        "true" => json!(true),
        "false" => json!(false),
        _ => text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number)),
    }
}

fn started_unix_ms(slot: &core::SlotView, past: Past) -> u64 {
    match (&slot.worker, slot.last_exit) {
        (Some(worker), _) => unix_ms_of(worker.started),
        (None, Some(exit)) => {
            unix_ms().saturating_sub(now().since(exit.at).as_millis() + exit.uptime.as_millis())
        }
        (None, None) => past.created_unix_ms,
    }
}

/// For a slot without a worker that could have said it.
fn version_of(spec: &AppSpec) -> Option<String> {
    super::version_near(spec.script.as_deref()?.as_ref())
}
