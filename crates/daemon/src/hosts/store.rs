//! The store that hosts share: whose a fire time is, and who holds a lease.
//!
//! Both are asked for as often as one likes: who has it already is told so again. Tokens are above all that the store
//! gave before and above the number that the asker names, so that those of a home and of the store never collide.

use std::time::Duration;

use super::address::Address;
use super::postgres::Postgres;
use super::redis::Redis;

/// One question and its answer; a store that takes longer is as good as away.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection to the store, made when it is needed.
#[derive(Debug)]
pub(crate) enum Store {
    Redis(Redis),
    Postgres(Postgres),
}

/// Who asks, and under which names.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// What names in the store begin with.
    pub(crate) prefix: String,
    /// The host.
    pub(crate) host: String,
}

/// Something that one host gets for ever, or for as long as the store remembers.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// What.
    pub(crate) name: String,
    /// The token has to be above this one.
    pub(crate) above: u64,
    /// The store remembers the answer so long.
    pub(crate) kept: Duration,
    /// By the store's own clock it must not be asked for later than this: it may have forgotten the answer.
    pub(crate) until_unix_ms: i64,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Ours.
    Ours {
        /// Another one each time.
        token: u64,
    },
    /// Another host's.
    Theirs,
    /// Asked for too late.
    TooLate,
}

/// A lease that is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseRequest<'a> {
    /// Of what.
    pub(crate) name: &'a str,
    /// For so long, from when the store reads this.
    pub(crate) time: Duration,
    /// With this token it is ours already. Without one it becomes another lease even if it is this host's.
    pub(crate) renew: Option<u64>,
}

/// What the store says about a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    /// It is ours, for as long as was asked for, from the moment of asking on.
    Ours {
        /// The one that is renewed, or above all before it.
        token: u64,
    },
    /// Another host holds it.
    Theirs {
        /// Which.
        holder: String,
    },
}

// === impl Store

impl Store {
    /// Nothing is connected yet.
    pub(crate) fn new(address: Address) -> Self {
        match address {
            Address::Redis(place) => Self::Redis(Redis::new(place)),
            Address::Postgres(config) => Self::Postgres(Postgres::new(*config)),
        }
    }

    /// Whether it answers.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        match self {
            Self::Redis(store) => store.ping().await,
            Self::Postgres(store) => store.ping().await,
        }
    }

    /// Asks whose something is.
    pub(crate) async fn claim(&self, asker: &Asker, question: &Question) -> Result<Answer, String> {
        match self {
            Self::Redis(store) => store.claim(asker, question).await,
            Self::Postgres(store) => store.claim(asker, question).await,
        }
    }

    /// Takes or renews a lease.
    pub(crate) async fn lease(&self, asker: &Asker, request: &LeaseRequest<'_>) -> Result<Lease, String> {
        match self {
            Self::Redis(store) => store.lease(asker, request).await,
            Self::Postgres(store) => store.lease(asker, request).await,
        }
    }

    /// Lets a lease go, if it is still the one with this token.
    pub(crate) async fn release(&self, asker: &Asker, name: &str, token: u64) -> Result<(), String> {
        match self {
            Self::Redis(store) => store.release(asker, name, token).await,
            Self::Postgres(store) => store.release(asker, name, token).await,
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
