//! The Redis door on TCP: off unless it is asked for (`skep state config redis_port=6379`), on 127.0.0.1 only, for who says
//! the password.
//!
//! The listening socket lies in the keeper's safe-box, as the Unix one does, so that a client that connects while the
//! daemon is away waits a moment instead of failing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use skep_api::{ErrorBody, ErrorCode, EventKind, StateConfig};
use skep_keeper::wire::Request;
use tokio::sync::Notify;

use crate::driver::Driver;

/// The socket's key in the keeper's safe-box.
pub(crate) const PORT_KEY: &[u8] = b"door-port";
/// The variable in which the door's process is told the password. Its environment is for its own user's eyes alone,
/// unlike its arguments.
pub(crate) const ENV_PASSWORD: &str = "SKEP_DOOR_PASSWORD";

/// Where it listens.
#[derive(Debug, Clone)]
pub(crate) struct DoorPort {
    port: u16,
    pub(crate) password: String,
    pub(crate) listener: Rc<OwnedFd>,
    /// Told when it is listened to no longer.
    pub(crate) closed: Rc<Notify>,
}

fn listen(port: u16) -> io::Result<OwnedFd> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

/// The port that a socket listens on.
fn port_of(listener: &OwnedFd) -> Option<u16> {
    let address = rustix::net::getsockname(listener).ok()?;
    SocketAddr::try_from(address).ok().map(|address| address.port())
}

impl Driver {
    /// What is configured, listening; the port that is open already stays as it is. Nothing is changed yet.
    ///
    /// # Errors
    /// When somebody else has the port.
    pub(crate) fn open_door_port(&self, config: &StateConfig) -> Result<Option<DoorPort>, ErrorBody> {
        let (Some(port), Some(password)) = (config.redis_port, config.redis_password.clone()) else {
            return Ok(None);
        };
        if let Some(open) = self.door.port.as_ref().filter(|open| open.port == port) {
            return Ok(Some(DoorPort { password, ..open.clone() }));
        }
        let listener = listen(port).map_err(|error| {
            let message = format!("redis_port: 127.0.0.1:{port} cannot be listened on: {error}");
            ErrorBody::new(ErrorCode::Conflict, message)
                .with_hint("nothing was changed; end what has the port, or choose another")
        })?;
        Ok(Some(DoorPort { port, password, listener: Rc::new(listener), closed: Rc::default() }))
    }

    /// Listens there from now on. Clients of the door connect anew when anything has changed: its process begins again.
    pub(crate) fn change_door_port(&mut self, port: Option<DoorPort>) {
        let now = |port: &Option<DoorPort>| port.as_ref().map(|port| (port.port, port.password.clone()));
        if now(&port) == now(&self.door.port) {
            return;
        }
        let before = std::mem::replace(&mut self.door.port, port.clone());
        let same = |a: &DoorPort, b: &DoorPort| Rc::ptr_eq(&a.listener, &b.listener);
        let stays = before.as_ref().zip(port.as_ref()).is_some_and(|(before, port)| same(before, port));
        if let Some(before) = before.filter(|_| !stays) {
            before.closed.notify_one();
        }
        if port.is_some() {
            // One process serves both: it must not be started for the one and be without the other.
            self.open_door();
        }
        match &port {
            Some(port) if !stays => {
                self.keep_door_port();
                self.attend_door(Rc::clone(&port.listener), Rc::clone(&port.closed));
            }
            Some(_) => {}
            None => self.ask(&Request::Drop { key: PORT_KEY.to_vec() }),
        }
        self.end_door();
    }

    /// Gives the keeper the listening socket.
    pub(crate) fn keep_door_port(&mut self) {
        let Some(port) = self.door.port.clone() else { return };
        self.ask_with(&Request::Store { key: PORT_KEY.to_vec(), note: Vec::new() }, &[port.listener.as_fd()]);
    }

    /// After a start of the daemon: what is configured, with the socket that the keeper has, if it is that one.
    pub(crate) fn take_back_door_port(&mut self, kept: Option<OwnedFd>) {
        let Ok(config) = self.state_config() else { return };
        let kept = kept.filter(|kept| config.redis_port.is_some() && port_of(kept) == config.redis_port);
        let opened = match (kept, config.redis_port, &config.redis_password) {
            (Some(kept), Some(port), Some(password)) => {
                let (password, listener) = (password.clone(), Rc::new(kept));
                Ok(Some(DoorPort { port, password, listener, closed: Rc::default() }))
            }
            _ => self.open_door_port(&config),
        };
        match opened {
            Ok(Some(port)) => {
                self.open_door();
                self.door.port = Some(port.clone());
                self.keep_door_port();
                self.attend_door(Rc::clone(&port.listener), Rc::clone(&port.closed));
            }
            Ok(None) => {}
            Err(error) => {
                crate::diary::note(format_args!("{}", error.message));
                self.tell(EventKind::Other, None, error.message);
            }
        }
    }
}
