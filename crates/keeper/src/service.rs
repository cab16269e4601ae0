//! A service manager that wants to be told how we are: systemd's protocol of sd_notify(3), which others speak as well.
//!
//! One datagram a message to the socket in `NOTIFY_SOCKET`, in lines of `NAME=value`. Nothing is ever waited for, and
//! a message that cannot be sent is no reason for anything. Whether there is such a manager is the environment's to say.

use std::env::VarError;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variables by which a service manager speaks to its one process; they are nobody else's.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Whether a variable is for the service's main process alone.
#[must_use]
pub fn is_private(name: &OsStr) -> bool {
    VARIABLES.iter().any(|private| name == *private)
}

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    address: Option<SocketAddr>,
    /// How often it wants to hear that we are alive, in nanoseconds: half of the time after which it acts.
    watchdog_ns: Option<u64>,
    next_ns: u64,
    stopping: bool,
}

impl ServiceManager {
    /// The one that the environment names for this process, `pid`.
    #[must_use]
    pub fn from_environment(pid: u32) -> Self {
        Self::from_variables(|name| std::env::var(name), pid)
    }

    fn from_variables(variable: impl Fn(&str) -> Result<String, VarError>, pid: u32) -> Self {
        let address = variable("NOTIFY_SOCKET").ok().and_then(|name| address(&name));
        let ours = variable("WATCHDOG_PID").map_or(true, |text| text.parse() == Ok(pid));
        let watchdog_us = variable("WATCHDOG_USEC").ok().and_then(|text| text.parse::<u64>().ok());
        let watchdog_ns =
            watchdog_us.filter(|us| ours && address.is_some() && *us > 0).map(|us| us.saturating_mul(500));
        Self { address, watchdog_ns, next_ns: 0, stopping: false }
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.address.is_some()
    }

    /// We serve; again after [`ServiceManager::reloading`].
    pub fn ready(&self, status: &str) {
        if !self.stopping {
            self.send(&format!("READY=1\nSTATUS={status}"));
        }
    }

    /// This process is about to become another program, at `monotonic_us` of `CLOCK_MONOTONIC`.
    pub fn reloading(&self, monotonic_us: u64) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={monotonic_us}\nSTATUS=becoming another version"));
    }

    /// We are ending; told once.
    pub fn stopping(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.send("STOPPING=1\nSTATUS=stopping the workers");
        }
    }

    /// When it must hear of us next, by the clock that [`ServiceManager::tick`] is given.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        self.watchdog_ns.map(|_| self.next_ns)
    }

    /// Says that we are alive, if it is time.
    pub fn tick(&mut self, now_ns: u64) {
        if let Some(every_ns) = self.watchdog_ns
            && self.next_ns <= now_ns
        {
            self.next_ns = now_ns.saturating_add(every_ns);
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, text: &str) {
        let Some(address) = &self.address else { return };
        let Ok(socket) = UnixDatagram::unbound() else { return };
        if socket.set_nonblocking(true).is_ok() {
            // A manager that does not read has its own remedy: its timeouts.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

/// An absolute path, or `@` and an abstract name (sd_notify(3)).
fn address(name: &str) -> Option<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(OsStr::new(name).as_bytes()).ok(),
        None if name.starts_with('/') => SocketAddr::from_pathname(name).ok(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> ServiceManager {
        let find = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        };
        ServiceManager::from_variables(find, 7)
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 200];
        let count = socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn it_hears_of_every_turn_of_life_by_path_and_by_abstract_name() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("bind");
        let name = format!("skep-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("a name");
        let by_name = UnixDatagram::bind_addr(&abstract_address).expect("bind");
        for (socket, address) in [(by_path, path.display().to_string()), (by_name, format!("@{name}"))] {
            let mut manager = manager(&[("NOTIFY_SOCKET", &address), ("WATCHDOG_USEC", "10")]);
            manager.ready("here");
            assert_eq!(next(&socket), "READY=1\nSTATUS=here");
            manager.tick(1_000);
            assert_eq!((next(&socket).as_str(), manager.due_ns()), ("WATCHDOG=1", Some(6_000)));
            manager.tick(5_999);
            manager.reloading(3);
            assert!(next(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC=3"), "the tick was not due");
            manager.stopping();
            manager.stopping();
            manager.ready("too late");
            manager.tick(6_000);
            assert!(next(&socket).starts_with("STOPPING=1"));
            assert_eq!(next(&socket), "WATCHDOG=1");
        }
    }

    #[test]
    fn without_one_nothing_is_due() {
        let mut nobody = manager(&[("WATCHDOG_USEC", "10")]);
        nobody.tick(1);
        nobody.stopping();
        assert!(!nobody.is_there() && nobody.due_ns().is_none());
        assert!(!manager(&[("NOTIFY_SOCKET", "relative")]).is_there());
        let other = manager(&[("NOTIFY_SOCKET", "/x"), ("WATCHDOG_USEC", "10"), ("WATCHDOG_PID", "8")]);
        assert!(other.is_there() && other.due_ns().is_none(), "the watchdog is another process's");
    }
}
