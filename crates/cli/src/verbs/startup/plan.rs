//! What is to be written, removed and run. Nothing here touches the machine.

use super::setting::Setting;
use super::{Init, text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) mode: u32,
}

/// Files and commands, in the order in which they are dealt with: `before`, then files, then `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The verb that this is.
    pub(crate) verb: &'static str,
    pub(crate) init: Init,
    pub(crate) service: String,
    /// Commands before anything is written or removed.
    pub(crate) before: Vec<Vec<String>>,
    pub(crate) writes: Vec<NewFile>,
    pub(crate) removes: Vec<PathBuf>,
    /// Commands at the end.
    pub(crate) after: Vec<Vec<String>>,
    /// What people should know.
    pub(crate) notes: Vec<String>,
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

/// Where the service's file lies.
fn file(setting: &Setting) -> PathBuf {
    let path = match setting.init {
        Init::Systemd if setting.user => setting.user_units.join(format!("{}.service", setting.name)),
        Init::Systemd => Path::new("/etc/systemd/system").join(format!("{}.service", setting.name)),
        Init::OpenRc => Path::new("/etc/init.d").join(&setting.name),
        Init::Launchd => Path::new("/Library/LaunchDaemons").join(format!("{}.plist", setting.name)),
    };
    match &setting.root {
        Some(root) => root.join(path.strip_prefix("/").unwrap_or(&path)),
        None => path,
    }
}

/// `systemctl`, speaking of the right manager or image.
fn systemctl(setting: &Setting, rest: &[&str]) -> Vec<String> {
    let mut line = words(&["systemctl"]);
    if setting.user {
        line.push("--user".to_owned());
    }
    if let Some(root) = &setting.root {
        line.push(format!("--root={}", root.display()));
    }
    line.extend(words(rest));
    line
}

/// What makes it a service.
pub(crate) fn install(setting: &Setting) -> Plan {
    let mode = if setting.init == Init::OpenRc { 0o755 } else { 0o644 };
    let mut plan = Plan {
        verb: "startup",
        init: setting.init,
        service: setting.name.clone(),
        before: Vec::new(),
        writes: vec![NewFile { path: file(setting), text: text::of(setting), mode }],
        removes: Vec::new(),
        after: Vec::new(),
        notes: Vec::new(),
    };
    let name = setting.name.as_str();
    match setting.init {
        Init::Systemd => {
            if setting.root.is_none() {
                plan.after.push(systemctl(setting, &["daemon-reload"]));
            }
            let enable: &[&str] = if setting.now { &["enable", "--now", name] } else { &["enable", name] };
            plan.after.push(systemctl(setting, enable));
        }
        Init::OpenRc if setting.root.is_some() => {
            plan.notes.push(format!("in the image: rc-update add {name} default"));
        }
        Init::OpenRc => {
            plan.after.push(words(&["rc-update", "add", name, "default"]));
            if setting.now {
                plan.after.push(words(&["rc-service", name, "start"]));
            }
        }
        Init::Launchd => {
            plan.after.push(words(&["launchctl", "load", "-w", &file(setting).to_string_lossy()]));
        }
    }
    plan.notes.extend(notes(setting));
    plan
}

fn notes(setting: &Setting) -> Vec<String> {
    let mut notes = Vec::new();
    if setting.user {
        notes.push(format!(
            "a service of yours runs while you are logged in; `loginctl enable-linger {}` lets it run from boot on",
            setting.account
        ));
    }
    let home = setting.home.display();
    if !setting.now {
        notes.push(format!(
            "it is started at the next boot; to hand over what runs now: `skep --home {home} kill`, then start the service"
        ));
    }
    notes
}

/// What takes it back.
pub(crate) fn remove(setting: &Setting) -> Plan {
    let name = setting.name.as_str();
    let (before, after) = match setting.init {
        Init::Systemd => {
            let after = if setting.root.is_none() {
                vec![systemctl(setting, &["daemon-reload"])]
            } else {
                Vec::new()
            };
            (vec![systemctl(setting, &["disable", name])], after)
        }
        Init::OpenRc if setting.root.is_some() => (Vec::new(), Vec::new()),
        Init::OpenRc => (vec![words(&["rc-update", "del", name, "default"])], Vec::new()),
        Init::Launchd => {
            (vec![words(&["launchctl", "unload", "-w", &file(setting).to_string_lossy()])], Vec::new())
        }
    };
    let note = "what runs goes on until it is stopped; the next boot does not start it".to_owned();
    Plan {
        verb: "unstartup",
        init: setting.init,
        service: setting.name.clone(),
        before,
        writes: Vec::new(),
        removes: vec![file(setting)],
        after,
        notes: vec![note],
    }
}

impl Plan {
    /// For people; each line but the files' own begins with a sign that shells take for a comment.
    pub(crate) fn show(&self) -> String {
        let mut out = String::new();
        let run = |out: &mut String, lines: &[Vec<String>]| {
            for line in lines {
                out.push_str(&format!("# run: {}\n", shell_words::join(line)));
            }
        };
        run(&mut out, &self.before);
        for file in &self.writes {
            out.push_str(&format!("# write {} (mode {:o}):\n{}", file.path.display(), file.mode, file.text));
        }
        for path in &self.removes {
            out.push_str(&format!("# remove {}\n", path.display()));
        }
        run(&mut out, &self.after);
        for note in &self.notes {
            out.push_str(&format!("# note: {note}\n"));
        }
        out
    }

    pub(crate) fn to_json(&self) -> Value {
        let writes: Vec<Value> = self
            .writes
            .iter()
            .map(|file| json!({ "path": file.path, "text": file.text, "mode": format!("{:o}", file.mode) }))
            .collect();
        json!({
            "verb": self.verb, "init": self.init.name(), "service": self.service, "before": self.before,
            "writes": writes, "removes": self.removes, "after": self.after, "notes": self.notes,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn setting(init: Init) -> Setting {
        Setting {
            init,
            skep: "/usr/local/bin/skep".into(),
            home: "/home/deploy/.skep".into(),
            account: "deploy".into(),
            name: "skep-deploy".into(),
            user: false,
            user_units: "/home/deploy/.config/systemd/user".into(),
            wait_ip: false,
            keep_workers: false,
            now: false,
            root: None,
            is_root: true,
        }
    }

    fn lines(plan: &Plan) -> Vec<String> {
        plan.before.iter().chain(&plan.after).map(|line| line.join(" ")).collect()
    }

    #[test]
    fn a_service_of_the_machine_is_written_and_enabled_and_taken_back() {
        let setting = setting(Init::Systemd);
        let plan = install(&setting);
        assert_eq!(plan.writes[0].path, Path::new("/etc/systemd/system/skep-deploy.service"));
        assert_eq!(lines(&plan), ["systemctl daemon-reload", "systemctl enable skep-deploy"]);
        let back = remove(&setting);
        assert_eq!(back.removes, [plan.writes[0].path.clone()]);
        assert_eq!(lines(&back), ["systemctl disable skep-deploy", "systemctl daemon-reload"]);
    }

    #[test]
    fn a_service_of_the_user_lies_in_the_users_folder_and_tells_about_lingering() {
        let setting = Setting { user: true, now: true, name: "skep".into(), ..setting(Init::Systemd) };
        let plan = install(&setting);
        assert_eq!(plan.writes[0].path, Path::new("/home/deploy/.config/systemd/user/skep.service"));
        assert_eq!(lines(&plan), ["systemctl --user daemon-reload", "systemctl --user enable --now skep"]);
        assert!(plan.notes[0].contains("enable-linger deploy"), "{:?}", plan.notes);
    }

    #[test]
    fn in_an_image_nothing_runs() {
        let setting = Setting { root: Some("/image".into()), ..setting(Init::Systemd) };
        let plan = install(&setting);
        assert_eq!(plan.writes[0].path, Path::new("/image/etc/systemd/system/skep-deploy.service"));
        assert_eq!(lines(&plan), ["systemctl --root=/image enable skep-deploy"]);
    }

    #[test]
    fn openrc_and_launchd_have_their_own_places() {
        let plan = install(&setting(Init::OpenRc));
        assert_eq!(
            (plan.writes[0].path.as_path(), plan.writes[0].mode),
            (Path::new("/etc/init.d/skep-deploy"), 0o755)
        );
        assert_eq!(lines(&plan), ["rc-update add skep-deploy default"]);
        let plan = install(&setting(Init::Launchd));
        assert_eq!(plan.writes[0].path, Path::new("/Library/LaunchDaemons/skep-deploy.plist"));
    }
}
