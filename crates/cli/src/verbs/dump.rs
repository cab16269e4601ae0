//! `dump.pm2`: what runs, in PM2's own file, and starting it from there.

use crate::failure::Failure;
use crate::pm2;
use crate::progress::Report;
use crate::session::Context;
use crate::settle::Goal;
use serde_json::{Map, Value};
use skep_api::client::ClientError;
use skep_api::{Act, AppsQuery, CreateApp, Detail, ErrorCode, Route};
use skep_spec::{AppSpec, ExecMode, Instances, LogFile};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file in the home.
pub(crate) const FILE: &str = "dump.pm2";
/// Where an app's own description stands, so that nothing is lost between two skeps. PM2 passes it over.
const OWN: &str = "skep_spec";
/// What PM2 leaves out of its file.
const LEFT_OUT: &[&str] = &["instances", "pm_id", "prev_restart_delay"];

/// Writes the file; the one before stays as `dump.pm2.bak`.
pub(crate) async fn write(context: &Context) -> Result<PathBuf, Failure> {
    let mut client = context.connect_or_start().await?;
    let processes: Vec<Value> = client.read(Route::Pm2Processes, "", &()).await?;
    let apps = client.apps::<&str>(&[], AppsQuery { detail: Detail::Full, ..AppsQuery::default() }).await?;
    let mut entries = Vec::new();
    for process in processes {
        let Value::Object(mut env) = process["pm2_env"].clone() else { continue };
        LEFT_OUT.iter().for_each(|name| drop(env.remove(*name)));
        if let Some(spec) =
            apps.iter().find(|app| process["name"] == *app.name).and_then(|app| app.spec.as_ref())
        {
            env.insert(OWN.to_owned(), serde_json::to_value(spec).unwrap_or_default());
        }
        entries.push(Value::Object(env));
    }
    let path = context.home()?.path().join(FILE);
    save(&path, &Value::Array(entries))?;
    Ok(path)
}

/// Writes any value as the dump.
pub(crate) fn save(path: &Path, value: &Value) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            ErrorCode::StorageFailed,
            format!("{} cannot be written: {error}", path.display()),
            "make room or fix the permissions",
        )
    };
    let text =
        serde_json::to_vec_pretty(value).map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    match std::fs::rename(path, path.with_extension("pm2.bak")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // Environments hold secrets: nobody else reads this file.
    skep_sys::durable::replace(path, &text, 0o600).map_err(failed)
}

/// So many apps are started side by side, each with a connection of its own.
const AT_ONCE: usize = 32;

/// Starts every app of a dump that is not known yet, and waits for each as long as `patience` says; their names and
/// scripts.
pub(crate) async fn start(
    file: Option<PathBuf>,
    patience: impl Fn(&AppSpec) -> Option<u64>,
    context: &Context,
) -> Result<Vec<(String, String)>, Failure> {
    let path = match file {
        Some(file) => file,
        None => find(context)?,
    };
    let specs = specs(&read(&path)?)?;
    let mut client = context.connect_or_start().await?;
    let known = client.apps::<&str>(&[], AppsQuery::default()).await?;
    let mut started = Vec::new();
    let mut report = Report::default();
    report.may_go_on = true;
    let (old, new): (Vec<AppSpec>, Vec<AppSpec>) =
        specs.into_iter().partition(|spec| known.iter().any(|app| app.name == spec.name));
    old.iter().for_each(|spec| context.output.say(&format!("{} is known already", spec.name)));
    for some in new.chunks(AT_ONCE) {
        let mut answers = Vec::new();
        for spec in some {
            let script = spec.script.clone().or_else(|| spec.command.clone()).unwrap_or_default();
            started.push((spec.name.clone(), script));
            let mut own = context.connect_or_start().await?;
            let timeout_ms = patience(spec);
            let request = CreateApp { spec: spec.clone(), wait: true, timeout_ms, unless_known: None };
            match own.create(&request).await {
                Ok(lines) => answers.push((spec.name.clone(), lines, own)),
                // Its script may have gone; the others start all the same.
                Err(ClientError::Refused(error)) => report.refused(&spec.name, error, &context.output),
                Err(error) => return Err(error.into()),
            }
        }
        for (name, lines, _connection) in answers {
            let act = Act::default();
            super::act::follow(lines, &[name], Goal::Running, &act, context, &mut report).await?;
        }
    }
    report.result()?;
    Ok(started)
}

/// Ours, else PM2's.
pub(crate) fn find(context: &Context) -> Result<PathBuf, Failure> {
    let own = context.home()?.path().join(FILE);
    let pm2s = std::env::var_os("HOME").map(|home| Path::new(&home).join(".pm2").join(FILE));
    let backup = own.with_extension("pm2.bak");
    let found = [Some(own.clone()), Some(backup), pm2s].into_iter().flatten().find(|path| path.exists());
    found.ok_or_else(|| {
        Failure::new(
            ErrorCode::BadRequest,
            format!("{} does not exist", own.display()),
            "`skep dump` writes it",
        )
    })
}

fn read(path: &Path) -> Result<Vec<Value>, Failure> {
    let text = std::fs::read(path).map_err(|error| broken(path, &error))?;
    serde_json::from_slice(&text).map_err(|error| broken(path, &error))
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    let hint = format!("{}.bak holds what was there before", path.display());
    Failure::new(ErrorCode::InvalidSpec, format!("{} cannot be read: {error}", path.display()), hint)
}

/// One app for each name, with as many instances as the dump has entries of it.
fn specs(entries: &[Value]) -> Result<Vec<AppSpec>, Failure> {
    let mut apps: BTreeMap<String, (AppSpec, u32)> = BTreeMap::new();
    let mut order = Vec::new();
    for entry in entries {
        let name = entry["name"].as_str().unwrap_or_default().to_owned();
        if let Some((_, count)) = apps.get_mut(&name) {
            *count += 1;
            continue;
        }
        let own = entry.get(OWN).and_then(|own| serde_json::from_value::<AppSpec>(own.clone()).ok());
        // What skep wrote itself knows its number of instances.
        let (spec, count) = match own {
            Some(spec) => (spec, 0),
            None => (foreign(entry), 1),
        };
        order.push(name.clone());
        apps.insert(name, (spec, count));
    }
    let mut specs = Vec::new();
    for name in order {
        let Some((mut spec, count)) = apps.remove(&name) else { continue };
        if count > 1 && spec.instances == Instances::Count(1) {
            spec.instances = Instances::Count(count);
        }
        spec.validate()?;
        specs.push(spec);
    }
    Ok(specs)
}

/// An entry that PM2 wrote.
fn foreign(entry: &Value) -> AppSpec {
    let text = |name: &str| entry[name].as_str().map(str::to_owned);
    let list = |name: &str| -> Vec<String> {
        entry[name]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect()
    };
    let env = entry["env"].as_object().cloned().unwrap_or_default();
    let mut spec = accepted(entry, &env);
    spec.name = text("name").unwrap_or_default();
    spec.out_file = chosen(&spec, text("pm_out_log_path"), "-out");
    spec.error_file = chosen(&spec, text("pm_err_log_path"), "-error");
    if let Some(path) = text("pm_log_path") {
        spec.log_file = chosen(&spec, Some(path), "").map_or(LogFile::Usual(true), LogFile::Path);
    }
    spec.script = text("pm_exec_path");
    spec.cwd = text("pm_cwd").unwrap_or_else(|| "/".to_owned());
    spec.interpreter = text("exec_interpreter").filter(|name| name != "none").map(|name| in_path(&name));
    spec.interpreter_args = list("node_args");
    spec.args = list("args");
    spec.exec_mode = match entry["exec_mode"].as_str() {
        Some("cluster_mode") => Some(ExecMode::Cluster),
        _ => spec.is_node().then_some(ExecMode::Fork),
    };
    spec.autostart = !matches!(entry["status"].as_str(), Some("stopped" | "errored"));
    spec.inherited_env = env
        .iter()
        .filter(|(name, _)| *name != "unique_id")
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    spec
}

/// A log file without the number that PM2 has put into its name, if it is not the one that an app has anyway. (A restart
/// makes PM2 call files merged that have numbers.)
fn chosen(spec: &AppSpec, path: Option<String>, ending: &str) -> Option<String> {
    let path = path?;
    let unnumbered = unnumbered(&path);
    let usual = format!("/logs/{}{ending}.log", pm2::file_stem(&spec.name));
    if path.ends_with(&usual) || unnumbered.ends_with(&usual) {
        return None;
    }
    Some(if spec.merge_logs { path } else { unnumbered })
}

/// `out-3.log` is `out.log` of process 3.
fn unnumbered(path: &str) -> String {
    let is_number = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    match path.strip_suffix(".log").and_then(|stem| stem.rsplit_once('-')) {
        Some((stem, id)) if is_number(id) => format!("{stem}.log"),
        _ => path.to_owned(),
    }
}

/// Every attribute of PM2's that is ours too, where its value is one that we understand.
fn accepted(entry: &Value, env: &Map<String, Value>) -> AppSpec {
    let mut fields = Map::new();
    for (name, value) in entry.as_object().into_iter().flatten().filter(|(name, _)| !env.contains_key(*name))
    {
        let one = Value::Object([(name.clone(), value.clone())].into_iter().collect());
        if name != "env" && serde_json::from_value::<AppSpec>(one).is_ok() {
            fields.insert(name.clone(), value.clone());
        }
    }
    serde_json::from_value(Value::Object(fields)).unwrap_or_default()
}

/// A program by its name: dumps do not say where it is, and it may have moved.
fn in_path(name: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
    found.map_or_else(|| name.to_owned(), |file| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dump_of_pm2_becomes_apps() {
        let entry = |status: &str| {
            json!({
                "name": "web", "pm_exec_path": "/srv/app.js", "pm_cwd": "/srv", "exec_interpreter": "none",
                "exec_mode": "fork_mode", "args": ["--port", "80"], "node_args": [], "status": status,
                "namespace": "front", "kill_timeout": 5000, "max_restarts": "many", "frobs": 3,
                "env": { "A": "1", "unique_id": "x", "web": {}, "nice": "yes" }, "A": "1", "nice": "yes",
            })
        };
        let specs = specs(&[entry("online"), entry("online")]).unwrap();
        assert_eq!(specs.len(), 1);
        let web = &specs[0];
        assert_eq!(
            (web.name.as_str(), web.namespace.as_str(), web.instances),
            ("web", "front", Instances::Count(2))
        );
        assert_eq!((web.kill_timeout.0, web.max_restarts, web.nice), (5000, 16, None));
        assert_eq!(web.args, ["--port", "80"]);
        assert_eq!(web.inherited_env.keys().collect::<Vec<_>>(), ["A", "nice"]);
        assert!(web.autostart && !foreign(&entry("stopped")).autostart);
    }

    #[test]
    fn log_files_that_were_chosen_come_along_without_their_numbers() {
        let files = |name: &str, merged: bool, out: &str, both: &str| {
            let spec = foreign(&json!({
                "name": name, "pm_exec_path": "/srv/app.js", "merge_logs": merged, "pm_out_log_path": out, "pm_log_path": both,
            }));
            (spec.out_file, spec.log_file)
        };
        let path = |path: &str| path.to_owned();
        assert_eq!(
            files("my_web", false, "/h/.pm2/logs/my-web-out-3.log", "/h/.pm2/logs/my-web-3.log"),
            (None, LogFile::Usual(true))
        );
        assert_eq!(
            files("web", false, "/var/log/out-3.log", "/var/log/all-3.log"),
            (Some(path("/var/log/out.log")), LogFile::Path(path("/var/log/all.log")))
        );
        assert_eq!(
            files("web-2", true, "/var/log/out-3.log", "/h/.pm2/logs/web-2.log"),
            (Some(path("/var/log/out-3.log")), LogFile::Usual(true))
        );
        assert_eq!(files("web", true, "/h/.pm2/logs/web-out-3.log", "/h/.pm2/logs/web.log").0, None);
        assert_eq!(files("web", true, "/dev/null", "/dev/null").0, Some(path("/dev/null")));
        assert_eq!(foreign(&json!({ "name": "web" })).log_file, LogFile::Usual(false));
    }

    #[test]
    fn what_skep_wrote_comes_back_whole() {
        let spec = AppSpec {
            name: "jobs".into(),
            command: Some("a && b".into()),
            cwd: "/".into(),
            instances: Instances::Max,
            ..AppSpec::default()
        };
        let entry = json!({ "name": "jobs", "skep_spec": spec });
        assert_eq!(specs(&[entry.clone(), entry]).unwrap(), [spec]);
    }
}
