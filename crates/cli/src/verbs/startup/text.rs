//! The texts of units, scripts and property lists.

use super::Init;
use super::setting::Setting;

/// How long a stop may take before the init system kills, in seconds: longer than any sensible `kill_timeout`.
const STOP_SECONDS: u32 = 120;
/// How long without a sign of life from the keeper before systemd acts, in seconds. The keeper wakes up twice as often.
const WATCHDOG_SECONDS: u32 = 60;
/// Open files that workers may ask for; systemd's own limit for services is half of it.
const OPEN_FILES: u32 = 1_048_576;

/// The service's file.
pub(super) fn of(setting: &Setting) -> String {
    match setting.init {
        Init::Systemd => systemd(setting),
        Init::OpenRc => openrc(setting),
        Init::Launchd => launchd(setting),
    }
}

/// A word of a systemd command line (systemd.service(5), "Command lines").
fn exec(word: &str) -> String {
    let escaped: String = word
        .chars()
        .flat_map(|sign| match sign {
            '%' => vec!['%', '%'],
            '$' => vec!['$', '$'],
            '"' | '\\' => vec!['\\', sign],
            _ => vec![sign],
        })
        .collect();
    if escaped.chars().any(|sign| sign.is_whitespace() || "'\"\\;".contains(sign)) {
        format!("\"{escaped}\"")
    } else {
        escaped
    }
}

fn systemd(setting: &Setting) -> String {
    let skep =
        format!("{} --home {}", exec(&setting.skep.to_string_lossy()), exec(&setting.home.to_string_lossy()));
    let network = if setting.wait_ip {
        "After=network-online.target\nWants=network-online.target\n"
    } else if setting.user {
        ""
    } else {
        "After=network.target\n"
    };
    let account = if setting.user { String::new() } else { format!("User={}\n", setting.account) };
    let limits = if setting.user { String::new() } else { format!("LimitNOFILE={OPEN_FILES}\n") };
    let scope = if setting.user { " --user" } else { "" };
    let life = if setting.keep_workers {
        // Only the guard is ended by a restart; ExecStop ends the workers when it is no restart.
        format!(
            "ExecStart={skep} daemon run --keep-workers\n\
             ExecStop={skep} daemon unit-stop %n{scope}\n\
             KillMode=process\n"
        )
    } else {
        // The keeper is asked, and ends its workers in its own order; what is left after that is killed.
        format!("ExecStart={skep} daemon run\nKillMode=mixed\n")
    };
    let target = if setting.user { "default.target" } else { "multi-user.target" };
    format!(
        "# Written by `skep startup`; `skep unstartup` removes it.\n\
         [Unit]\n\
         Description=skep: the services of {account_name}\n\
         {network}\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=notify\n\
         NotifyAccess=main\n\
         {account}\
         {life}\
         ExecReload={skep} reload all\n\
         Restart=on-failure\n\
         RestartSec=1\n\
         TimeoutStartSec=60\n\
         TimeoutStopSec={STOP_SECONDS}\n\
         WatchdogSec={WATCHDOG_SECONDS}\n\
         {limits}\
         TasksMax=infinity\n\
         OOMPolicy=continue\n\
         \n\
         [Install]\n\
         WantedBy={target}\n",
        account_name = setting.account.replace('%', "%%"),
    )
}

fn openrc(setting: &Setting) -> String {
    let quote = |text: &str| shell_words::quote(text).into_owned();
    let (skep, home) = (setting.skep.to_string_lossy(), setting.home.to_string_lossy());
    let log = setting.home.join("daemon.log");
    let reload = shell_words::join([&*skep, "--home", &*home, "reload", "all"]);
    format!(
        "#!/sbin/openrc-run\n\
         # Written by `skep startup`; `skep unstartup` removes it.\n\
         \n\
         description={description}\n\
         supervisor=supervise-daemon\n\
         command={command}\n\
         command_args={args}\n\
         command_user={account}\n\
         output_log={log}\n\
         error_log={log}\n\
         respawn_delay=1\n\
         respawn_max=0\n\
         retry=\"TERM/{STOP_SECONDS}/KILL/5\"\n\
         rc_ulimit=\"-n {OPEN_FILES}\"\n\
         extra_started_commands=\"reload\"\n\
         description_reload=\"Reload all apps, one worker after the other\"\n\
         \n\
         depend() {{\n\
         \tneed localmount\n\
         \t{network}\n\
         \tafter firewall\n\
         }}\n\
         \n\
         reload() {{\n\
         \tebegin \"Reloading all apps\"\n\
         \tsu {account} -s /bin/sh -c {reload}\n\
         \teend $?\n\
         }}\n",
        description = quote(&format!("skep: the services of {}", setting.account)),
        command = quote(&skep),
        args = quote(&format!("--home {} daemon run", quote(&home))),
        account = quote(&setting.account),
        log = quote(&log.to_string_lossy()),
        network = if setting.wait_ip { "need net" } else { "use net dns logger" },
        reload = quote(&reload),
    )
}

fn launchd(setting: &Setting) -> String {
    let xml = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (skep, home) = (setting.skep.to_string_lossy(), setting.home.to_string_lossy());
    let words = [&*skep, "--home", &*home, "daemon", "run"];
    let words: String = words.iter().map(|word| format!("\t\t<string>{}</string>\n", xml(word))).collect();
    let log = xml(&setting.home.join("daemon.log").to_string_lossy());
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <!-- Written by `skep startup`. -->\n\
         <plist version=\"1.0\">\n\
         <dict>\n\
         \t<key>Label</key>\n\
         \t<string>{name}</string>\n\
         \t<key>UserName</key>\n\
         \t<string>{account}</string>\n\
         \t<key>ProgramArguments</key>\n\
         \t<array>\n\
         {words}\
         \t</array>\n\
         \t<key>RunAtLoad</key>\n\
         \t<true/>\n\
         \t<key>KeepAlive</key>\n\
         \t<dict>\n\
         \t\t<key>SuccessfulExit</key>\n\
         \t\t<false/>\n\
         \t</dict>\n\
         \t<key>ExitTimeOut</key>\n\
         \t<integer>{STOP_SECONDS}</integer>\n\
         \t<key>StandardOutPath</key>\n\
         \t<string>{log}</string>\n\
         \t<key>StandardErrorPath</key>\n\
         \t<string>{log}</string>\n\
         </dict>\n\
         </plist>\n",
        name = xml(&setting.name),
        account = xml(&setting.account),
    )
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::setting;
    use super::*;

    /// Compares with a file beside this one; `SKEP_WRITE_GOLDEN=1` writes them anew.
    fn check(golden: &str, setting: &Setting) {
        let path = format!("{}/src/verbs/startup/golden/{golden}", env!("CARGO_MANIFEST_DIR"));
        let text = of(setting);
        if std::env::var_os("SKEP_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{path}");
    }

    #[test]
    fn each_init_system_gets_its_text() {
        check("skep-deploy.service", &setting(Init::Systemd));
        check("skep-deploy.openrc", &setting(Init::OpenRc));
        check("skep-deploy.plist", &setting(Init::Launchd));
        let user = Setting { user: true, name: "skep".into(), ..setting(Init::Systemd) };
        check("user.service", &user);
        let kept = Setting { keep_workers: true, wait_ip: true, ..setting(Init::Systemd) };
        check("keep-workers.service", &kept);
    }

    #[test]
    fn odd_paths_are_one_word_for_each_init_system() {
        assert_eq!(exec("/plain/path"), "/plain/path");
        assert_eq!(exec("/a b/100%/$x/\"q\"/\\"), r#""/a b/100%%/$$x/\"q\"/\\""#);
        let odd = Setting { home: "/home/o'neil & co/.skep".into(), ..setting(Init::OpenRc) };
        let script = openrc(&odd);
        let line = script.lines().find(|line| line.starts_with("command_args=")).unwrap();
        let once = shell_words::split(line.trim_start_matches("command_args=")).unwrap();
        let twice = shell_words::split(&once[0]).unwrap();
        assert_eq!(twice, ["--home", "/home/o'neil & co/.skep", "daemon", "run"]);
        let odd = Setting { init: Init::Launchd, ..odd };
        assert!(launchd(&odd).contains("<string>/home/o'neil &amp; co/.skep</string>"));
    }
}
