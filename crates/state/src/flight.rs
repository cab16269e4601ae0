//! Single flight: of all callers in all processes one fetches, the others get what it fetched.
//!
//! Invariants: one lease at a time, with a token above all before; only the lease's holder may land the flight; a lease
//! ends by landing, by its holder's end, or after its time (then the next caller takes over).

use crate::error::{Error, Result};
use crate::event::Event;
use crate::key::{Key, Put, StoredName, Table, Take};
use crate::limits::ERROR_BYTES_MAX;
use crate::tx::{Tx, View};
use crate::workers::Holding;
use crate::{Owner, WallMs};

/// What a caller shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Use this value.
    Fresh(Vec<u8>),
    /// Use this value, and fetch a new one meanwhile: the lease is yours.
    Refresh {
        /// The value.
        value: Vec<u8>,
        /// The lease.
        token: u64,
    },
    /// Fetch: the lease is yours.
    Fetch {
        /// The lease.
        token: u64,
        /// An old value that may serve if the fetch fails.
        stale: Option<Vec<u8>>,
    },
    /// Somebody fetches: an event will tell. Begin again at `until`, when the lease ends.
    Wait {
        /// End of the lease.
        until: WallMs,
    },
}

/// For how long a value serves, in milliseconds from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// It is served this long; 0 = only to those who wait at this moment.
    pub fresh_ms: u64,
    /// This long before its end one caller fetches anew while the others are served.
    pub refresh_before_ms: u64,
    /// After its end it may serve this much longer if fetching fails.
    pub stale_ms: u64,
}

/// How a flight ends.
#[derive(Debug, Clone, Copy)]
pub enum Finish<'a> {
    /// With a value.
    Value(&'a [u8], Keep),
    /// With an error that those who wait are told (cut at 4 KiB).
    Failed(&'a str),
}

#[derive(Debug, Default)]
struct Flight<'a> {
    id: u64,
    /// 0 = none.
    lease: u64,
    lease_owner: u64,
    lease_until: u64,
    value_token: u64,
    fresh_until: u64,
    refresh_at: u64,
    stale_until: u64,
    name: &'a [u8],
    /// Meaningful if `value_token` is not 0.
    value: &'a [u8],
}

impl<'a> Flight<'a> {
    fn decode(bytes: &'a [u8]) -> Self {
        let mut take = Take(bytes);
        Self {
            id: take.u64(),
            lease: take.u64(),
            lease_owner: take.u64(),
            lease_until: take.ms(),
            value_token: take.u64(),
            fresh_until: take.ms(),
            refresh_at: take.ms(),
            stale_until: take.ms(),
            name: take.text(),
            value: take.0,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.name.len() + self.value.len());
        for number in [self.id, self.lease, self.lease_owner] {
            out.put_u64(number);
        }
        out.put_ms(self.lease_until);
        out.put_u64(self.value_token);
        for ms in [self.fresh_until, self.refresh_at, self.stale_until] {
            out.put_ms(ms);
        }
        out.put_text(self.name);
        out.extend_from_slice(self.value);
        out
    }

    fn leased(&self, now: WallMs) -> bool {
        self.lease != 0 && self.lease_until > now.0
    }

    fn fresh(&self, now: WallMs) -> bool {
        self.value_token != 0 && self.fresh_until > now.0
    }
}

fn row(stored: &[u8]) -> Key {
    Key::new(Table::Flights).push(stored)
}

/// The value if nothing is to be done: needs no transaction of the writer.
pub(crate) fn peek(view: &View<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let name = StoredName::new("flight name", name)?;
    let Some(bytes) = view.get(&row(name.as_slice()))? else { return Ok(None) };
    let flight = Flight::decode(bytes);
    let settled = flight.refresh_at > view.now.0 || flight.leased(view.now);
    Ok((flight.fresh(view.now) && settled).then(|| flight.value.to_vec()))
}

/// The value that landed with `token` or later, however old; or, with token 0, one that may still serve as stale.
pub(crate) fn value(view: &View<'_>, name: &[u8], token: u64) -> Result<Option<Vec<u8>>> {
    let name = StoredName::new("flight name", name)?;
    let Some(bytes) = view.get(&row(name.as_slice()))? else { return Ok(None) };
    let flight = Flight::decode(bytes);
    let serves = if token == 0 { flight.stale_until > view.now.0 } else { flight.value_token >= token };
    Ok((flight.value_token != 0 && serves).then(|| flight.value.to_vec()))
}

/// Begins: a value, the lease, or a place among those who wait.
pub(crate) fn begin(
    tx: &mut Tx<'_>,
    owner: Owner,
    name: &[u8],
    request: u32,
    lease_ms: u64,
) -> Result<Begin> {
    let name = StoredName::new("flight name", name)?;
    let key = row(name.as_slice());
    let bytes = tx.get(&key)?.map(<[u8]>::to_vec);
    let now = tx.now();
    let mut flight = match &bytes {
        Some(bytes) => Flight::decode(bytes),
        None => Flight { id: tx.ticket(), name: name.long().unwrap_or_default(), ..Flight::default() },
    };
    let leased = flight.leased(now);
    let fresh = flight.fresh(now);
    if fresh && (leased || flight.refresh_at > now.0) {
        return Ok(Begin::Fresh(flight.value.to_vec()));
    }
    if leased {
        let ticket = tx.ticket();
        let mut waiter = Vec::with_capacity(12);
        waiter.put_u64(owner.number());
        waiter.put_u32(request);
        tx.put(&Key::new(Table::Waiters).u64(flight.id).u64(ticket), &waiter)?;
        let mut wait = Vec::with_capacity(16);
        wait.put_u64(flight.id);
        wait.put_u64(ticket);
        tx.put(&Holding::FlightWait.key(owner).u32(request), &wait)?;
        return Ok(Begin::Wait { until: WallMs(flight.lease_until) });
    }
    if flight.lease != 0 {
        let late = Owner::from_number(flight.lease_owner);
        tx.delete(&Holding::Flight.key(late).name(&name))?;
    }
    let token = tx.control.next_fence();
    flight.lease = token;
    flight.lease_owner = owner.number();
    flight.lease_until = now.plus(lease_ms).0;
    tx.put(&key, &flight.encode())?;
    tx.put(&Holding::Flight.key(owner).name(&name), &[])?;
    let old = (flight.value_token != 0 && flight.stale_until.max(flight.fresh_until) > now.0)
        .then(|| flight.value.to_vec());
    Ok(match old {
        Some(value) if fresh => Begin::Refresh { value, token },
        stale => Begin::Fetch { token, stale },
    })
}

/// Ends a flight; false if the lease was lost meanwhile (then the outcome is not used).
pub(crate) fn finish(
    tx: &mut Tx<'_>,
    owner: Owner,
    name: &[u8],
    token: u64,
    how: Finish<'_>,
) -> Result<bool> {
    let stored = StoredName::new("flight name", name)?;
    let key = row(stored.as_slice());
    let Some(bytes) = tx.get(&key)?.map(<[u8]>::to_vec) else { return Ok(false) };
    let mut flight = Flight::decode(&bytes);
    if flight.lease != token || token == 0 {
        return Ok(false);
    }
    tx.delete(&Holding::Flight.key(owner).name(&stored))?;
    (flight.lease, flight.lease_owner, flight.lease_until) = (0, 0, 0);
    let now = tx.now();
    let max = tx.value_bytes_max();
    if let Finish::Value(value, keep) = how {
        if value.len() as u64 > max {
            return Err(Error::ValueTooLong { bytes: value.len(), max });
        }
        flight.value = value;
        flight.value_token = token;
        flight.fresh_until = now.plus(keep.fresh_ms).0;
        flight.refresh_at = now.plus(keep.fresh_ms.saturating_sub(keep.refresh_before_ms)).0;
        flight.stale_until = now.plus(keep.fresh_ms).plus(keep.stale_ms).0;
    }
    tx.put(&key, &flight.encode())?;
    let id = flight.id;
    match how {
        Finish::Value(..) => tell(tx, id, |request| Event::FlightDone { request, token })?,
        Finish::Failed(message) => {
            let cut = message.floor_char_boundary(ERROR_BYTES_MAX);
            tell(tx, id, |request| Event::FlightFailed { request, message: message[..cut].to_owned() })?;
        }
    }
    Ok(true)
}

/// Forgets a value, so that the next caller fetches. A flight under way lands as if nothing had happened.
pub(crate) fn forget(tx: &mut Tx<'_>, name: &[u8]) -> Result<bool> {
    let stored = StoredName::new("flight name", name)?;
    let key = row(stored.as_slice());
    let Some(bytes) = tx.get(&key)?.map(<[u8]>::to_vec) else { return Ok(false) };
    let mut flight = Flight::decode(&bytes);
    let had = flight.value_token != 0;
    (flight.value_token, flight.value) = (0, &[]);
    if flight.lease == 0 {
        tx.delete(&key)?;
    } else {
        tx.put(&key, &flight.encode())?;
    }
    Ok(had)
}

/// The lease's holder has ended: those who wait begin again, the first of them fetches.
pub(crate) fn abandon(tx: &mut Tx<'_>, owner: Owner, stored: &[u8]) -> Result<()> {
    let Some(bytes) = tx.get(&row(stored))?.map(<[u8]>::to_vec) else { return Ok(()) };
    let mut flight = Flight::decode(&bytes);
    if flight.lease_owner != owner.number() {
        return Ok(());
    }
    (flight.lease, flight.lease_owner, flight.lease_until) = (0, 0, 0);
    tx.put(&row(stored), &flight.encode())?;
    tell(tx, flight.id, |request| Event::FlightAgain { request })
}

/// A request waits no longer, of its own will.
pub(crate) fn cancel(tx: &mut Tx<'_>, owner: Owner, request: u32) -> Result<bool> {
    let key = Holding::FlightWait.key(owner).u32(request);
    let Some((id, ticket)) = tx.get(&key)?.map(|bytes| {
        let mut take = Take(bytes);
        (take.u64(), take.u64())
    }) else {
        return Ok(false);
    };
    tx.delete(&key)?;
    stop_waiting(tx, id, ticket)?;
    Ok(true)
}

pub(crate) fn stop_waiting(tx: &mut Tx<'_>, id: u64, ticket: u64) -> Result<()> {
    tx.delete(&Key::new(Table::Waiters).u64(id).u64(ticket)).map(|_| ())
}

fn tell(tx: &mut Tx<'_>, id: u64, event: impl Fn(u32) -> Event) -> Result<()> {
    let prefix = Key::new(Table::Waiters).u64(id);
    for key in tx.keys(&prefix, usize::MAX)? {
        let row = Key::new(Table::Waiters).push(&key[1..]);
        let Some((owner, request)) = tx.get(&row)?.map(|bytes| {
            let mut take = Take(bytes);
            (Owner::from_number(take.u64()), take.u32())
        }) else {
            continue;
        };
        tx.delete(&row)?;
        tx.delete(&Holding::FlightWait.key(owner).u32(request))?;
        tx.mail(owner, &event(request).encode())?;
    }
    Ok(())
}
