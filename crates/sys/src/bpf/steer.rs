//! An eBPF program with its maps, as its owner handles it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::command::{self, MapType};
use super::load::{self, BpfError, BpfStage};
use super::programs::{
    COMPARED, COUNTERS, Kind, LOADS, Maps, SHARES, STRIDE, STRIDE_MAX, STRIDES, TABLE_HEAD_BYTES, TIME,
};

/// Most entries of a table, and most sockets: an app's limit on instances.
pub const TABLE_MAX: usize = 1024;
const TABLE_BYTES: usize = TABLE_HEAD_BYTES as usize + 4 * TABLE_MAX;

/// A steering program. The program itself lives with the group it is attached to; this is our hold on its maps.
///
/// The descriptors may be kept by another process ([`Steer::descriptors`]) and taken up again
/// ([`Steer::from_descriptors`]), without any privilege and without loading anything.
#[derive(Debug)]
pub struct Steer {
    kind: Kind,
    /// How many entries its program looks at.
    compared: usize,
    /// The queue of a socket that closes goes to the others.
    migrates: bool,
    table: OwnedFd,
    counters: OwnedFd,
    sockets: OwnedFd,
}

// === impl Steer ===

impl Steer {
    /// Creates the maps and loads the program; [`Steer::attach`] puts it to work.
    ///
    /// # Errors
    /// [`BpfError`], whose text says why in words for people. Typically: not permitted.
    pub fn load(kind: Kind) -> Result<(Self, OwnedFd), BpfError> {
        let map = |kind, bytes, entries, label| {
            command::create_map(kind, bytes, entries, label).map_err(BpfError::at(BpfStage::Map))
        };
        let mut steer = Self {
            kind,
            compared: COMPARED[0],
            migrates: false,
            sockets: map(MapType::ReuseportSockarray, 8, TABLE_MAX as u32, "skep_sockets")?,
            table: map(MapType::Array, TABLE_BYTES as u32, 1, "skep_table")?,
            counters: map(MapType::Array, 8, COUNTERS, "skep_counters")?,
        };
        let (program, migrates) = load::program(kind, steer.compared, steer.maps())?;
        steer.migrates = migrates;
        Ok((steer, program))
    }

    fn maps(&self) -> Maps<'_> {
        Maps { table: self.table.as_fd(), counters: self.counters.as_fd(), sockets: self.sockets.as_fd() }
    }

    /// How many entries the program looks at, beginning with each in turn, where it compares them.
    #[must_use]
    pub fn compared(&self) -> usize {
        self.compared
    }

    /// Whether the kernel gives the queue of a socket that closes, or that is shut down for reading, to those in the
    /// table (Linux 5.14, `BPF_SK_REUSEPORT_SELECT_OR_MIGRATE`). Without, those connections are reset.
    #[must_use]
    pub fn migrates(&self) -> bool {
        self.migrates
    }

    /// Sees to it that the program looks at as many of `entries` as any does: attaches another one to the group that
    /// `socket` belongs to, if need be. Without it, balance is a little worse.
    ///
    /// # Errors
    /// As [`Steer::load`] and [`Steer::attach`]; the program is then the one before.
    pub fn compare(&mut self, entries: usize, socket: BorrowedFd<'_>) -> Result<(), BpfError> {
        let compares = matches!(self.kind, Kind::ShortestQueue | Kind::LeastLoaded);
        let [_, most] = COMPARED;
        if !compares || entries <= self.compared || self.compared >= most {
            return Ok(());
        }
        let (program, migrates) = load::program(self.kind, most, self.maps())?;
        Self::attach(&program, socket)?;
        (self.compared, self.migrates) = (most, migrates);
        Ok(())
    }

    /// Attaches a loaded program to the `SO_REUSEPORT` group that `socket` belongs to.
    ///
    /// # Errors
    /// EINVAL (the socket is not bound, or has no SO_REUSEPORT).
    pub fn attach(program: &OwnedFd, socket: BorrowedFd<'_>) -> Result<(), BpfError> {
        command::attach(socket, program.as_fd()).map_err(BpfError::at(BpfStage::Attach))
    }

    /// What the program decides by.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Most entries that this program looks at.
    #[must_use]
    pub fn entries_max(&self) -> usize {
        match self.kind {
            Kind::RoundRobin | Kind::LeastLoaded | Kind::ShortestQueue => TABLE_MAX,
            Kind::SourceIp => super::IP_BUCKETS,
        }
    }

    /// Names a listening socket of the group by an index below [`TABLE_MAX`].
    ///
    /// # Errors
    /// EINVAL (it does not listen, or is in no group), EBUSY (it has an index already), E2BIG (the index).
    pub fn put_socket(&self, index: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let fd = socket.as_raw_fd() as u64;
        command::update(self.sockets.as_fd(), index, &fd.to_ne_bytes())
    }

    /// Forgets an index. A socket that closes is forgotten by the kernel itself.
    ///
    /// # Errors
    /// ENOENT: there was none.
    pub fn remove_socket(&self, index: u32) -> io::Result<()> {
        command::delete(self.sockets.as_fd(), index)
    }

    /// The indices to choose from, in one step: for round robin the sequence of turns, for the client address
    /// one entry a bucket ([`super::IP_BUCKETS`]). Entries beyond [`Steer::entries_max`] are left out.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn set_table(&self, entries: &[u32]) -> io::Result<()> {
        let entries = &entries[..entries.len().min(self.entries_max())];
        let mut value = vec![0u8; TABLE_BYTES];
        value[..4].copy_from_slice(&(entries.len() as u32).to_ne_bytes());
        for (to, entry) in value[TABLE_HEAD_BYTES as usize..].chunks_exact_mut(4).zip(entries) {
            to.copy_from_slice(&entry.to_ne_bytes());
        }
        command::update(self.table.as_fd(), 0, &value)
    }

    /// Sets a socket's load; each choice adds one.
    ///
    /// # Errors
    /// E2BIG: the index.
    pub fn set_load(&self, index: u32, load: u64) -> io::Result<()> {
        command::update(self.counters.as_fd(), LOADS + index, &load.to_ne_bytes())
    }

    /// A socket's load: the last one set, plus the choices since.
    ///
    /// # Errors
    /// E2BIG: the index.
    pub fn load_of(&self, index: u32) -> io::Result<u64> {
        self.counter(LOADS + index)
    }

    /// Says what the sockets weigh beside each other ([`Kind::ShortestQueue`]).
    ///
    /// # Errors
    /// E2BIG: an index, or the map was made by a skep whose program knew no weights.
    pub fn set_weights(&self, weights: impl Iterator<Item = (u32, u32)> + Clone) -> io::Result<()> {
        let heaviest = u64::from(weights.clone().map(|(_, weight)| weight).max().unwrap_or(1));
        for (index, weight) in weights {
            let stride = (STRIDE * heaviest / u64::from(weight.max(1))).min(STRIDE_MAX);
            command::update(self.counters.as_fd(), STRIDES + index, &stride.to_ne_bytes())?;
        }
        Ok(())
    }

    /// A socket's share begins where those of the others are now ([`Kind::ShortestQueue`]): a newcomer has no arrears.
    ///
    /// # Errors
    /// As [`Steer::set_weights`].
    pub fn level_share(&self, index: u32) -> io::Result<()> {
        let time = self.counter(TIME)?;
        command::update(self.counters.as_fd(), SHARES + index, &time.to_ne_bytes())
    }

    /// A connection that was given to `from` is served by `to` ([`Kind::ShortestQueue`]).
    ///
    /// # Errors
    /// As [`Steer::set_weights`].
    pub fn move_share(&self, from: u32, to: u32) -> io::Result<()> {
        let counters = self.counters.as_fd();
        let less = self.counter(SHARES + from)?.saturating_sub(self.stride(from)?);
        command::update(counters, SHARES + from, &less.to_ne_bytes())?;
        let more = self.counter(SHARES + to)?.saturating_add(self.stride(to)?);
        command::update(counters, SHARES + to, &more.to_ne_bytes())
    }

    fn stride(&self, index: u32) -> io::Result<u64> {
        Ok(match self.counter(STRIDES + index)? {
            0 => STRIDE,
            stride => stride,
        })
    }

    fn counter(&self, index: u32) -> io::Result<u64> {
        let mut value = [0u8; 8];
        command::lookup(self.counters.as_fd(), index, &mut value)?;
        Ok(u64::from_ne_bytes(value))
    }

    /// The maps' descriptors, to be kept elsewhere.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.table.as_fd(), self.counters.as_fd(), self.sockets.as_fd()]
    }

    /// Takes up a program again whose maps were kept elsewhere; `compared` and `migrates` are what [`Steer::compared`]
    /// and [`Steer::migrates`] said.
    #[must_use]
    pub fn from_descriptors(
        kind: Kind,
        compared: usize,
        migrates: bool,
        [table, counters, sockets]: [OwnedFd; 3],
    ) -> Self {
        Self { kind, compared, migrates, table, counters, sockets }
    }
}

/// Whether eBPF steering works here, tried by loading a program.
///
/// # Errors
/// The reason, in words for people.
pub fn capability() -> Result<(), BpfError> {
    Steer::load(Kind::RoundRobin).map(drop)
}
