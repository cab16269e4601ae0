//! What exactly is executed for a worker: the argument vector and the environment, as a pure function of the spec,
//! the worker's place, and a few facts of this daemon.

use std::collections::BTreeMap;
use std::path::Path;

use skep_core::{AppId, SlotId, WorkerId};
use skep_spec::AppSpec;

use crate::pm2::Past;

/// The descriptor that Node.js workers find their IPC channel on (`NODE_CHANNEL_FD`).
pub(crate) const CHANNEL_FD: i32 = 3;
/// The first descriptor handed over by socket activation (`SD_LISTEN_FDS_START`, sd_listen_fds(3)).
pub(crate) const LISTEN_FDS_START: i32 = 3;

/// The worker's place in its app.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) worker: WorkerId,
    pub(crate) app: AppId,
    pub(crate) slot: SlotId,
    pub(crate) index: u32,
    pub(crate) past: Past,
}

/// What the daemon knows and the spec does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) home: &'a Path,
    /// This executable, for workers that need a step of ours before their own program.
    pub(crate) skep: &'a Path,
    /// Who runs workers, unless the spec names somebody.
    pub(crate) user: &'a str,
    /// The drain code for Node.js, where the worker can read it.
    pub(crate) preload: Option<&'a Path>,
}

/// How a Node.js program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeRole {
    /// `cluster.isWorker` is true and `listen` asks skep.
    ClusterWorker,
    /// As after `child_process.fork()`: `process.send` works, `listen` binds.
    Forked,
    /// Not a Node.js program, or one that must not have a channel.
    None,
}

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

/// Composes the command for one worker. `names` are the names of the sockets handed over from
/// [`LISTEN_FDS_START`] on.
pub(crate) fn compose(
    spec: &AppSpec,
    place: Place,
    role: NodeRole,
    names: &[String],
    facts: Facts<'_>,
) -> Launch {
    let mut argv = spec.argv();
    let mut env = spec.environment();
    if let Some((name, value)) = spec.incremented(place.index) {
        env.insert(name.to_owned(), value);
    }
    identity(spec, place, facts, &mut env);
    if is_python(&argv) {
        // As PM2: its lines are in the log when they are written, not when a buffer is full.
        env.entry("PYTHONUNBUFFERED".to_owned()).or_insert_with(|| "1".to_owned());
    }
    match role {
        NodeRole::ClusterWorker => {
            node_channel(&mut env);
            env.insert("NODE_UNIQUE_ID".to_owned(), place.worker.0.to_string());
            preload(spec, facts, &mut env);
        }
        NodeRole::Forked => {
            node_channel(&mut env);
            preload(spec, facts, &mut env);
        }
        NodeRole::None => {}
    }
    if !names.is_empty() && !takes_descriptors_by_argument(&argv) {
        env.insert("LISTEN_FDS".to_owned(), names.len().to_string());
        env.insert("LISTEN_FDNAMES".to_owned(), names.join(":"));
        // LISTEN_PID is the program's own pid, known only after the fork: the hidden verb sets it and executes.
        let step = [facts.skep.to_string_lossy().into_owned(), "__listen-pid".to_owned()];
        argv.splice(0..0, step);
    }
    Launch { argv, env }
}

/// Whether Python runs the script.
fn is_python(argv: &[String]) -> bool {
    let program = argv.first().map(|program| program.rsplit('/').next().unwrap_or(program));
    program.is_some_and(|program| program.starts_with("python") || program == "pypy3")
}

/// Who the worker is: in PM2's names, which give way to what the user set, and in ours.
fn identity(spec: &AppSpec, place: Place, facts: Facts<'_>, env: &mut BTreeMap<String, String>) {
    for (name, value) in crate::pm2::identity(spec, place, facts) {
        if !spec.env.contains_key(name) {
            env.insert(name.to_owned(), value);
        }
    }
    let mut set = |name: &str, value: String| {
        env.insert(name.to_owned(), value);
    };
    set(&spec.instance_var, place.index.to_string());
    set("SKEP_HOME", facts.home.to_string_lossy().into_owned());
    set("SKEP_APP", spec.name.clone());
    set("SKEP_WORKER_ID", place.worker.0.to_string());
}

fn node_channel(env: &mut BTreeMap<String, String>) {
    env.insert("NODE_CHANNEL_FD".to_owned(), CHANNEL_FD.to_string());
    env.insert("NODE_CHANNEL_SERIALIZATION_MODE".to_owned(), "json".to_owned());
}

/// Our drain code, unless the user does not want it or Node would refuse it.
fn preload(spec: &AppSpec, facts: Facts<'_>, env: &mut BTreeMap<String, String>) {
    let own = env.get("NODE_OPTIONS").map(String::as_str);
    let args = spec.interpreter_args.iter().map(String::as_str);
    if let Some(preload) = facts.preload
        && spec.preload
        && skep_node_ipc::preload_allowed(args, own)
    {
        let options = skep_node_ipc::inject_preload(&preload.to_string_lossy(), own);
        env.insert("NODE_OPTIONS".to_owned(), options);
    }
}

/// uvicorn's `--fd 3` and gunicorn's `fd://3` name the descriptor themselves; told of it twice, gunicorn closes it.
fn takes_descriptors_by_argument(argv: &[String]) -> bool {
    argv.iter().any(|arg| arg == "--fd" || arg.starts_with("--fd=") || arg.contains("fd://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts<'static> {
        Facts {
            home: Path::new("/h"),
            skep: Path::new("/bin/skep"),
            user: "alice",
            preload: Some(Path::new("/h/preload.cjs")),
        }
    }

    fn place() -> Place {
        let past = Past { restarts: 2, instances: 4, ..Past::default() };
        Place { worker: WorkerId(7), app: AppId(1), slot: SlotId(3), index: 1, past }
    }

    fn composed(spec: &AppSpec, role: NodeRole) -> Launch {
        compose(spec, place(), role, &[], facts())
    }

    fn node_app() -> AppSpec {
        AppSpec {
            name: "web".into(),
            script: Some("/srv/app.js".into()),
            interpreter: Some("/usr/bin/node".into()),
            ..AppSpec::default()
        }
    }

    #[test]
    fn a_cluster_worker_finds_its_channel_its_number_and_the_preload() {
        let launch = composed(&node_app(), NodeRole::ClusterWorker);
        assert_eq!(launch.argv, ["/usr/bin/node", "/srv/app.js"]);
        assert_eq!(launch.env["NODE_UNIQUE_ID"], "7");
        assert_eq!(launch.env["NODE_CHANNEL_FD"], "3");
        assert_eq!(launch.env["NODE_APP_INSTANCE"], "1");
        assert_eq!(launch.env["pm_id"], "3");
        assert_eq!(launch.env["NODE_OPTIONS"], "--require=\"/h/preload.cjs\"");
    }

    #[test]
    fn pm2s_variables_are_there_and_what_the_user_set_wins() {
        let mut spec = AppSpec { inherited_env: [("pm_id".into(), "9".into())].into(), ..node_app() };
        spec.env.insert("status".into(), "mine".into());
        let env = composed(&spec, NodeRole::ClusterWorker).env;
        assert_eq!((env["pm_id"].as_str(), env["status"].as_str()), ("3", "mine"));
        assert_eq!((env["exec_mode"].as_str(), env["restart_time"].as_str()), ("cluster_mode", "2"));
        assert_eq!((env["PM2_HOME"].as_str(), env["pm_pid_path"].as_str()), ("/h", "/h/pids/web-3.pid"));
        assert_eq!((env["instances"].as_str(), env["username"].as_str()), ("4", "alice"));
    }

    #[test]
    fn a_forked_program_has_a_channel_but_is_no_cluster_worker() {
        let launch = composed(&node_app(), NodeRole::Forked);
        assert!(launch.env.contains_key("NODE_CHANNEL_FD"));
        assert!(!launch.env.contains_key("NODE_UNIQUE_ID"));
        assert!(!composed(&node_app(), NodeRole::None).env.contains_key("NODE_CHANNEL_FD"));
    }

    #[test]
    fn sockets_are_announced_once_by_environment_or_by_argument() {
        let with = |spec: &AppSpec| compose(spec, place(), NodeRole::None, &["http".to_owned()], facts());
        let launch = with(&node_app());
        assert_eq!(&launch.argv[..2], ["/bin/skep", "__listen-pid"]);
        assert_eq!((launch.env["LISTEN_FDS"].as_str(), launch.env["LISTEN_FDNAMES"].as_str()), ("1", "http"));
        let told = AppSpec { args: vec!["--fd".into(), "3".into()], ..node_app() };
        assert!(!with(&told).env.contains_key("LISTEN_FDS"));
    }
}
