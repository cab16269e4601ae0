//! What PM2 makes of an app where skep would do otherwise: which mode, and under which names its files lie.

use skep_spec::{AppSpec, ExecMode, Instances, LogFile};
use std::path::Path;

/// What was said of an app, on the command line or in a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    /// A number of instances.
    pub(super) instances: bool,
    /// `exec_mode`.
    pub(super) exec_mode: bool,
    /// Whether logs are merged.
    pub(super) merge_logs: bool,
    /// One log more for both streams, wherever it usually lies.
    pub(super) usual_log: bool,
}

/// Fills in what nobody said, as PM2 does; `home` is where logs and pid files lie.
pub(super) fn complete(spec: &mut AppSpec, said: Said, home: &Path) {
    let cluster = said.exec_mode && spec.exec_mode == Some(ExecMode::Cluster);
    if spec.is_node() && !said.exec_mode && spec.exec_mode.is_none() {
        // PM2 does not share a port unless it is told a number of instances.
        spec.exec_mode = Some(if said.instances { ExecMode::Cluster } else { ExecMode::Fork });
    }
    // As many as there are processors: their logs are one, unless they were told to be a cluster.
    if spec.instances == Instances::Max && !cluster && !said.merge_logs {
        spec.merge_logs = true;
    }
    name_files(spec, said.usual_log, home);
}

/// PM2 writes `my_app` to `my-app-out.log`.
fn name_files(spec: &mut AppSpec, usual_log: bool, home: &Path) {
    let stem = stem(&spec.name);
    let path = |directory: &str, ending: &str| {
        home.join(directory).join(format!("{stem}{ending}")).to_str().map(str::to_owned)
    };
    if usual_log && spec.log_file.is_none() {
        spec.log_file = LogFile::Usual(true);
    }
    if stem == spec.name {
        return; // It is what happens anyway.
    }
    if spec.log_file == LogFile::Usual(true) {
        spec.log_file = path("logs", ".log").map_or(LogFile::Usual(true), LogFile::Path);
    }
    let files = [
        (&mut spec.out_file, path("logs", "-out.log")),
        (&mut spec.error_file, path("logs", "-error.log")),
        (&mut spec.pid_file, path("pids", ".pid")),
    ];
    for (file, usual) in files {
        if file.is_none() {
            *file = usual;
        }
    }
}

/// A name as PM2 has it in the names of files.
pub(crate) fn stem(name: &str) -> String {
    name.chars()
        .flat_map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '\\' => vec![c],
            // It replaces halves of what JavaScript has in two.
            other => vec!['-'; other.len_utf16()],
        })
        .collect()
}

/// What PM2 calls a command line: its last part, without what follows its last dot.
pub(super) fn name_of_line(line: &str) -> &str {
    let base = line.trim_end_matches('/').rsplit('/').next().unwrap_or(line);
    match base.rfind('.') {
        Some(dot) if dot > 0 => &base[..dot],
        _ => base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, instances: Instances, mode: Option<ExecMode>, said: Said) -> AppSpec {
        let mut spec = AppSpec {
            name: name.into(),
            script: Some("/srv/app.js".into()),
            interpreter: Some("node".into()),
            instances,
            exec_mode: mode,
            ..AppSpec::default()
        };
        complete(&mut spec, said, Path::new("/h"));
        spec
    }

    #[test]
    fn instances_that_were_asked_for_make_a_cluster() {
        let said = Said { instances: true, ..Said::default() };
        let mode = |instances, mode, said| check("web", instances, mode, said).exec_mode;
        assert_eq!(mode(Instances::Count(1), None, Said::default()), Some(ExecMode::Fork));
        assert_eq!(mode(Instances::Count(1), None, said), Some(ExecMode::Cluster));
        let forked = Said { exec_mode: true, ..said };
        assert_eq!(mode(Instances::Count(2), Some(ExecMode::Fork), forked), Some(ExecMode::Fork));
    }

    #[test]
    fn as_many_as_there_are_processors_write_to_one_log() {
        let said = Said { instances: true, ..Said::default() };
        assert!(check("web", Instances::Max, None, said).merge_logs);
        assert!(!check("web", Instances::Count(2), None, said).merge_logs);
        let cluster = Said { exec_mode: true, ..said };
        assert!(!check("web", Instances::Max, Some(ExecMode::Cluster), cluster).merge_logs);
        let merged = Said { merge_logs: true, ..said };
        assert!(!check("web", Instances::Max, None, merged).merge_logs, "somebody said false");
    }

    #[test]
    fn files_have_the_names_that_pm2_gives_them() {
        let spec = check("my_app x", Instances::Count(1), None, Said { usual_log: true, ..Said::default() });
        assert_eq!(spec.out_file.as_deref(), Some("/h/logs/my-app-x-out.log"));
        assert_eq!(spec.pid_file.as_deref(), Some("/h/pids/my-app-x.pid"));
        assert_eq!(spec.log_file.path(), Some("/h/logs/my-app-x.log"));
        let plain = check("web", Instances::Count(1), None, Said { usual_log: true, ..Said::default() });
        assert_eq!(plain.log_file, LogFile::Usual(true));
        assert_eq!(check("a.b-c", Instances::Count(1), None, Said::default()).out_file, None);
        assert_eq!(stem("ünï😀"), "-n---");
    }

    #[test]
    fn a_command_line_is_called_by_its_last_part_up_to_its_last_dot() {
        assert_eq!(name_of_line("npm run dev"), "npm run dev");
        assert_eq!(name_of_line("python3 -u s.py"), "python3 -u s");
        assert_eq!(name_of_line("node b.js --port 80.5"), "node b.js --port 80");
        assert_eq!(name_of_line("/usr/bin/env node"), "env node");
        assert_eq!(name_of_line("run .hidden"), "run ");
    }
}
