//! `cargo xtask demo`: the product at work on a real app, in a home of its own.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{paths, sh};

/// The port that examples/hello listens on unless it is taken.
const PORT_WANTED: u16 = 3000;
/// Requests after which a worker that never answered is a failure: the kernel's fair hash misses one of 64
/// workers in 64 × 50 requests with a probability below 10⁻²⁰.
const REQUESTS_PER_WORKER_MAX: usize = 50;
/// No answer of a hello world takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &[&str]) -> Result<()> {
    let keep = match args {
        [] => false,
        ["--keep"] => true,
        other => bail!("demo takes only --keep, not {other:?}"),
    };
    if paths::which("node").is_none() {
        bail!("node is not in PATH: the demo runs a Node.js app; install Node.js 18 or newer");
    }
    println!("$ cargo build --release --package skep");
    sh::run(sh::cargo().args(["build", "--release", "--locked", "--package", "skep"]))?;
    let demo = Demo { skep: paths::target().join("release/skep"), home: new_home()?, port: free_port()? };
    let shown = demo.show();
    if keep && shown.is_ok() {
        demo.say_how_to_go_on();
        return Ok(());
    }
    let ended = demo.end();
    shown.and(ended)?;
    println!("\nThe demo is over and everything is stopped. To keep it running: cargo xtask demo --keep");
    println!("Every test: cargo xtask test");
    Ok(())
}

struct Demo {
    skep: PathBuf,
    home: PathBuf,
    port: u16,
}

impl Demo {
    fn show(&self) -> Result<()> {
        sh::run(&mut self.skep(&["start", "examples/hello/app.js", "-i", "max", "--name", "hello"]))?;
        let workers = self.workers()?;
        println!(
            "\nOne request answered by each of the {} workers, all on port {}:",
            workers.len(),
            self.port
        );
        let mut missing = workers.clone();
        for _ in 0..workers.len() * REQUESTS_PER_WORKER_MAX {
            if missing.is_empty() {
                return Ok(());
            }
            let answer = self.get()?;
            let parsed: Value =
                serde_json::from_str(&answer).with_context(|| format!("the app answered {answer:?}"))?;
            if parsed["pid"].as_u64().is_some_and(|pid| missing.remove(&pid)) {
                println!("  GET / -> {answer}");
            }
        }
        bail!("no request reached the workers {missing:?}")
    }

    /// The command line, printed as a person would type it.
    fn skep(&self, args: &[&str]) -> Command {
        println!("\n$ skep {}", args.join(" "));
        self.quiet(args)
    }

    fn quiet(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.skep);
        command
            .args(args)
            .current_dir(paths::root())
            .env("SKEP_HOME", &self.home)
            .env("PORT", self.port.to_string());
        command
    }

    fn workers(&self) -> Result<BTreeSet<u64>> {
        let text = sh::output(&mut self.quiet(&["list", "--json"]))?;
        let apps: Value =
            serde_json::from_str(&text).context("`skep list --json` printed something that is no JSON")?;
        let slots = apps[0]["slots"].as_array().context("`skep list --json` shows no slots")?;
        slots.iter().map(|slot| slot["pid"].as_u64().context("a slot without a worker's pid")).collect()
    }

    /// One request on a connection of its own; the body.
    fn get(&self) -> Result<String> {
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.port)).context("the app refuses connections")?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        // HTTP/1.0: the body comes as it is and ends with the connection.
        stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("the app did not answer")?;
        let (_, body) =
            answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {answer:?}"))?;
        Ok(body.trim().to_owned())
    }

    fn end(&self) -> Result<()> {
        sh::run(&mut self.skep(&["kill"]))?;
        fs::remove_dir_all(&self.home).with_context(|| format!("cannot remove {}", self.home.display()))
    }

    fn say_how_to_go_on(&self) {
        let (skep, home, port) = (self.skep.display(), self.home.display(), self.port);
        println!(
            "\nThe app is still running. To go on:\n\
             \n  export SKEP_HOME={home}\n  alias skep={skep}\n\
             \n  curl http://127.0.0.1:{port}/\n  skep list | skep describe hello | skep logs hello\n  \
             skep scale hello +1 | skep reload hello\n  skep kill        # stops everything"
        );
    }
}

/// A home that no other demo uses.
fn new_home() -> Result<PathBuf> {
    let home = paths::target().join(format!("demo/{}", std::process::id()));
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    Ok(home)
}

/// The app's usual port, or one that the kernel finds when that is taken.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("0.0.0.0", PORT_WANTED)).or_else(|_| TcpListener::bind(("0.0.0.0", 0)));
    Ok(listener.context("no port is free")?.local_addr()?.port())
}
