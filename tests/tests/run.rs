//! `skep run`: in the foreground, as in a container.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use skep_tests::{Deadline, Port, Skep, fixture, http, is_free, node, process, root, skep_binary};

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("skep runs")
}

fn serving(skep: &Skep, port: &Port, before: &[&str]) -> Child {
    let mut command = skep.command(["run"]);
    command.arg(fixture("http.cjs")).args(["-i", "2"]);
    if let Some((program, args)) = before.split_first() {
        let mut outer = Command::new(program);
        outer.args(args).arg(command.get_program()).args(command.get_args());
        outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
        command = outer;
    }
    command.env("PORT", port.number().to_string());
    let child = spawn(command);
    Deadline::until("the app serves", || http::get(port.address(), "/").ok());
    child
}

#[test]
fn it_serves_prints_the_logs_and_ends_when_asked() {
    for signal in [Signal::TERM, Signal::INT] {
        let (skep, port) = (Skep::new(), Port::free());
        let mut child = serving(&skep, &port, &[]);
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        process::signal(child.id(), signal).expect("it lives");
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{signal:?} is a wish, not a failure: {status}");
        assert!(is_free(port.number()));
        let lines: Vec<String> = lines.lines().map_while(Result::ok).collect();
        assert!(lines.iter().any(|line| line.contains("listening")), "the apps' own output: {lines:?}");
        assert_eq!(skep.processes(), Vec::<u32>::new(), "nothing is left behind");
    }
}

#[test]
fn it_ends_with_the_programs_own_exit_code() {
    let skep = Skep::new();
    let outcome =
        skep.run(["run", "--no-autorestart", "/bin/sh", "--", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(outcome.code, Some(3), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("out"), "{}", outcome.stdout);
    let outcome = skep.run(["run", "--no-autorestart", "/bin/true"]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn a_crashing_app_ends_the_container_after_its_restarts() {
    let skep = Skep::new();
    let outcome = skep.run(["run", "--max-restarts", "2", "/bin/sh", "--", "-c", "exit 9"]);
    assert!(outcome.code.is_some_and(|code| code != 0), "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn as_process_1_it_reaps_orphans_and_ends_when_asked() {
    // With a namespace for users, so that nobody has to be root.
    const UNSHARE: [&str; 7] =
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let possible = Command::new(UNSHARE[0]).args(&UNSHARE[1..]).arg("true").status();
    assert!(possible.is_ok_and(|status| status.success()), "the kernel allows user namespaces");
    let (skep, port) = (Skep::new(), Port::free());
    let mut child = serving(&skep, &port, &UNSHARE);
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let inner =
        std::fs::read_to_string(children).expect("unshare has a child").trim().parse().expect("one pid");
    assert!(process::command_line(inner).contains("skep"), "{}", process::command_line(inner));
    // An orphan of the namespace falls to process 1, which must not leave it a zombie. It ends with its standard input.
    let own = process::children(inner).len();
    let mut parent = Command::new("nsenter")
        .args(["--user", "--pid", "--mount", "--target", &inner.to_string(), "sh", "-c"])
        .arg("(cat <&3 >/dev/null 2>&1 &) 3<&0")
        .stdin(Stdio::piped())
        .spawn()
        .expect("nsenter runs");
    let input = parent.stdin.take().expect("a pipe");
    assert!(parent.wait().expect("it ends").success());
    let adopted = |count: usize| (process::children(inner).len() == count).then_some(());
    Deadline::until("the orphan is adopted", || adopted(own + 1));
    drop(input);
    Deadline::until("no zombie stays", || adopted(own));
    process::signal(inner, Signal::TERM).expect("it lives");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(is_free(port.number()));
}

#[test]
fn the_dockerfile_of_the_documentation_builds_and_runs_line_by_line() {
    let (skep, port) = (Skep::new(), Port::free());
    let (context, image) = (skep.root().join("context"), skep.root().join("image"));
    for folder in [&context, &image] {
        std::fs::create_dir(folder).expect("the folder is new");
    }
    std::fs::copy(root().join("examples/hello/app.js"), context.join("app.js")).expect("copied");
    std::fs::copy(skep_binary(), context.join("skep")).expect("copied");
    let package = r#"{"name":"app","version":"1.0.0"}"#;
    let lock = format!(
        r#"{{"name":"app","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{{"":{package}}}}}"#
    );
    std::fs::write(context.join("package.json"), package).expect("written");
    std::fs::write(context.join("package-lock.json"), lock).expect("written");
    let is_root = rustix::process::geteuid().is_root();
    let user: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
    let mut command = Command::new("unshare");
    command.args(user).args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"]);
    command.arg(fixture("dockerfile.sh")).arg(root().join("docs/examples/Dockerfile"));
    command.arg(&context).arg(&image).arg(node(22).bin.join("node")).env("PORT", port.number().to_string());
    let mut child = spawn(command);
    let answer = Deadline::until("the app serves, or its image cannot be made", || {
        let ended = child.try_wait().expect("it is ours").map(Err);
        ended.or_else(|| http::get(port.address(), "/").ok().map(Ok))
    });
    let Ok(answer) = answer else {
        let complaints = std::io::read_to_string(child.stderr.take().expect("a pipe")).unwrap_or_default();
        panic!("the image cannot be made:\n{complaints}");
    };
    assert_eq!(answer.json()["hello"], "world");
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let first = std::fs::read_to_string(children).expect("unshare has a child");
    let first = first.trim().parse().expect("one process is the container's first");
    assert!(process::command_line(first).contains("skep"), "{}", process::command_line(first));
    process::signal(first, Signal::TERM).expect("it lives");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(is_free(port.number()));
}
