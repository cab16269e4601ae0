//! The Redis door beside Redis: the same client (`redis-benchmark`) on two Unix sockets of one machine, in turns.
//!
//! Operations a second tell how client and server share a machine's cores; the microseconds of CPU that the server spends
//! on an operation tell what is hidden by that, and by whatever else the machine does meanwhile.

mod suite;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use skep_tests::{Deadline, Port, Skep, Start, process};

use crate::Effort;
use crate::report::{Report, Series};
use crate::results::shown;

/// What `redis-benchmark` is asked for: what it is called here, its arguments, and the promise about it, if it has one of its own.
const LOADS: [(&str, &[&str], Option<&str>); 11] = [
    ("SET", &["-t", "set"], Some("door.set")),
    ("GET", &["-t", "get"], Some("door.get")),
    ("INCR", &["-t", "incr"], Some("door.incr")),
    ("SET, 16 at once", &["-t", "set", "-P", "16"], Some("door.set16")),
    ("GET, 16 at once", &["-t", "get", "-P", "16"], Some("door.get16")),
    ("SET of 100,000 keys, 16 at once", &["-t", "set", "-P", "16", "-r", "100000"], None),
    ("GET of 100,000 keys, 16 at once", &["-t", "get", "-P", "16", "-r", "100000"], None),
    ("INCR of 100,000 keys, 16 at once", &["-t", "incr", "-P", "16", "-r", "100000"], None),
    ("MSET of 100,000 keys, 16 at once", &["-t", "mset", "-P", "16", "-r", "100000"], None),
    ("HSET of 100,000 fields, 16 at once", &["-t", "hset", "-P", "16", "-r", "100000"], None),
    ("ZADD of 100,000 members, 16 at once", &["-t", "zadd", "-P", "16", "-r", "100000"], None),
];
/// Operations of one measurement for each second that it should take, roughly.
const OPERATIONS: u64 = 50_000;
const KEYS: u32 = 1_000_000;
/// Keys of one piece of the million.
const PIECE: u32 = 10_000;

/// A server and where it listens.
struct Server {
    pid: u32,
    socket: PathBuf,
}

/// Redis without persistence, ended with this value.
struct Redis {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .arg("--unixsocket")
            .arg(folder.path().join("redis.sock"))
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server: install it with apt-get")?;
        Ok(Self { child, folder })
    }

    fn server(&self) -> Server {
        Server { pid: self.child.id(), socket: self.folder.path().join("redis.sock") }
    }
}

/// A door that somebody has used, and Redis.
struct Pair {
    skep: Skep,
    ours: Server,
    redis: Redis,
}

impl Pair {
    fn start() -> Result<Self> {
        let (skep, redis) = (Skep::new(), Redis::start()?);
        skep.start(&Start::fixture("app", "http.cjs").port(Port::free().number()));
        let socket = skep.home().join("redis.sock");
        for socket in [&socket, &redis.server().socket] {
            Deadline::until("somebody listens", || UnixStream::connect(socket).ok());
            ask(socket, &["PING"])?;
        }
        let keeper = process::parent(skep.daemon().pid).context("the daemon has a keeper")?;
        let is_door = |pid: &u32| process::command_line(*pid).contains("__door");
        let pid = process::children(keeper).into_iter().find(is_door).context("somebody has connected")?;
        Ok(Self { skep, ours: Server { pid, socket }, redis })
    }
}

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let pair = Pair::start()?;
    let (ours, theirs) = (&pair.ours, pair.redis.server());
    let mut by_chance: Vec<(f64, &str)> = Vec::new();
    for (name, arguments, promise) in LOADS {
        let [mut rate, mut cpu] = [(); 2].map(|()| [Series::default(), Series::default()]);
        for _ in 0..effort.runs {
            for (index, server) in [ours, &theirs].into_iter().enumerate() {
                let (operations, cost) = measure(server, arguments, effort)?;
                rate[index].push(operations);
                cpu[index].push(cost);
            }
        }
        for (index, who) in ["door", "Redis"].into_iter().enumerate() {
            report.series(&format!("{name}: {who}"), "ops/s", &rate[index]);
            report.series(&format!("{name}: {who}, CPU of the server"), "us/op", &cpu[index]);
        }
        let ratio = report.ratio(&rate[0], &rate[1]);
        match promise {
            Some(key) => {
                let (ours, theirs) = (shown(rate[0].median()), shown(rate[1].median()));
                report.promise(key, ratio, format!("{ours} beside {theirs} a second"));
            }
            None => by_chance.push((ratio, name.split(' ').next().unwrap_or(name))),
        }
    }
    let (mean, note) = mean(by_chance)?;
    report.promise("door.random16", mean, note);
    suite::run(ours, &theirs, effort, report)?;
    drop(pair);
    memory(report)
}

/// The mean of ratios, and the least and the most of them with their tests.
fn mean(mut ratios: Vec<(f64, &str)>) -> Result<(f64, String)> {
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = (ratios.iter().map(|(ratio, _)| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let least = ratios.first().context("redis-benchmark ran no test")?;
    let most = ratios.last().context("redis-benchmark ran no test")?;
    Ok((mean, format!("{} {:.2} to {} {:.2}", least.1, least.0, most.1, most.0)))
}

/// Operations a second, and microseconds of CPU that the server spent on one.
fn measure(server: &Server, arguments: &[&str], effort: Effort) -> Result<(f64, f64)> {
    let many = if arguments.contains(&"-P") { 4 } else { 1 };
    let count = OPERATIONS * effort.seconds * many;
    let before = cpu_us(server.pid)?;
    let output = Command::new("redis-benchmark")
        .arg("-s")
        .arg(&server.socket)
        .args(["-n", &count.to_string(), "--csv"])
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .context("redis-benchmark: install redis-tools with apt-get")?;
    let cost = (cpu_us(server.pid)? - before) / count as f64;
    let told = String::from_utf8_lossy(&output.stdout);
    let rate = told.lines().last().and_then(|line| line.split(',').nth(1));
    let rate = rate.and_then(|text| text.trim_matches('"').parse().ok());
    Ok((rate.with_context(|| format!("redis-benchmark answered {told:?}"))?, cost))
}

/// CPU time that a process of one thread has had. (`stat` counts ticks, which are too coarse.)
fn cpu_us(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let ns: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(ns / 1000.0)
}

/// What a million small keys take, in stores that have nothing to use again.
fn memory(report: &mut Report) -> Result<()> {
    let Pair { skep, ours, redis: server } = Pair::start()?;
    let theirs = server.server();
    let door = || -> Result<f64> {
        let stats: serde_json::Value = serde_json::from_str(&skep.ok(["state", "stats", "--json"]))?;
        stats["used_bytes"].as_f64().context("used_bytes is a number")
    };
    let redis = || -> Result<f64> {
        let info = ask(&theirs.socket, &["INFO", "memory"])?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(used.context("used_memory is told")?.trim().parse()?)
    };
    let before = [door()?, redis()?];
    for server in [&ours, &theirs] {
        fill(&server.socket)?;
    }
    let per_key = |after: f64, before: f64| {
        let mut series = Series::default();
        series.push((after - before) / f64::from(KEYS));
        series
    };
    let (ours, theirs) = (per_key(door()?, before[0]), per_key(redis()?, before[1]));
    report.series("a small key: door, bytes of the store", "bytes", &ours);
    report.series("a small key: Redis, used_memory", "bytes", &theirs);
    let ratio = report.ratio(&ours, &theirs);
    report.promise(
        "door.memory",
        ratio,
        format!("{} beside {} bytes a key", shown(ours.median()), shown(theirs.median())),
    );
    Ok(())
}

fn fill(socket: &Path) -> Result<()> {
    for from in (0..KEYS).step_by(PIECE as usize) {
        let mut child = Command::new("redis-cli")
            .arg("-s")
            .arg(socket)
            .arg("--pipe")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("redis-cli: install redis-tools with apt-get")?;
        let mut text = Vec::new();
        for key in from..from + PIECE {
            let (key, value) = (format!("key:{key}"), key.to_string());
            write!(text, "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len())?;
        }
        child.stdin.take().context("it was piped")?.write_all(&text)?;
        if !child.wait()?.success() {
            bail!("redis-cli --pipe failed on {}", socket.display());
        }
    }
    Ok(())
}

fn ask(socket: &Path, command: &[&str]) -> Result<String> {
    let output = Command::new("redis-cli").arg("-s").arg(socket).args(command).output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(told) } else { bail!("redis-cli {command:?}: {told}") }
}
