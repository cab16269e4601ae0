//! What is measured: the same app under skep and under its peers.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use anyhow::Result;
use rustix::process::Signal;
use skep_tests::{Deadline, Node, Port, Skep, Start, node, process, root};

use crate::peers::Pm2;

/// Who runs the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// skep, with a balance.
    Skep(&'static str),
    /// Node's cluster, round robin by its primary.
    NodeRoundRobin,
    /// Node's cluster, all workers on one socket.
    NodeShared,
    /// PM2 in cluster mode.
    Pm2,
    /// Workers that bind the port themselves (`reusePort`, Node 24).
    SelfBound,
    /// One Node process, whatever is asked for.
    Bare,
}

/// Everybody who spreads connections over workers; skep first, then Node's own round robin.
pub(crate) const SPREADERS: [Subject; 7] = [
    Subject::Skep("auto"),
    Subject::NodeRoundRobin,
    Subject::Skep("shared"),
    Subject::NodeShared,
    Subject::Skep("ipc"),
    Subject::Pm2,
    Subject::SelfBound,
];

impl Subject {
    pub(crate) fn name(self) -> String {
        match self {
            Subject::Skep(balance) => format!("skep {balance}"),
            Subject::NodeRoundRobin => "node cluster rr".to_owned(),
            Subject::NodeShared => "node cluster none".to_owned(),
            Subject::Pm2 => "pm2 cluster".to_owned(),
            Subject::SelfBound => "self-bound".to_owned(),
            Subject::Bare => "one bare node".to_owned(),
        }
    }

    /// Starts `app` of `bench/apps` with so many workers; answers when all of them are there.
    pub(crate) fn start(self, app: &str, workers: usize) -> Result<Running> {
        let port = Port::free();
        let app = root().join("bench/apps").join(app);
        let holder = match self {
            Subject::Skep(balance) => {
                let skep = Skep::with_node(&usual());
                skep.start(
                    &Start::program("bench", app)
                        .instances(workers)
                        .port(port.number())
                        .flags(["--balance", balance]),
                );
                Holder::Skep(skep)
            }
            Subject::NodeRoundRobin | Subject::NodeShared => {
                let policy = if self == Subject::NodeShared { "none" } else { "rr" };
                let child = Command::new(usual().bin.join("node"))
                    .arg(root().join("bench/apps/cluster.js"))
                    .env("APP", app)
                    .env("WORKERS", workers.to_string())
                    .env("PORT", port.number().to_string())
                    .env("NODE_CLUSTER_SCHED_POLICY", policy)
                    .stdout(Stdio::null())
                    .spawn()?;
                Holder::Children(vec![child])
            }
            Subject::Pm2 => {
                let pm2 = Pm2::new()?;
                let port = port.number().to_string();
                pm2.command(&["start", &app.display().to_string(), "-i", &workers.to_string()])
                    .env("PORT", port)
                    .status()?;
                Holder::Pm2(pm2)
            }
            Subject::SelfBound => {
                let wrap = "const net=require('node:net'),l=net.Server.prototype.listen;\
                     net.Server.prototype.listen=function(p,...r){return l.call(this,{port:p,reusePort:true},...r)};\
                     require(process.env.APP)";
                let one = || {
                    Command::new(usual().bin.join("node"))
                        .args(["-e", wrap])
                        .env("APP", &app)
                        .env("PORT", port.number().to_string())
                        .stdout(Stdio::null())
                        .spawn()
                };
                Holder::Children((0..workers).map(|_| one()).collect::<Result<_, _>>()?)
            }
            Subject::Bare => {
                let child = Command::new(usual().bin.join("node"))
                    .arg(app)
                    .env("PORT", port.number().to_string())
                    .stdout(Stdio::null())
                    .spawn()?;
                Holder::Bare(child)
            }
        };
        let running = Running { port, holder };
        Deadline::until("the app answers", || TcpStream::connect(running.port.address()).ok());
        let workers = if self == Subject::Bare { 1 } else { workers };
        Deadline::until("all workers are there", || (running.workers().len() >= workers).then_some(()));
        Ok(running)
    }
}

/// The Node of every subject, so that supervisors are compared and not Nodes: the first long-term one with `reusePort`.
pub(crate) fn usual() -> Node {
    node(24)
}

/// A subject at work; ended when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) port: Port,
    pub(crate) holder: Holder,
}

/// Who holds the processes.
#[derive(Debug)]
pub(crate) enum Holder {
    Skep(Skep),
    Pm2(Pm2),
    /// Node's primary; or workers without one.
    Children(Vec<Child>),
    Bare(Child),
}

impl Running {
    /// The processes that supervise.
    pub(crate) fn supervisors(&self) -> Vec<u32> {
        match &self.holder {
            Holder::Skep(skep) => {
                let daemon = skep.daemon();
                vec![daemon.pid, daemon.keeper_pid]
            }
            Holder::Pm2(pm2) => pm2.daemon().into_iter().collect(),
            Holder::Children(children) if children.len() == 1 => vec![children[0].id()],
            Holder::Children(_) | Holder::Bare(_) => Vec::new(),
        }
    }

    /// The processes that serve.
    pub(crate) fn workers(&self) -> Vec<u32> {
        match &self.holder {
            Holder::Skep(skep) => skep.app("bench").pids(),
            Holder::Pm2(pm2) => pm2.workers(),
            Holder::Children(children) if children.len() == 1 => process::children(children[0].id()),
            Holder::Children(children) => children.iter().map(Child::id).collect(),
            Holder::Bare(child) => vec![child.id()],
        }
    }

    /// Seconds of processor time used so far by the supervisors, and by all.
    pub(crate) fn cpu_seconds(&self) -> (f64, f64) {
        let of = |pids: Vec<u32>| -> f64 { pids.into_iter().map(cpu_seconds).sum() };
        let supervisors = of(self.supervisors());
        (supervisors, supervisors + of(self.workers()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let children = match &mut self.holder {
            Holder::Skep(_) | Holder::Pm2(_) => return, // They end theirs.
            Holder::Children(children) => children.as_mut_slice(),
            Holder::Bare(child) => std::slice::from_mut(child),
        };
        for child in children {
            let workers = process::children(child.id());
            drop(child.kill());
            drop(child.wait());
            for worker in workers {
                drop(process::signal(worker, Signal::KILL)); // It may have gone with its primary.
            }
        }
    }
}

/// Processor time of a process's threads, in nanoseconds, as the scheduler counts it (`schedstat`: finer than ticks); 0
/// when it is gone.
pub(crate) fn cpu_ns(pid: u32) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let of = |thread: std::fs::DirEntry| -> Option<f64> {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    threads.flatten().filter_map(of).sum()
}

/// Processor time of a process, in seconds; 0 when it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let ticks = skep_sys::proc::stat(pid as i32).map_or(0, |stat| stat.cpu_ticks());
    ticks as f64 / skep_sys::proc::ticks_per_second() as f64
}
