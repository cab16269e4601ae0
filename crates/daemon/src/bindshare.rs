//! Answering the `bind` calls of programs that know nothing of skep.
//!
//! The first TCP or UDP `bind` to a port, or to a Unix path, gets the slot's share of that address in place of the
//! program's own socket. What skep cannot or should not share is left to the program.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::sync::Arc;

use skep_core::WorkerId;
use skep_keeper::wire::{Request, Scope};
use skep_listeners::{Address, Host, Transfer};
use skep_sys::seccomp::{BindAddress, BindCall, Next, Notifier, SocketKind};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::driver::{Driver, Shared};
use crate::ports::Wanted;

/// On x86 and ARM (signal(7)).
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

impl Driver {
    /// Takes charge of the notify descriptor of a worker's filter.
    pub(crate) fn share_binds(&mut self, id: WorkerId, notify: OwnedFd) {
        let Some(driver) = self.me.upgrade() else { return };
        let watched = notify.try_clone().and_then(|fd| crate::watch::watch(Arc::new(fd), Interest::READABLE));
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.notifier = Some(Rc::new(Notifier::new(notify)));
        match watched {
            Ok(watched) => {
                let task = tokio::task::spawn_local(serve(driver, id, watched));
                worker.own(task.abort_handle());
            }
            Err(error) => crate::diary::note(format_args!("cannot watch the binds of worker {id}: {error}")),
        }
    }

    /// The daemon before may have been killed with a call in its hands; the caller then waits inside `bind` for an
    /// answer that nobody owes it any more. A stop and a continuation make the kernel ask again (seccomp_unotify(2)).
    pub(crate) fn repeat_bind(&mut self, id: WorkerId) {
        if self.workers.get(&id).is_some_and(|worker| worker.listens.is_empty()) {
            for signal in [SIGSTOP, SIGCONT] {
                let child = u64::from(id.0);
                self.ask(&Request::Signal { child, signal, scope: Scope::Group });
            }
        }
    }

    /// Answers every call that waits; false when no process with the filter lives any more.
    fn answer_binds(&mut self, id: WorkerId) -> bool {
        let Some(notifier) = self.workers.get(&id).and_then(|worker| worker.notifier.clone()) else {
            return false;
        };
        loop {
            match notifier.next() {
                Ok(Next::Call(call)) => self.answer_bind(id, &notifier, &call),
                Ok(Next::Quiet) => return true,
                Ok(Next::Gone) => return false,
                Err(error) => {
                    crate::diary::note(format_args!("cannot read the binds of worker {id}: {error}"));
                    return true;
                }
            }
        }
    }

    fn answer_bind(&mut self, id: WorkerId, notifier: &Notifier, call: &BindCall) {
        let wanted = notifier
            .address(call)
            .and_then(|address| Ok((address, notifier.socket_kind(call)?)))
            .ok()
            .and_then(|(address, kind)| shared_address(&address, kind));
        let answered = match wanted {
            Some(address) => self.replace_socket(id, notifier, call, &address),
            None => notifier.allow(call),
        };
        // The caller may have gone meanwhile: then nobody waits for an answer.
        if let Err(error) = answered
            && error.raw_os_error() != Some(rustix::io::Errno::NOENT.raw_os_error())
        {
            crate::diary::note(format_args!("cannot answer a bind of worker {id}: {error}"));
        }
    }

    /// The address and its label; what the app shares already under the other family's name keeps that.
    fn shared_label(&mut self, app: skep_core::AppId, address: &Address) -> (Address, String) {
        let own = format!("bind {address}");
        match other_family(address).map(|other| (format!("bind {other}"), other)) {
            Some((label, Address::Tcp { host: Host::Ip(std::net::IpAddr::V6(_)), .. }))
                if self.ports.find(app, &label).is_some() =>
            {
                (address.clone(), label)
            }
            Some((label, _)) if self.ports.find(app, &label).is_some() => match address {
                // IPv4 is there alone: this one must leave it its share.
                Address::Tcp { host, port, .. } => {
                    (Address::Tcp { host: *host, port: *port, v6only: true }, own)
                }
                Address::Udp { .. } | Address::Unix { .. } | Address::Abstract { .. } => {
                    (address.clone(), own)
                }
            },
            Some(_) | None => (address.clone(), own),
        }
    }

    fn replace_socket(
        &mut self,
        id: WorkerId,
        notifier: &Notifier,
        call: &BindCall,
        address: &Address,
    ) -> std::io::Result<()> {
        let Some(worker) = self.workers.get(&id) else { return notifier.allow(call) };
        let (app, slot, spec) = (worker.app, worker.slot, Rc::clone(&worker.spec));
        let (address, label) = self.shared_label(app, address);
        let wanted = Wanted {
            app,
            slot,
            label: &label,
            address: &address,
            backlog: 0,
            data: None,
            transfer: Transfer::Nothing,
        };
        match self.socket(&wanted, &spec) {
            Ok((_, socket)) => {
                notifier.replace(call, socket.as_fd())?;
                self.listens(id, label);
                Ok(())
            }
            Err(error) => {
                self.cannot_listen(app, &spec.name, &error.to_string());
                notifier.refuse(call, error.errno())
            }
        }
    }
}

/// The address to share; `None` for what is left to the program: port 0 (each instance wants its own), other families,
/// sockets that do not serve.
fn shared_address(address: &BindAddress, kind: SocketKind) -> Option<Address> {
    match (address, kind) {
        (BindAddress::Inet(at), SocketKind::Tcp) if at.port() != 0 => {
            Some(Address::Tcp { host: host(at), port: at.port(), v6only: false })
        }
        (BindAddress::Inet(at), SocketKind::Udp) if at.port() != 0 => {
            Some(Address::Udp { host: host(at), port: at.port(), v6only: false })
        }
        (BindAddress::Unix(name), SocketKind::UnixStream) => unix(name),
        _ => None,
    }
}

/// A relative path is the program's own: its directory is not known for sure.
fn unix(name: &[u8]) -> Option<Address> {
    match name.split_first() {
        Some((0, name)) => Some(Address::Abstract { name: name.to_vec() }),
        Some((b'/', _)) => {
            let path = std::ffi::OsStr::from_bytes(name).into();
            Some(Address::Unix { path, mode: None, owner: None })
        }
        Some(_) | None => None,
    }
}

/// `0.0.0.0` beside `[::]` of the same port: programs that bind both (asyncio does) keep the two apart by
/// IPV6_V6ONLY, which cannot be seen from here. One dual-stack address serves both.
fn other_family(address: &Address) -> Option<Address> {
    let unspecified = |v6: bool| {
        let any: std::net::IpAddr =
            if v6 { std::net::Ipv6Addr::UNSPECIFIED.into() } else { std::net::Ipv4Addr::UNSPECIFIED.into() };
        Host::Ip(any)
    };
    match address {
        Address::Tcp { host, port, .. } if *host == unspecified(false) => {
            Some(Address::Tcp { host: unspecified(true), port: *port, v6only: false })
        }
        Address::Tcp { host, port, .. } if *host == unspecified(true) => {
            Some(Address::Tcp { host: unspecified(false), port: *port, v6only: false })
        }
        Address::Tcp { .. } | Address::Udp { .. } | Address::Unix { .. } | Address::Abstract { .. } => None,
    }
}

fn host(at: &std::net::SocketAddr) -> Host {
    match at {
        std::net::SocketAddr::V6(v6) if v6.scope_id() != 0 => Host::Scoped(*v6.ip(), v6.scope_id()),
        at => Host::Ip(at.ip()),
    }
}

async fn serve(driver: Shared, id: WorkerId, watched: AsyncFd<Arc<OwnedFd>>) {
    loop {
        let Ok(mut guard) = watched.readable().await else { return };
        if !driver.borrow_mut().answer_binds(id) {
            return;
        }
        guard.clear_ready();
    }
}
