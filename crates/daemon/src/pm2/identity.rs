//! Who a worker is, in the variables that PM2 gives to its processes.

use std::path::{Path, PathBuf};

use skep_core::SlotId;
use skep_logs::Stream;
use skep_spec::{AppSpec, ExecMode};

use crate::launch::{Facts, Place};

/// What happened in the worker's slot before it, and when it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) restarts: u32,
    pub(crate) unstable_restarts: u32,
    pub(crate) created_unix_ms: u64,
    pub(crate) now_unix_ms: u64,
    /// How many instances the app has on this machine.
    pub(crate) instances: u32,
}

/// PM2's variables for one worker. Those that describe arrays and objects (`axm_actions`, `env`) are left out: PM2
/// writes `[object Object]` into them.
pub(crate) fn identity(spec: &AppSpec, place: Place, facts: Facts<'_>) -> Vec<(&'static str, String)> {
    let past = place.past;
    let path = |stream| crate::logging::path(spec, facts.home, place.slot, stream).display().to_string();
    let mut all = vec![
        ("PWD", spec.cwd.clone()),
        ("PM2_HOME", facts.home.display().to_string()),
        ("PM2_USAGE", "CLI".to_owned()),
        ("automation", "true".to_owned()),
        ("autorestart", spec.autorestart.to_string()),
        ("autostart", spec.autostart.to_string()),
        ("created_at", past.created_unix_ms.to_string()),
        ("exec_interpreter", interpreter(spec)),
        ("exec_mode", exec_mode(spec).to_owned()),
        ("instance_var", spec.instance_var.clone()),
        ("instances", past.instances.to_string()),
        ("kill_retry_time", "100".to_owned()),
        ("km_link", "false".to_owned()),
        ("name", spec.name.clone()),
        ("namespace", spec.namespace.clone()),
        ("pm_cwd", spec.cwd.clone()),
        ("pm_err_log_path", path(Stream::Err)),
        ("pm_exec_path", exec_path(spec)),
        ("pm_id", place.slot.to_string()),
        ("pm_out_log_path", path(Stream::Out)),
        ("pm_pid_path", pid_file(spec, facts.home, place.slot).display().to_string()),
        ("pm_uptime", past.now_unix_ms.to_string()),
        ("pmx", "true".to_owned()),
        ("restart_time", past.restarts.to_string()),
        ("status", "launching".to_owned()),
        ("treekill", spec.treekill.to_string()),
        ("unique_id", unique_id(spec, place.app, facts.home)),
        ("unstable_restarts", past.unstable_restarts.to_string()),
        ("username", facts.user.to_owned()),
        ("vizion", "true".to_owned()),
        ("vizion_running", "false".to_owned()),
        ("watch", is_watched(spec).to_string()),
        ("windowsHide", "true".to_owned()),
    ];
    if crate::logging::is_shared(spec) {
        all.push(("merge_logs", "true".to_owned()));
    }
    if let Some(both) = crate::logging::combined(spec, facts.home, place.slot) {
        all.push(("pm_log_path", both.display().to_string()));
    }
    // PM2 joins lists by commas.
    for (name, list) in [("args", &spec.args), ("node_args", &spec.interpreter_args)] {
        if !list.is_empty() {
            all.push((name, list.join(",")));
        }
    }
    all
}

/// PM2's word for how workers are started.
pub(crate) fn exec_mode(spec: &AppSpec) -> &'static str {
    match spec.exec_mode_choice() {
        ExecMode::Cluster => "cluster_mode",
        ExecMode::Fork => "fork_mode",
    }
}

/// The interpreter by its own name; `none` for a program or a command line.
pub(crate) fn interpreter(spec: &AppSpec) -> String {
    match &spec.interpreter {
        Some(path) if spec.command.is_none() => path.rsplit('/').next().unwrap_or(path).to_owned(),
        _ => "none".to_owned(),
    }
}

/// The script, or the shell of a command line.
pub(crate) fn exec_path(spec: &AppSpec) -> String {
    spec.script.clone().or_else(|| spec.argv().into_iter().next()).unwrap_or_default()
}

pub(crate) fn is_watched(spec: &AppSpec) -> bool {
    spec.watch.is_on()
}

/// Where a slot's process id is written while it runs.
pub(crate) fn pid_file(spec: &AppSpec, home: &Path, slot: SlotId) -> PathBuf {
    if let Some(given) = &spec.pid_file {
        // As PM2: two instances never write to one file, unless somebody chose another ending.
        let numbered = given.strip_suffix(".pid").map(|stem| format!("{stem}-{slot}.pid"));
        return PathBuf::from(numbered.unwrap_or_else(|| given.clone()));
    }
    pid_folder(home).join(format!("{}-{slot}.pid", spec.name.replace(['/', '\0'], "-")))
}

/// Where pid files are, unless the app says otherwise.
pub(crate) fn pid_folder(home: &Path) -> PathBuf {
    home.join("pids")
}

/// A number in the form of a UUID, the same for all workers of an app as long as it exists.
pub(crate) fn unique_id(spec: &AppSpec, app: skep_core::AppId, home: &Path) -> String {
    let text = format!("{}\0{}\0{app}", home.display(), spec.name);
    let (high, low) =
        (fnv(0xcbf2_9ce4_8422_2325, text.as_bytes()), fnv(0x8422_2325_cbf2_9ce4, text.as_bytes()));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// FNV-1a: it only has to be the same each time.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_core::AppId;

    #[test]
    fn an_apps_unique_id_has_a_uuids_form_and_tells_apps_apart() {
        let spec = AppSpec { name: "web".into(), ..AppSpec::default() };
        let id = unique_id(&spec, AppId(1), Path::new("/h"));
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(id.as_bytes()[14], b'4');
        assert_eq!(id, unique_id(&spec, AppId(1), Path::new("/h")));
        assert_ne!(id, unique_id(&spec, AppId(2), Path::new("/h")));
    }

    #[test]
    fn a_pid_file_carries_the_instances_id() {
        let file = |given: Option<&str>| {
            let spec = AppSpec { name: "web".into(), pid_file: given.map(Into::into), ..AppSpec::default() };
            pid_file(&spec, Path::new("/h"), SlotId(3)).display().to_string()
        };
        assert_eq!(file(None), "/h/pids/web-3.pid");
        assert_eq!(file(Some("/run/web.pid")), "/run/web-3.pid");
        assert_eq!(file(Some("/run/web")), "/run/web");
    }

    #[test]
    fn a_command_line_has_no_interpreter_and_runs_the_shell() {
        let line = AppSpec { command: Some("a && b".into()), ..AppSpec::default() };
        assert_eq!((interpreter(&line).as_str(), exec_path(&line).as_str()), ("none", "/bin/sh"));
        let script = AppSpec {
            script: Some("/srv/app.py".into()),
            interpreter: Some("/usr/bin/python3".into()),
            ..AppSpec::default()
        };
        assert_eq!((interpreter(&script).as_str(), exec_mode(&script)), ("python3", "fork_mode"));
    }
}
