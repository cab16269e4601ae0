//! `skep deploy`: real git repositories, hooks and shells; `ssh` is a script in PATH that takes ssh's command line and
//! gives the line to the shell of a "host", a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep_tests::{Outcome, Skep, finish};

/// Reads its options as ssh does; each host has a home.
const SSH: &str = r#"#!/bin/sh
echo "ssh $*" | head -n 1 >> "$STAGE/ssh.log"
while getopts "o:p:i:tA" option; do :; done
shift $((OPTIND - 1))
host=${1#*@}
[ "$host" = down ] && { echo "ssh: connect to host down: No route to host" >&2; exit 255; }
shift
export HOME="$STAGE/hosts/$host"
mkdir -p "$HOME" && cd "$HOME" && exec "${LOGIN_SHELL:-sh}" -c "$*"
"#;

/// A developer's machine: a repository, its origin, hosts.
struct Stage {
    skep: Skep,
    root: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let skep = Skep::new();
        let root = skep.root().to_owned();
        let bin = root.join("bin");
        fs::create_dir_all(&bin).expect("the folder is ours");
        fs::create_dir_all(root.join("hosts")).expect("the folder is ours");
        fs::write(bin.join("ssh"), SSH).expect("the folder is ours");
        fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let stage = Self { skep, root };
        stage.git(&stage.root, &["init", "--quiet", "--bare", "--initial-branch=main", "origin.git"]);
        stage.git(&stage.root, &["clone", "--quiet", "origin.git", "work"]);
        stage.git(&stage.work(), &["checkout", "--quiet", "-B", "main"]);
        stage.commit("one");
        stage
    }

    fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    fn git(&self, folder: &Path, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(args).current_dir(folder);
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "anna")
                .env(format!("GIT_{who}_EMAIL"), "anna@example.org");
        }
        let output = command.output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A new version, pushed; its commit.
    fn commit(&self, version: &str) -> String {
        fs::write(self.work().join("version"), version).expect("the folder is ours");
        self.git(&self.work(), &["add", "version"]);
        self.git(&self.work(), &["commit", "--quiet", "-m", version]);
        self.git(&self.work(), &["push", "--quiet", "-u", "origin", "main"]);
        self.git(&self.work(), &["rev-parse", "HEAD"])
    }

    /// `change` is put into the environment `production`.
    fn describe(&self, change: &str) {
        let comma = if change.is_empty() { "" } else { "," };
        let text = format!(
            r#"{{ "apps": [], "deploy": {{ "production": {{ "user": "deploy", "host": "h1", "ref": "origin/main",
                 "repo": "{}", "path": "~/my app", "post-deploy": "cat version >> ../log"{comma} {change} }} }} }}"#,
            self.root.join("origin.git").display()
        );
        fs::write(self.root.join("ecosystem.json"), text).expect("the folder is ours");
    }

    fn command(&self, args: &[&str]) -> Command {
        let path =
            format!("{}:{}", self.root.join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let mut command = self.skep.command(["deploy", "../ecosystem.json"]);
        command.args(args).current_dir(self.work()).env("PATH", path).env("STAGE", &self.root);
        command
    }

    fn run(&self, args: &[&str]) -> Outcome {
        finish(self.command(args))
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    fn app(&self, host: &str) -> PathBuf {
        self.root.join("hosts").join(host).join("my app")
    }

    fn deployed(&self, host: &str) -> String {
        fs::read_to_string(self.app(host).join("current/version")).unwrap_or_default()
    }
}

#[test]
fn a_version_is_set_up_updated_listed_and_taken_back() {
    let stage = Stage::new();
    stage.describe("");
    stage.ok(&["production", "setup"]);
    for folder in ["source", "current", "shared/logs", "shared/pids"] {
        assert!(stage.app("h1").join(folder).exists(), "{folder}");
    }
    let one = stage.git(&stage.work(), &["rev-parse", "HEAD"]);
    stage.ok(&["production"]);
    let two = stage.commit("two");
    stage.ok(&["production", "update"]);
    assert_eq!(stage.deployed("h1"), "two");
    assert_eq!(stage.ok(&["production", "current"]).trim(), &two[..7]);
    assert_eq!(stage.ok(&["production", "prev"]).trim(), one);
    assert_eq!(stage.ok(&["production", "list"]), format!("0\t{two}\n1\t{one}\n"));

    stage.ok(&["production", "revert", "1"]);
    assert_eq!(stage.deployed("h1"), "one");
    let said = stage.run(&["production", "revert", "9"]).err();
    assert!(said.contains("there were not so many deployments"), "{said}");
    stage.ok(&["production", "ref", &two]);
    assert_eq!(stage.deployed("h1"), "two");
    // A branch by its bare name is what the remote has now.
    stage.commit("three");
    stage.ok(&["production", "main"]);
    assert_eq!(stage.deployed("h1"), "three");
    assert_eq!(stage.ok(&["production", "exec", "cat", "version"]).trim(), "three");
    assert_eq!(fs::read_to_string(stage.app("h1").join("log")).expect("hooks ran"), "onetwoonetwothree");
}

#[test]
fn hooks_run_where_they_belong_with_their_variables_and_a_failing_one_stops_everything() {
    let stage = Stage::new();
    stage.describe(
        r#""host": ["h1", {"host": "h2", "port": "2222", "user": "root"}], "port": 22, "key": "/k", "forward-agent": true,
           "ssh_options": ["StrictHostKeyChecking=no"], "env": { "greeting": "it's $HOME; \"so\"" },
           "pre-setup": "echo pre-setup > trace", "post-setup": "echo post-setup >> ../../trace",
           "pre-deploy-local": "echo local >> ../local-trace", "pre-deploy": "echo pre-deploy >> ../../trace",
           "post-deploy": "echo \"$GREETING\" >> ../../trace; test -d \"$SHARED/logs\"""#,
    );
    stage.ok(&["production", "setup"]);
    stage.ok(&["production"]);
    for host in ["h1", "h2"] {
        let trace = fs::read_to_string(stage.root.join("hosts").join(host).join("trace")).expect("hooks ran");
        assert_eq!(trace, "pre-setup\npost-setup\npre-deploy\nit's $HOME; \"so\"\n", "{host}");
    }
    assert_eq!(fs::read_to_string(stage.root.join("local-trace")).expect("it ran"), "local\nlocal\n");
    let log = fs::read_to_string(stage.root.join("ssh.log")).expect("ssh was called");
    assert!(log.contains("ssh -o StrictHostKeyChecking=no -A -p 22 -i /k deploy@h1 "), "{log}");
    assert!(log.contains("-p 2222 -i /k root@h2 "), "{log}");

    stage.describe(r#""pre-deploy": "echo no; exit 3""#);
    stage.commit("two");
    let said = stage.run(&["production"]).err();
    assert!(said.contains("pre-deploy hook failed (exit code 3) on h1"), "{said}");
    assert_eq!(stage.deployed("h1"), "one", "nothing was changed");
}

#[test]
fn a_script_that_lies_here_is_carried_over_for_the_setup() {
    let stage = Stage::new();
    stage.describe(r#""pre-setup": "prepare.sh a b""#);
    fs::write(stage.work().join("prepare.sh"), "echo \"$1-$2\" > prepared\n").expect("the folder is ours");
    stage.ok(&["production", "setup"]);
    assert_eq!(fs::read_to_string(stage.root.join("hosts/h1/prepared")).expect("it ran"), "a-b\n");
}

#[test]
fn what_is_not_in_the_repository_is_not_deployed_in_silence() {
    let stage = Stage::new();
    stage.describe("");
    stage.ok(&["production", "setup"]);
    fs::write(stage.work().join("version"), "changed").expect("the folder is ours");
    assert!(stage.run(&["production"]).err().contains("commit or stash your changes"));
    stage.git(&stage.work(), &["add", "version"]);
    assert!(stage.run(&["production"]).err().contains("commit your staged changes"));
    stage.git(&stage.work(), &["commit", "--quiet", "-m", "two"]);
    assert!(stage.run(&["production"]).err().contains("push your changes"));
    stage.ok(&["production", "--force"]);
    assert_eq!(stage.deployed("h1"), "one");
}

#[test]
fn mistakes_are_named_with_their_remedy() {
    let stage = Stage::new();
    stage.describe("");
    let check = |args: &[&str], part: &str| {
        let said = stage.run(args).err();
        assert!(said.contains(part), "{args:?}: {said}");
    };
    check(&["staging"], "staging environment is not defined");
    check(&["staging"], "its block deploy has production");
    check(&["production"], "it is not set up yet");
    check(&["production", "ref", "--upload-pack=sh"], "begins with a dash");
    stage.ok(&["production", "setup"]);
    check(&["production", "setup"], "failed to clone");
    check(&["production", "no-such-branch"], "is neither a branch, nor a tag, nor a commit");
    stage.describe(r#""host": "down""#);
    check(&["production", "current"], "does `ssh deploy@down` work?");
    stage.describe(r#""host": "-oProxyCommand=touch x""#);
    check(&["production", "current"], "begins with a dash");
}

#[test]
fn after_it_apps_run_under_skep_and_under_pm2s_name() {
    let stage = Stage::new();
    let file = r#"{ "apps": [{ "name": "web", "script": "sleep", "args": "1000" }] }"#;
    fs::write(stage.work().join("skep.json"), file).expect("the folder is ours");
    stage.git(&stage.work(), &["add", "skep.json"]);
    stage.commit("with an app");
    stage.skep.ok(["pm2-link", stage.root.join("bin").to_str().expect("text")]);
    std::os::unix::fs::symlink(skep_tests::skep_binary(), stage.root.join("bin/skep")).expect("a link");
    // The file of the deployment is not in the repository here: a copy is, by the name that the hook uses.
    stage.describe(r#""host": "localhost", "path": "HERE", "post-deploy": "skep startOrReload skep.json""#);
    let path = stage.root.join("hosts/app");
    let text = fs::read_to_string(stage.root.join("ecosystem.json")).expect("it is there");
    let text = text.replace("HERE", path.to_str().expect("text"));
    fs::write(stage.root.join("ecosystem.json"), text).expect("the folder is ours");
    stage.ok(&["production", "setup"]);
    stage.ok(&["production"]);
    let first = stage.skep.settled("web", 1).pids();
    stage.ok(&["production"]);
    assert_ne!(stage.skep.settled("web", 1).pids(), first, "a new version is loaded");

    let mut command = stage.command(&["production", "current"]);
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let envs: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command = stage.skep.program(stage.root.join("bin/pm2"), words);
    command.current_dir(stage.work());
    command.envs(envs.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let said = finish(command).ok();
    assert!(said.lines().any(|line| line.len() == 7), "{said}");
}
