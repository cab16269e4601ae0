//! Locks, as Web Locks has them: exclusive and shared, fair by arrival, with a fencing token.
//!
//! Invariants: never two holders unless all are shared; a shared request does not overtake a waiting exclusive one; a
//! token is above every token given before, by any lock; whoever holds or waits has a row in `Holdings`, so that its
//! end gives everything back.

use crate::error::Result;
use crate::event::Event;
use crate::key::{Key, Put, StoredName, Table, Take};
use crate::tx::{Tx, View};
use crate::workers::Holding;
use crate::{Owner, WallMs};
use std::sync::atomic::Ordering::Relaxed;

/// Who else may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody.
    Exclusive,
    /// Others that asked for it shared.
    Shared,
}

/// What to do when a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfBusy {
    /// Wait; the grant comes as [`Event::LockGranted`].
    Wait,
    /// Answer [`Granted::No`].
    Refuse,
    /// Take it from its holders, who are told by [`Event::LockLost`]. Those who wait go on waiting.
    Steal,
}

/// A request for a lock.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The lock's name, any bytes.
    pub name: &'a [u8],
    /// The caller's number for this request; events carry it. Not used twice at one time.
    pub request: u32,
    /// Exclusive or shared.
    pub mode: LockMode,
    /// What to do when it is held.
    pub if_busy: IfBusy,
    /// After how many milliseconds of holding it is taken away; 0 = never.
    pub ttl_ms: u64,
}

/// The answer to an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// It is yours, with this fencing token.
    Yes(u64),
    /// It will be told.
    Later,
    /// It is held, and the request was not to wait.
    No,
}

/// One who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Which worker.
    pub owner: Owner,
    /// Which of its requests.
    pub request: u32,
    /// Exclusive or shared.
    pub mode: LockMode,
    /// Its fencing token.
    pub token: u64,
    /// Since when.
    pub since: WallMs,
    /// When it is taken away; 0 = never.
    pub expires_ms: u64,
}

/// One who waits for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    /// Which worker.
    pub owner: Owner,
    /// Which of its requests.
    pub request: u32,
    /// Exclusive or shared.
    pub mode: LockMode,
    /// Since when.
    pub since: WallMs,
    ttl_ms: u64,
}

/// A lock as `skep state locks` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockView {
    /// Its name.
    pub name: Vec<u8>,
    /// Who holds it.
    pub holders: Vec<Holder>,
    /// Who waits, first come first.
    pub waiters: Vec<Waiter>,
}

impl LockMode {
    fn byte(self) -> u8 {
        match self {
            Self::Exclusive => 0,
            Self::Shared => 1,
        }
    }

    fn from_byte(byte: u8) -> Self {
        if byte == 1 { Self::Shared } else { Self::Exclusive }
    }
}

/// A lock's row: there while it is held or waited for.
#[derive(Debug, Default)]
struct Lock {
    id: u64,
    waiting: u64,
    holders: Vec<Holder>,
    name: Option<Vec<u8>>,
}

impl Lock {
    fn decode(bytes: &[u8]) -> Self {
        let mut take = Take(bytes);
        let (id, waiting, count) = (take.u64(), take.varint(), take.varint());
        let holders = (0..count).map(|_| Holder {
            owner: Owner::from_number(take.u64()),
            request: take.u32(),
            mode: LockMode::from_byte(take.u8()),
            token: take.u64(),
            since: WallMs(take.ms()),
            expires_ms: take.ms(),
        });
        let holders = holders.collect();
        let name = (!take.0.is_empty()).then(|| take.0.to_vec());
        Self { id, waiting, holders, name }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.holders.len() * 33);
        out.put_u64(self.id);
        out.put_varint(self.waiting);
        out.put_varint(self.holders.len() as u64);
        for holder in &self.holders {
            out.put_u64(holder.owner.number());
            out.put_u32(holder.request);
            out.push(holder.mode.byte());
            out.put_u64(holder.token);
            out.put_ms(holder.since.0);
            out.put_ms(holder.expires_ms);
        }
        out.extend_from_slice(self.name.as_deref().unwrap_or_default());
        out
    }

    fn admits(&self, mode: LockMode) -> bool {
        let shared = mode == LockMode::Shared && self.holders.iter().all(|h| h.mode == LockMode::Shared);
        self.holders.is_empty() || shared
    }
}

impl Waiter {
    fn decode(bytes: &[u8]) -> Self {
        let mut take = Take(bytes);
        Self {
            owner: Owner::from_number(take.u64()),
            request: take.u32(),
            mode: LockMode::from_byte(take.u8()),
            since: WallMs(take.ms()),
            ttl_ms: take.varint(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        out.put_u64(self.owner.number());
        out.put_u32(self.request);
        out.push(self.mode.byte());
        out.put_ms(self.since.0);
        out.put_varint(self.ttl_ms);
        out
    }
}

fn row(stored: &[u8]) -> Key {
    Key::new(Table::Locks).push(stored)
}

fn load(tx: &Tx<'_>, stored: &[u8]) -> Result<Option<Lock>> {
    Ok(tx.get(&row(stored))?.map(Lock::decode))
}

/// Writes the row, or removes it when nobody holds or waits.
fn save(tx: &mut Tx<'_>, stored: &[u8], lock: &Lock) -> Result<()> {
    if lock.holders.is_empty() && lock.waiting == 0 {
        return tx.delete(&row(stored)).map(|_| ());
    }
    tx.put(&row(stored), &lock.encode())
}

fn holding(holder: &Holder, stored: &[u8]) -> Key {
    Holding::Lock.key(holder.owner).u32(holder.request).push(stored)
}

fn grant(tx: &mut Tx<'_>, lock: &mut Lock, stored: &[u8], to: Waiter) -> Result<u64> {
    let token = tx.control.next_fence();
    let expires_ms = if to.ttl_ms == 0 { 0 } else { tx.now().plus(to.ttl_ms).0 };
    let (owner, request, mode) = (to.owner, to.request, to.mode);
    let holder = Holder { owner, request, mode, token, since: tx.now(), expires_ms };
    tx.put(&holding(&holder, stored), &[])?;
    if expires_ms != 0 {
        tx.put(&Key::new(Table::Timers).ms(expires_ms).u8(b'l').push(stored), &[])?;
        tx.due(WallMs(expires_ms));
    }
    tx.control.header().stats.grants.fetch_add(1, Relaxed);
    lock.holders.push(holder);
    Ok(token)
}

/// Hands the lock to those who wait, in their order, for as long as it admits them.
fn grant_waiting(tx: &mut Tx<'_>, lock: &mut Lock, stored: &[u8]) -> Result<()> {
    let prefix = Key::new(Table::Waiters).u64(lock.id);
    while lock.waiting > 0 {
        let Some((key, waiter)) =
            tx.view().first(&prefix)?.map(|(key, value)| (key.to_vec(), Waiter::decode(value)))
        else {
            lock.waiting = 0;
            break;
        };
        if !lock.admits(waiter.mode) {
            break;
        }
        tx.delete_raw(&key)?;
        tx.delete(&Holding::LockWait.key(waiter.owner).u32(waiter.request))?;
        lock.waiting -= 1;
        let token = grant(tx, lock, stored, waiter)?;
        tx.mail(waiter.owner, &Event::LockGranted { request: waiter.request, token }.encode())?;
    }
    Ok(())
}

/// Takes the lock from holders that `gone` names, and tells them.
fn evict(tx: &mut Tx<'_>, lock: &mut Lock, stored: &[u8], gone: impl Fn(&Holder) -> bool) -> Result<()> {
    let (out, stay): (Vec<Holder>, Vec<Holder>) = lock.holders.iter().partition(|holder| gone(holder));
    lock.holders = stay;
    for holder in out {
        tx.delete(&holding(&holder, stored))?;
        tx.mail(holder.owner, &Event::LockLost { request: holder.request }.encode())?;
    }
    Ok(())
}

fn overdue(now: WallMs) -> impl Fn(&Holder) -> bool {
    move |holder| holder.expires_ms != 0 && holder.expires_ms <= now.0
}

/// Asks for a lock.
pub(crate) fn ask(tx: &mut Tx<'_>, owner: Owner, ask: &Ask<'_>) -> Result<Granted> {
    let name = StoredName::new("lock name", ask.name)?;
    let stored = name.as_slice();
    let mut lock = match load(tx, stored)? {
        Some(lock) => lock,
        None => Lock { id: tx.ticket(), name: name.long().map(<[u8]>::to_vec), ..Lock::default() },
    };
    let now = tx.now();
    if lock.holders.iter().any(overdue(now)) {
        evict(tx, &mut lock, stored, overdue(now))?;
        grant_waiting(tx, &mut lock, stored)?;
        save(tx, stored, &lock)?;
    }
    let waiter = Waiter { owner, request: ask.request, mode: ask.mode, since: now, ttl_ms: ask.ttl_ms };
    if lock.waiting == 0 && lock.admits(ask.mode) {
        let token = grant(tx, &mut lock, stored, waiter)?;
        save(tx, stored, &lock)?;
        return Ok(Granted::Yes(token));
    }
    match ask.if_busy {
        IfBusy::Refuse => Ok(Granted::No),
        IfBusy::Steal => {
            evict(tx, &mut lock, stored, |_| true)?;
            let token = grant(tx, &mut lock, stored, waiter)?;
            save(tx, stored, &lock)?;
            Ok(Granted::Yes(token))
        }
        IfBusy::Wait => {
            let ticket = tx.ticket();
            lock.waiting += 1;
            tx.put(&Key::new(Table::Waiters).u64(lock.id).u64(ticket), &waiter.encode())?;
            let mut wait = Vec::with_capacity(8 + stored.len());
            wait.put_u64(ticket);
            wait.extend_from_slice(stored);
            tx.put(&Holding::LockWait.key(owner).u32(ask.request), &wait)?;
            save(tx, stored, &lock)?;
            Ok(Granted::Later)
        }
    }
}

/// Lets go of a lock; false if the request does not hold it (any more).
pub(crate) fn release(tx: &mut Tx<'_>, owner: Owner, request: u32, name: &[u8]) -> Result<bool> {
    let name = StoredName::new("lock name", name)?;
    let key = Holding::Lock.key(owner).u32(request).name(&name);
    if !tx.delete(&key)? {
        return Ok(false);
    }
    give_back(tx, owner, request, name.as_slice())?;
    Ok(true)
}

/// Takes a request out of the line; false if it does not wait (any more): then it may have been granted.
pub(crate) fn cancel(tx: &mut Tx<'_>, owner: Owner, request: u32) -> Result<bool> {
    let key = Holding::LockWait.key(owner).u32(request);
    let Some(wait) = tx.get(&key)?.map(<[u8]>::to_vec) else { return Ok(false) };
    tx.delete(&key)?;
    let mut take = Take(&wait);
    stop_waiting(tx, take.u64(), take.0)?;
    Ok(true)
}

/// Removes a holder whose `Holdings` row is gone already.
pub(crate) fn give_back(tx: &mut Tx<'_>, owner: Owner, request: u32, stored: &[u8]) -> Result<()> {
    let Some(mut lock) = load(tx, stored)? else { return Ok(()) };
    lock.holders.retain(|holder| (holder.owner, holder.request) != (owner, request));
    grant_waiting(tx, &mut lock, stored)?;
    save(tx, stored, &lock)
}

/// Removes a waiter whose `Holdings` row is gone already.
pub(crate) fn stop_waiting(tx: &mut Tx<'_>, ticket: u64, stored: &[u8]) -> Result<()> {
    let Some(mut lock) = load(tx, stored)? else { return Ok(()) };
    if tx.delete(&Key::new(Table::Waiters).u64(lock.id).u64(ticket))? {
        lock.waiting -= 1;
    }
    // It may have been the exclusive one that shared ones behind it waited for.
    grant_waiting(tx, &mut lock, stored)?;
    save(tx, stored, &lock)
}

/// The timer of a lock with a ttl.
pub(crate) fn expire(tx: &mut Tx<'_>, stored: &[u8]) -> Result<()> {
    let Some(mut lock) = load(tx, stored)? else { return Ok(()) };
    let now = tx.now();
    evict(tx, &mut lock, stored, overdue(now))?;
    grant_waiting(tx, &mut lock, stored)?;
    save(tx, stored, &lock)
}

/// Everybody who holds or waits.
pub(crate) fn list(view: &View<'_>) -> Result<Vec<LockView>> {
    let table = Key::new(Table::Locks);
    let mut locks = Vec::new();
    for row in view.rows(&table)? {
        let (key, value) = row?;
        let lock = Lock::decode(value);
        let waiters = view.rows(&Key::new(Table::Waiters).u64(lock.id))?;
        let waiters =
            waiters.map(|row| row.map(|(_, value)| Waiter::decode(value))).collect::<Result<_>>()?;
        let name = lock.name.unwrap_or_else(|| key[1..].to_vec());
        locks.push(LockView { name, holders: lock.holders, waiters });
    }
    Ok(locks)
}
