//! Servers without skep: plain Node, Node's own cluster, PM2.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::Signal;
use skep_tests::{Deadline, Node, Port, fixture, http, node, process, tool};
use tempfile::TempDir;

/// One plain Node server.
pub(crate) struct Server {
    pub(crate) port: Port,
    folder: TempDir,
    child: Child,
}

fn usual() -> Node {
    node(22)
}

fn until_listening(port: &Port) {
    Deadline::until("the server listens", || TcpStream::connect(port.address()).ok());
}

impl Server {
    pub(crate) fn start(app: &str) -> Self {
        let port = Port::free();
        let folder = tempfile::tempdir().expect("there is room for a temporary folder");
        let socket = folder.path().join("app.sock");
        let child = Command::new(usual().bin.join("node"))
            .arg(fixture(app))
            .env("PORT", port.number().to_string())
            .env("SOCKET_PATH", &socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("Node runs");
        if app == "unix.js" {
            Deadline::until("the server listens", || http::get_unix(&socket, "/").ok());
        } else {
            until_listening(&port);
        }
        Self { port, folder, child }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("app.sock")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Node's own cluster with two workers.
pub(crate) struct NodeCluster {
    pub(crate) port: Port,
    child: Child,
    lines: std::cell::RefCell<BufReader<ChildStdout>>,
}

impl NodeCluster {
    pub(crate) fn start(app: &str) -> Self {
        let port = Port::free();
        let mut child = Command::new(usual().bin.join("node"))
            .arg(fixture("peers/node-cluster.js"))
            .env("PORT", port.number().to_string())
            .env("APP", fixture(app))
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node runs");
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).into();
        until_listening(&port);
        Self { port, child, lines }
    }

    /// Both workers, one after the other, by `disconnect`.
    pub(crate) fn reload(&self) {
        process::signal(self.child.id(), Signal::USR2).expect("the primary lives");
        let mut line = String::new();
        while line.trim() != "reloaded" {
            line.clear();
            let count = self.lines.borrow_mut().read_line(&mut line).expect("the primary speaks");
            assert!(count > 0, "the primary ended");
        }
    }
}

impl Drop for NodeCluster {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// PM2 with two cluster workers.
pub(crate) struct Pm2 {
    pub(crate) port: Port,
    home: TempDir,
}

impl Pm2 {
    pub(crate) fn start(app: &str) -> Self {
        let home = tempfile::tempdir().expect("there is room for a temporary folder");
        let pm2 = Self { port: Port::free(), home };
        let app = fixture(app);
        pm2.run(&["start", &app.to_string_lossy(), "-i", "2", "--name", "app"]);
        until_listening(&pm2.port);
        pm2
    }

    fn run(&self, args: &[&str]) {
        let output = Command::new(usual().bin.join("node"))
            .arg(tool("pm2/node_modules/pm2/bin/pm2"))
            .args(args)
            .env("PM2_HOME", self.home.path())
            .env("PORT", self.port.number().to_string())
            .stdin(Stdio::null())
            .output()
            .expect("PM2 runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "pm2 {args:?}: {said}");
    }

    pub(crate) fn reload(&self) {
        self.run(&["reload", "app"]);
    }

    /// SIGKILL, as the kernel does it when memory is short.
    pub(crate) fn kill_daemon(&self) {
        let pid = std::fs::read_to_string(self.home.path().join("pm2.pid")).expect("PM2 notes its pid");
        let pid = pid.trim().parse().expect("a pid is a number");
        if process::is_alive(pid) {
            process::kill(pid);
            process::wait_gone(pid);
        }
    }
}

impl Drop for Pm2 {
    fn drop(&mut self) {
        let mark = format!("PM2_HOME={}", self.home.path().display());
        for pid in process::with_environment(&mark) {
            drop(process::signal(pid, Signal::KILL));
        }
    }
}
