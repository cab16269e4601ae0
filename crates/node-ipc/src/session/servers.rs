//! The servers of one worker, and which of them a message means.

use serde::{Deserialize, Serialize};

use crate::address::{Address, Query};
use crate::incoming::RawQuery;
use crate::skep::BoundServer;

/// Where a server is in its life; it is removed when closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The worker waits for our answer.
    Asked,
    /// Answered with a socket or with round robin; connections may be sent already.
    Answered,
    /// The worker said `listening`. `port` is the real one, absent for Unix sockets.
    Listening { port: Option<u16> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// Asked for by `queryServer`.
    Cluster { query: Query },
    /// Bound by the worker itself and reported by our preload (plain fork mode).
    Forked { bound: BoundServer },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    pub(crate) stage: Stage,
}

impl Server {
    /// True if connections may be sent to it.
    pub(crate) fn takes_connections(&self) -> bool {
        match self.stage {
            Stage::Asked => false,
            Stage::Answered | Stage::Listening { .. } => true,
        }
    }

    /// True if `bound`, which a worker reports of an open server, can be this one.
    fn is_bound_to(&self, bound: &BoundServer) -> Fit {
        match (&self.origin, bound) {
            (Origin::Forked { bound: own }, _) if own == bound => Fit::Exact,
            (Origin::Forked { .. }, _) => Fit::No,
            (Origin::Cluster { query }, BoundServer::Path { path }) => match &query.address {
                Address::Unix { path: own, .. } if own == path => Fit::Exact,
                Address::Unix { .. } | Address::Tcp { .. } | Address::Udp(_) => Fit::No,
                Address::Fd(_) => Fit::Perhaps,
            },
            (Origin::Cluster { query }, BoundServer::Ip { address, port }) => {
                let Stage::Listening { port: own_port } = self.stage else { return Fit::No };
                if own_port != Some(*port) {
                    return Fit::No;
                }
                match &query.address {
                    Address::Tcp { ip: Some(ip), .. } if address.parse() == Ok(*ip) => Fit::Exact,
                    Address::Tcp { ip: None, .. } | Address::Fd(_) => Fit::Perhaps,
                    Address::Tcp { .. } | Address::Unix { .. } | Address::Udp(_) => Fit::No,
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    /// The same port, and the address was left open.
    Perhaps,
    Exact,
}

/// How many servers are remembered that may be gone: those of a fork-mode worker, which does not tell of their end, and
/// those that a draining worker has closed. No service listens on so many at once.
const GONE_SERVERS_MAX: usize = 64;

/// All servers of a worker, in the order of their `listen()` calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Servers(Vec<Server>);

impl Servers {
    pub(crate) fn by_key(&self, key: &str) -> Option<&Server> {
        self.0.iter().find(|server| server.key == key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Server> {
        self.0.iter()
    }

    pub(crate) fn push(&mut self, server: Server) {
        self.0.push(server);
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Server> {
        let at = self.0.iter().position(|server| server.key == key)?;
        Some(self.0.remove(at))
    }

    /// Forgets the oldest server when there are too many.
    pub(crate) fn make_room(&mut self) {
        if self.0.len() >= GONE_SERVERS_MAX {
            self.0.remove(0);
        }
    }

    /// The server that was asked for with this `seq` and is not yet listening.
    pub(crate) fn asked(&mut self, seq: u64) -> Option<&mut Server> {
        self.0.iter_mut().find(|server| match &server.origin {
            Origin::Cluster { query } => query.seq == seq,
            Origin::Forked { .. } => false,
        })
    }

    /// The server that a `listening` message means: it repeats the question with the real port in place of 0.
    pub(crate) fn listening(&mut self, raw: &RawQuery<'_>) -> Option<&mut Server> {
        let said = Query::parse(raw).ok()?;
        self.0.iter_mut().find(|server| match &server.origin {
            Origin::Cluster { query } => {
                query.index == said.index
                    && (query.address == said.address || same_but_port(&query.address, &said.address))
            }
            Origin::Forked { .. } => false,
        })
    }

    /// The server that the preload names by its bound address.
    pub(crate) fn bound_to(&self, bound: &BoundServer) -> Option<&Server> {
        let best =
            self.0.iter().map(|server| (server.is_bound_to(bound), server)).max_by_key(|(fit, _)| *fit)?;
        (best.0 > Fit::No).then_some(best.1)
    }
}

/// True if `asked` left the port open and the rest is the same.
fn same_but_port(asked: &Address, said: &Address) -> bool {
    match (asked, said) {
        (Address::Tcp { port: 0, .. }, Address::Tcp { .. }) => {
            let mut said = said.clone();
            if let Address::Tcp { port, .. } = &mut said {
                *port = 0;
            }
            *asked == said
        }
        (Address::Udp(asked), Address::Udp(said)) if asked.port == 0 => {
            *asked == crate::address::Udp { port: 0, ..said.clone() }
        }
        // `listen({fd})` says the port of the descriptor, and still the descriptor.
        (Address::Fd(asked), Address::Fd(said)) => asked == said,
        (Address::Tcp { .. } | Address::Unix { .. } | Address::Fd(_) | Address::Udp(_), _) => false,
    }
}
