//! Real servers that hosts share: redis-server and PostgreSQL, each with a folder and an address of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::deadline::Deadline;
use crate::{Port, process};

/// A server that hosts share; it ends when it is dropped.
#[derive(Debug)]
pub struct SharedStore {
    kind: Kind,
    child: Child,
    port: Port,
    _folder: TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Redis,
    Postgres,
}

impl SharedStore {
    /// A redis-server.
    pub fn redis() -> Self {
        Self::start(Kind::Redis)
    }

    /// A PostgreSQL, which runs as nobody where the tests are root's: it refuses root.
    pub fn postgres() -> Self {
        let this = Self::start(Kind::Postgres);
        Deadline::until("PostgreSQL takes connections", || this.accepts());
        this
    }

    fn start(kind: Kind) -> Self {
        let (port, folder) = (Port::free(), tempfile::tempdir().expect("a folder"));
        let child = match kind {
            Kind::Redis => redis(&port, folder.path()),
            Kind::Postgres => postgres(&port, folder.path()),
        };
        let this = Self { kind, child, port, _folder: folder };
        Deadline::until("the store listens", || std::net::TcpStream::connect(this.port.address()).ok());
        this
    }

    /// What `skep hosts store=` is given.
    pub fn address(&self) -> String {
        let place = self.port.address();
        match self.kind {
            Kind::Redis => format!("redis://{place}"),
            Kind::Postgres => format!("postgres://skep@{place}/postgres"),
        }
    }

    /// It answers nobody any more, until [`SharedStore::resume`].
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// It goes on.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// The server and, of PostgreSQL, the processes that serve connections.
    fn signal_all(&self, signal: Signal) {
        let root = self.child.id();
        for pid in std::iter::once(root).chain(process::children(root)) {
            drop(process::signal(pid, signal));
        }
    }

    /// It starts up for a while in which it refuses everybody: "the database system is starting up". A start-up message
    /// (protocol 3.0, the manual's chapter "Message Formats") is answered with `R` when it is ready.
    fn accepts(&self) -> Option<()> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.port.address()).ok()?;
        let text = b"\0\x03\0\0user\0skep\0database\0postgres\0\0";
        let length = u32::try_from(text.len() + 4).expect("a short message");
        stream.write_all(&[&length.to_be_bytes(), &text[..]].concat()).ok()?;
        let mut first = [0];
        stream.read_exact(&mut first).ok()?;
        (first[0] == b'R').then_some(())
    }
}

impl Drop for SharedStore {
    fn drop(&mut self) {
        self.resume();
        let signal = match self.kind {
            Kind::Redis => Signal::KILL,
            // At once, with its children.
            Kind::Postgres => Signal::QUIT,
        };
        drop(process::signal(self.child.id(), signal));
        drop(self.child.wait());
    }
}

fn redis(port: &Port, folder: &Path) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port"]);
    server.arg(port.number().to_string()).arg("--dir").arg(folder);
    let child = server.stdout(Stdio::null()).spawn();
    child.expect("redis-server: run `cargo xtask tools`")
}

fn postgres(port: &Port, folder: &Path) -> Child {
    let (data, programs) = (folder.join("data"), programs());
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o777)).expect("our folder");
    let mut init = as_nobody(&programs.join("initdb"));
    init.args(["--username=skep", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--pgdata"]);
    let made = init.arg(&data).current_dir(folder).output().expect("initdb can be started");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let mut server = as_nobody(&programs.join("postgres"));
    server
        .arg("-D")
        .arg(&data)
        .args(["-F", "-h", "127.0.0.1", "-k", "", "-p"])
        .arg(port.number().to_string());
    let server = server.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    server.expect("postgres can be started")
}

/// Debian keeps PostgreSQL's programs out of `PATH`.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = folders.chain(std::env::split_paths(&path));
    all.find(|folder| folder.join("postgres").exists() && folder.join("initdb").exists())
        .expect("PostgreSQL: run `cargo xtask tools`")
}

fn as_nobody(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
    command
}
