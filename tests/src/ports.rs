//! Ports that no other test and no outgoing connection uses.

use std::fs::{self, File};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below Linux's range for outgoing connections (32768 on), so that no client's port is in the way.
const FIRST: u16 = 20_000;
/// How many ports the tests share.
const COUNT: u16 = 12_000;

/// A free port of 127.0.0.1 and of `::`, ours until it is dropped: also against tests in other processes.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Port {
    /// Finds one.
    ///
    /// # Panics
    /// When none is free.
    pub fn free() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let process = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            // Steps of a prime: neighbours in pid do not walk behind each other.
            let number = FIRST + process.wrapping_mul(31).wrapping_add(step.wrapping_mul(7)) % COUNT;
            if let Some(port) = Self::numbered(number) {
                return port;
            }
        }
        panic!("no port from {FIRST} on is free");
    }

    /// This one, if it is free.
    ///
    /// # Panics
    /// When the folder for temporary files is not writable.
    pub fn numbered(number: u16) -> Option<Self> {
        let folder = std::env::temp_dir().join("skep-test-ports");
        fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        let lock = File::create(folder.join(number.to_string())).expect("the folder is writable");
        (lock.try_lock().is_ok() && is_free(number)).then_some(Self { number, _lock: lock })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// On the loopback interface.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.number))
    }
}

/// Whether nobody listens on a port: it can be bound without sharing.
pub fn is_free(port: u16) -> bool {
    // The standard library sets SO_REUSEADDR, so that connections in TIME_WAIT do not count.
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok()
}
