//! The means of steering: an eBPF program, a classic one, or none.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};
use skep_sys::bpf::classic::{self, Key, Program, Range};
use skep_sys::bpf::{Kind, Steer, shortest_queue_entry};

use super::{Buckets, Candidate, turns::turns};
use crate::steal::PlaceId;
use crate::{Balance, Selection, Selector};

/// The means of steering of one group, and why it is this one.
#[derive(Debug)]
pub(crate) struct Engine {
    means: Means,
    why: String,
    buckets: Buckets,
}

#[derive(Debug)]
enum Means {
    Ebpf(Steer),
    Classic(Key),
    Kernel,
    /// One socket: nothing to choose.
    One(Selector),
}

/// An engine in the safe-box; its descriptors travel beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    selector: Selector,
    why: String,
    buckets: Buckets,
    /// How many entries its program compares. Those that are older than this field looked at all, and their maps do not
    /// fit another program.
    #[serde(default = "all")]
    compared: usize,
    /// The queue of a socket that closes goes to the others; those that are older than this field never count on it.
    #[serde(default)]
    migrates: bool,
}

fn all() -> usize {
    usize::MAX
}

// === impl Engine ===

impl Engine {
    /// The engine of a group with one socket.
    pub(crate) fn one(balance: Balance) -> Self {
        let (selector, why) = match balance {
            Balance::Ipc => (Selector::Ipc, "asked for: the daemon accepts and hands over"),
            Balance::Shared => (Selector::Shared, "asked for: all workers accept from one socket"),
            Balance::Auto
            | Balance::Rr
            | Balance::Least
            | Balance::Weighted
            | Balance::Random
            | Balance::Hash
            | Balance::Ip => (Selector::Shared, "the kernel balances only TCP and UDP sockets"),
        };
        Self { means: Means::One(selector), why: why.to_owned(), buckets: Buckets::default() }
    }

    /// The best engine for `balance` that works here; `first` is any socket of the group.
    pub(crate) fn choose(balance: Balance, datagrams: bool, first: BorrowedFd<'_>) -> Self {
        // Round robin of datagrams would tear flows apart.
        let (ebpf, without, asked): (&[Kind], Key, &str) = match balance {
            Balance::Auto if datagrams => (&[], Key::Flow, "datagrams of one flow stay together"),
            Balance::Rr | Balance::Least | Balance::Weighted | Balance::Random if datagrams => {
                (&[], Key::Flow, "datagrams of one flow must stay together, so UDP is balanced by flow")
            }
            Balance::Auto => (
                &[Kind::ShortestQueue, Kind::RoundRobin],
                Key::Random,
                "the best there is, and eBPF is permitted",
            ),
            Balance::Rr | Balance::Weighted => (&[Kind::RoundRobin], Key::Random, "asked for"),
            Balance::Least => (&[Kind::LeastLoaded], Key::Random, "asked for"),
            Balance::Ip if datagrams => (&[], Key::SourceIp, "asked for"),
            Balance::Ip => (&[Kind::SourceIp], Key::SourceIp, "asked for"),
            Balance::Random => (&[], Key::Random, "asked for"),
            Balance::Hash => (&[], Key::Flow, "asked for"),
            Balance::Shared | Balance::Ipc => return Self::one(balance),
        };
        let mut why = asked.to_owned();
        for kind in ebpf {
            let loaded = Steer::load(*kind)
                .and_then(|(steer, program)| Steer::attach(&program, first).map(|()| steer));
            match loaded {
                Ok(steer) => return Self { means: Means::Ebpf(steer), why, buckets: Buckets::default() },
                Err(error) => why = error.to_string(),
            }
        }
        Self { means: Means::Classic(without), why, buckets: Buckets::default() }
    }

    /// Who chooses, and why.
    pub(crate) fn selection(&self) -> Selection {
        Selection { selector: self.selector(), why: self.why.clone() }
    }

    fn selector(&self) -> Selector {
        match &self.means {
            Means::Ebpf(steer) => match steer.kind() {
                Kind::ShortestQueue => Selector::EbpfShortest,
                Kind::RoundRobin => Selector::EbpfRr,
                Kind::LeastLoaded => Selector::EbpfLeast,
                Kind::SourceIp => Selector::EbpfIp,
            },
            Means::Classic(key) => match key {
                Key::SourceIp => Selector::CbpfIp,
                Key::Flow => Selector::CbpfHash,
                Key::Random | Key::Cpu => Selector::CbpfRandom,
            },
            Means::Kernel => Selector::KernelHash,
            Means::One(selector) => *selector,
        }
    }

    /// Makes a new socket of the group known. A failure costs that socket its share, never a connection.
    pub(crate) fn joined(&self, place: PlaceId, socket: BorrowedFd<'_>) -> io::Result<()> {
        match &self.means {
            Means::Ebpf(steer) => {
                steer.put_socket(place.0, socket)?;
                if steer.kind() == Kind::ShortestQueue {
                    // Without it balance takes a little longer.
                    let _ = steer.level_share(place.0);
                }
                Ok(())
            }
            Means::Classic(_) | Means::Kernel | Means::One(_) => Ok(()),
        }
    }

    /// Puts the tables into force. `first` is any socket of the group. Falls back to the kernel's hash when the
    /// kernel refuses. Says whether what the safe-box knows has changed.
    pub(crate) fn apply(&mut self, candidates: &[Candidate], first: BorrowedFd<'_>) -> bool {
        let sticky = matches!(self.selector(), Selector::EbpfIp | Selector::CbpfIp | Selector::CbpfHash);
        let tenants: Vec<PlaceId> = candidates.iter().filter(|c| c.tenanted).map(|c| c.place).collect();
        let changed = sticky && self.buckets.share(&tenants);
        let wanted: Vec<Candidate> = candidates.iter().filter(|c| c.wanted).copied().collect();
        if let Means::Ebpf(steer) = &mut self.means {
            // Refused, it goes on with fewer of them at a time.
            let _ = steer.compare(wanted.len(), first);
        }
        let Err(error) = self.put_into_force(candidates, &wanted, first) else { return changed };
        self.why = format!("the kernel refused {}: {error}", self.selector());
        // A daemon that came back with less privilege can still use the classic kind.
        if let Means::Ebpf(steer) = &self.means {
            self.means = Means::Classic(fallback(steer.kind()));
            if self.put_into_force(candidates, &wanted, first).is_ok() {
                return true;
            }
        }
        let _ = classic::detach(first);
        self.means = Means::Kernel;
        true
    }

    fn put_into_force(
        &self,
        all: &[Candidate],
        wanted: &[Candidate],
        first: BorrowedFd<'_>,
    ) -> io::Result<()> {
        match &self.means {
            Means::Ebpf(steer) => {
                if steer.kind() == Kind::ShortestQueue {
                    // A program from before the last upgrade knows no weights; it goes with its group.
                    let _ = steer.set_weights(wanted.iter().map(|c| (c.place.0, c.weight)));
                }
                steer.set_table(&self.entries(steer.kind(), wanted))
            }
            Means::Classic(key) => self.attach_classic(*key, all, wanted, first),
            Means::Kernel | Means::One(_) => Ok(()),
        }
    }

    fn entries(&self, kind: Kind, wanted: &[Candidate]) -> Vec<u32> {
        match kind {
            Kind::RoundRobin => turns(&wanted.iter().map(|c| (c.place.0, c.weight)).collect::<Vec<_>>()),
            Kind::ShortestQueue => {
                let weighty = wanted.iter().filter(|c| c.weight > 0);
                weighty.map(|c| shortest_queue_entry(c.place.0, c.position)).collect()
            }
            Kind::LeastLoaded => wanted.iter().map(|c| c.place.0).collect(),
            Kind::SourceIp => self.lent(wanted).map(|place| place.0).collect(),
        }
    }

    fn lent(&self, wanted: &[Candidate]) -> impl Iterator<Item = PlaceId> {
        self.buckets.lent(&wanted.iter().map(|c| c.place).collect::<Vec<_>>()).into_iter()
    }

    fn attach_classic(
        &self,
        key: Key,
        all: &[Candidate],
        wanted: &[Candidate],
        first: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let ranges: Vec<Range> = match key {
            Key::Random | Key::Cpu => {
                wanted.iter().map(|c| Range { width: c.weight, position: c.position }).collect()
            }
            Key::SourceIp | Key::Flow => {
                let position = |place| all.iter().find(|c| c.place == place).map_or(0, |c| c.position);
                self.lent(wanted).map(|place| Range { width: 1, position: position(place) }).collect()
            }
        };
        match Program::new(key, &ranges) {
            Some(program) => program.attach(first),
            // Nobody to choose from yet.
            None if wanted.is_empty() => Ok(()),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Sets a socket's load (only `least` looks at it).
    pub(crate) fn set_load(&self, place: PlaceId, load: u64) {
        if let Means::Ebpf(steer) = &self.means {
            // A stale load costs balance only.
            let _ = steer.set_load(place.0, load);
        }
    }

    /// A connection that waited at `from` was handed to the worker of `to`.
    pub(crate) fn moved(&self, from: PlaceId, to: PlaceId) {
        if let Means::Ebpf(steer) = &self.means
            && steer.kind() == Kind::ShortestQueue
        {
            // A share that is wrong by one costs balance only.
            let _ = steer.move_share(from.0, to.0);
        }
    }

    /// A socket's load as the kernel counts it, where it does.
    pub(crate) fn load(&self, place: PlaceId) -> Option<u64> {
        match &self.means {
            Means::Ebpf(steer) => steer.load_of(place.0).ok(),
            Means::Classic(_) | Means::Kernel | Means::One(_) => None,
        }
    }

    /// Whether the kernel gives the queue of a socket that closes to the others.
    pub(crate) fn migrates(&self) -> bool {
        match &self.means {
            Means::Ebpf(steer) => steer.migrates(),
            Means::Classic(_) | Means::Kernel | Means::One(_) => false,
        }
    }

    /// What the safe-box must know.
    pub(crate) fn stored(&self) -> Stored {
        let compared = match &self.means {
            Means::Ebpf(steer) => steer.compared(),
            Means::Classic(_) | Means::Kernel | Means::One(_) => all(),
        };
        Stored {
            selector: self.selector(),
            why: self.why.clone(),
            buckets: self.buckets.clone(),
            compared,
            migrates: self.migrates(),
        }
    }

    /// Descriptors for the safe-box.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.means {
            Means::Ebpf(steer) => steer.descriptors().to_vec(),
            Means::Classic(_) | Means::Kernel | Means::One(_) => Vec::new(),
        }
    }
}

/// The classic key that comes nearest to an eBPF program.
fn fallback(kind: Kind) -> Key {
    match kind {
        Kind::RoundRobin | Kind::LeastLoaded | Kind::ShortestQueue => Key::Random,
        Kind::SourceIp => Key::SourceIp,
    }
}

// === impl Stored ===

impl Stored {
    /// How many descriptors belong to it.
    pub(crate) fn descriptors(&self) -> usize {
        if self.kind().is_some() { 3 } else { 0 }
    }

    fn kind(&self) -> Option<Kind> {
        match self.selector {
            Selector::EbpfShortest => Some(Kind::ShortestQueue),
            Selector::EbpfRr => Some(Kind::RoundRobin),
            Selector::EbpfLeast => Some(Kind::LeastLoaded),
            Selector::EbpfIp => Some(Kind::SourceIp),
            Selector::CbpfRandom
            | Selector::CbpfIp
            | Selector::CbpfHash
            | Selector::KernelHash
            | Selector::Shared
            | Selector::Ipc => None,
        }
    }

    /// The engine again; `None` when the descriptors are not those it speaks of.
    pub(crate) fn revive(self, descriptors: Vec<OwnedFd>) -> Option<Engine> {
        let means = match (self.kind(), <[OwnedFd; 3]>::try_from(descriptors)) {
            (Some(kind), Ok(maps)) => {
                Means::Ebpf(Steer::from_descriptors(kind, self.compared, self.migrates, maps))
            }
            (Some(_), Err(_)) => return None,
            (None, _) => match self.selector {
                Selector::CbpfIp => Means::Classic(Key::SourceIp),
                Selector::CbpfHash => Means::Classic(Key::Flow),
                Selector::CbpfRandom => Means::Classic(Key::Random),
                Selector::KernelHash => Means::Kernel,
                Selector::Shared
                | Selector::Ipc
                | Selector::EbpfShortest
                | Selector::EbpfRr
                | Selector::EbpfLeast
                | Selector::EbpfIp => Means::One(self.selector),
            },
        };
        Some(Engine { means, why: self.why, buckets: self.buckets })
    }
}
