//! Opening an address, and a further socket on it.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use skep_core::SlotId;
use skep_sys::net::{
    DualStack, LocalAddress, NetError, Sharing, UnixAccess, UnixIdentity, UnixName, listen, local_address,
    tcp_bound, udp_bound, unix_bound,
};

use super::{Form, Group, Place, Slot};
use crate::steal::{PlaceId, Rule};
use crate::steer::Engine;
use crate::{Address, Balance, ListenError, Options, SLOTS_MAX};

/// A bound socket on its way into a group.
struct Opened {
    socket: OwnedFd,
    form: Form,
    local: LocalAddress,
    identity: Option<UnixIdentity>,
}

// === impl Group ===

impl Group {
    /// Opens an address that nobody else listens on. From now on clients can connect; they wait until a worker
    /// accepts.
    ///
    /// `SO_REUSEPORT` would let a second program of the same user in, so a socket without it is bound first.
    ///
    /// # Errors
    /// See [`ListenError`]; its `errno()` is what the kernel said.
    pub fn open(address: &Address, options: &Options) -> Result<Self, ListenError> {
        let wrap = |error| ListenError::new(address, error);
        let opened = match address {
            Address::Tcp { host, port, v6only } => first_of(&host.candidates(*port, *v6only), |at| {
                open_inet(at, *v6only, options, tcp_bound, true)
            }),
            Address::Udp { host, port, v6only } => first_of(&host.candidates(*port, *v6only), |at| {
                open_inet(at, *v6only, options, udp_bound, false)
            }),
            Address::Unix { path, mode, owner } => {
                let access = UnixAccess { mode: *mode, owner: *owner };
                open_unix(&UnixName::Path(path.clone()), access, options)
            }
            Address::Abstract { name } => {
                open_unix(&UnixName::Abstract(name.clone()), UnixAccess::default(), options)
            }
        }
        .map_err(wrap)?;
        let datagrams = matches!(address, Address::Udp { .. });
        let first = PlaceId(0);
        let engine = match opened.form {
            Form::Each(_) => Engine::choose(options.balance, datagrams, opened.socket.as_fd()),
            Form::One => Engine::one(options.balance),
        };
        // A failure leaves the first socket to the kernel's hash.
        let _ = engine.joined(first, opened.socket.as_fd());
        Ok(Self {
            address: resolved(address, &opened.local),
            local: opened.local,
            options: *options,
            form: opened.form,
            places: vec![Place::new(first, opened.socket)],
            slots: Vec::new(),
            identity: opened.identity,
            engine,
            rule: Rule::new(super::power(options)),
            avoid: Vec::new(),
            turn: 0,
            watch: None,
            changed: true,
        })
    }

    /// The socket of a slot, opened if the slot is new: non-blocking, listening, ready to be handed to a worker.
    /// A new slot is not live.
    ///
    /// # Errors
    /// EMFILE, or [`ListenError::TooManySlots`].
    pub fn socket(&mut self, slot: SlotId) -> Result<BorrowedFd<'_>, ListenError> {
        let place = match self.slots.iter().find(|s| s.id == slot) {
            Some(known) => known.place,
            None => self.add(slot)?,
        };
        let place =
            self.place(place).expect("every slot has a place: add makes it and only retire removes it");
        Ok(place.socket.as_fd())
    }

    fn add(&mut self, slot: SlotId) -> Result<PlaceId, ListenError> {
        if self.slots.len() >= SLOTS_MAX {
            return Err(ListenError::TooManySlots { address: Box::new(self.address.clone()), slot });
        }
        let place = match self.form {
            Form::One => PlaceId(0),
            Form::Each(at) => match self.spare() {
                Some(spare) => spare,
                None => self.open_place(at)?,
            },
        };
        let new = Slot { id: slot, place, live: false, weight: 1, load: 0, pending: 0 };
        let at = self.slots.partition_point(|s| s.id < slot);
        self.slots.insert(at, new);
        self.changed = true;
        self.steer();
        self.arm();
        Ok(place)
    }

    /// A socket without a slot: the first one, or that of a slot retired a moment ago.
    fn spare(&self) -> Option<PlaceId> {
        let free = |place: &&Place| !self.slots.iter().any(|slot| slot.place == place.id);
        self.places.iter().find(free).map(|place| place.id)
    }

    fn open_place(&mut self, at: SocketAddr) -> Result<PlaceId, ListenError> {
        let v6only =
            matches!(self.address, Address::Tcp { v6only: true, .. } | Address::Udp { v6only: true, .. });
        let socket = match self.address {
            Address::Udp { .. } => udp_bound(at, Sharing::Group, stack(v6only)),
            Address::Tcp { .. } | Address::Unix { .. } | Address::Abstract { .. } => {
                tcp_bound(at, Sharing::Group, stack(v6only)).and_then(|socket| {
                    listen(&socket, self.options.backlog())?;
                    Ok(socket)
                })
            }
        }
        .map_err(|error| ListenError::new(&self.address, error))?;
        let used = |id: u32| self.places.iter().any(|place| place.id.0 == id);
        let id = (0..).map(PlaceId).find(|id| !used(id.0)).expect("fewer places than numbers");
        // A failure leaves this socket to the kernel's hash.
        let _ = self.engine.joined(id, socket.as_fd());
        self.places.push(Place::new(id, socket));
        Ok(id)
    }
}

/// Dual-stack addresses fall back to IPv4 only where the machine has no IPv6.
fn first_of(
    candidates: &[SocketAddr],
    open: impl Fn(SocketAddr) -> Result<Opened, NetError>,
) -> Result<Opened, NetError> {
    let (last, before) = candidates.split_last().expect("every host has a candidate");
    for at in before {
        match open(*at) {
            Err(error) if no_such_family(&error) => {}
            other => return other,
        }
    }
    open(*last)
}

fn no_such_family(error: &NetError) -> bool {
    let errno = Errno::from_raw_os_error(error.errno());
    matches!(errno, Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::PROTONOSUPPORT)
}

fn stack(v6only: bool) -> DualStack {
    if v6only { DualStack::V6Only } else { DualStack::Both }
}

fn open_inet(
    at: SocketAddr,
    v6only: bool,
    options: &Options,
    bound: fn(SocketAddr, Sharing, DualStack) -> Result<OwnedFd, NetError>,
    listens: bool,
) -> Result<Opened, NetError> {
    let stack = stack(v6only);
    let alone = bound(at, Sharing::Alone, stack)?;
    let one = matches!(options.balance, Balance::Shared | Balance::Ipc);
    let (socket, local) = if one {
        let local = local_address(&alone).map_err(bind_error)?;
        (alone, local)
    } else {
        // With port 0 the probe has found the port.
        let LocalAddress::Inet(at) = local_address(&alone).map_err(bind_error)? else {
            return Err(bind_error(std::io::ErrorKind::InvalidData.into()));
        };
        // TCP sockets with SO_REUSEADDR may overlap until one listens: the port is never free in between. UDP
        // has to give it back for an instant.
        let probe = listens.then_some(alone);
        let socket = bound(at, Sharing::Group, stack)?;
        drop(probe);
        (socket, LocalAddress::Inet(at))
    };
    if listens {
        listen(&socket, options.backlog())?;
    }
    let LocalAddress::Inet(resolved) = local else {
        return Err(bind_error(std::io::ErrorKind::InvalidData.into()));
    };
    let form = if one { Form::One } else { Form::Each(resolved) };
    Ok(Opened { socket, form, local, identity: None })
}

fn open_unix(name: &UnixName, access: UnixAccess, options: &Options) -> Result<Opened, NetError> {
    let (socket, identity) = unix_bound(name, access)?;
    listen(&socket, options.backlog())?;
    // Not getsockname: a long path was bound through a shorter one.
    Ok(Opened { socket, form: Form::One, local: LocalAddress::Unix(name.clone()), identity })
}

fn bind_error(source: std::io::Error) -> NetError {
    NetError { step: skep_sys::net::Step::Bind, source }
}

fn resolved(address: &Address, local: &LocalAddress) -> Address {
    let mut address = address.clone();
    if let Address::Tcp { port, .. } | Address::Udp { port, .. } = &mut address
        && let Some(real) = local.port()
    {
        *port = real;
    }
    address
}
