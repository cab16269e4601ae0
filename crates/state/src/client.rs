//! A worker's side: everything that belongs to somebody, and the events of being woken.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::event::Event;
use crate::flight::{Begin, Finish};
use crate::key::{Key, Table};
use crate::limiter::{Allowance, Verdict};
use crate::limits::POLL_EVENTS_MAX;
use crate::locks::{Ask, Granted};
use crate::queue::{Failure, Popped, PushOptions, QueueView};
use crate::spaces::Space;
use crate::store::Store;
use crate::{Owner, WallMs, channel, flight, limiter, locks, queue, wake, workers};

/// Looks at the own flag between two looks at the clock: a fraction of a microsecond.
const LOOKS_A_TIME: u32 = 16;

/// Who attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A worker that a supervisor numbered ([`crate::ENV_WORKER`], [`crate::ENV_GENERATION`]). Of several processes
    /// that have inherited a number, only the first has it; see [`Client::owner`].
    Worker(Owner),
    /// A thread of a worker, or a process that no supervisor started: the store gives it a number.
    Unnumbered,
}

/// An attached process (or thread). Detaches, and gives everything back, when dropped.
#[derive(Debug)]
pub struct Client {
    store: Store,
    owner: Owner,
    slot: usize,
    fifo: OwnedFd,
    /// Between [`Client::stay_awake`] and [`Client::fall_asleep`].
    awake: AtomicBool,
    /// Channels, and after which message each is listened to.
    channels: Mutex<HashMap<Vec<u8>, u64>>,
}

impl Client {
    /// Opens the store in `dir` and attaches to it.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Error::TooManyWorkers`].
    pub fn attach(dir: &Path, identity: Identity, now: WallMs) -> Result<Self> {
        Self::attach_to(Store::open(dir)?, identity, now)
    }

    /// Attaches to a store that this process has open.
    ///
    /// # Errors
    /// [`Error::TooManyWorkers`].
    pub fn attach_to(store: Store, identity: Identity, now: WallMs) -> Result<Self> {
        let owner = match identity {
            Identity::Worker(owner) => Some(owner),
            Identity::Unnumbered => None,
        };
        let control = &store.engine().control;
        let dead_self = owner.filter(|owner| workers::is_dead(control, *owner));
        for dead in workers::dead_unnumbered(control).into_iter().chain(dead_self) {
            workers::release(store.engine(), dead, now)?;
        }
        let (slot, owner, fifo) = workers::attach(store.engine(), owner, now)?;
        Ok(Self { store, owner, slot, fifo, awake: AtomicBool::new(false), channels: Mutex::default() })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who this is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Readable when there are events: then call [`Client::poll`]. Its bytes are the caller's to read away.
    #[must_use]
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }

    /// Another descriptor of the FIFO behind [`Client::wake_fd`], for an event loop that closes what it is given.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn wake_fd_clone(&self) -> Result<OwnedFd> {
        self.fifo
            .try_clone()
            .map_err(|e| Error::io("cannot duplicate the FIFO in", self.store.engine().dir(), e))
    }

    /// Its place in the table.
    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    pub(crate) fn attached(&self) -> Result<()> {
        let place = &self.store.engine().control.slots()[self.slot];
        if place.owner.load(Acquire) == self.owner.number() {
            return Ok(());
        }
        Err(Error::Detached { id: self.owner.id, generation: self.owner.generation })
    }

    /// Whether somebody (this process too) has told this one to look again since the last [`Client::poll`].
    #[must_use]
    pub fn signalled(&self) -> bool {
        self.flag().load(Relaxed) == wake::CALLED
    }

    /// The same, and lowers the flag: whoever writes after the look that follows raises it again.
    pub(crate) fn take_signal(&self) -> bool {
        self.signalled() && self.flag().swap(wake::ASLEEP, AcqRel) == wake::CALLED
    }

    fn flag(&self) -> &AtomicU32 {
        &self.store.engine().control.slots()[self.slot].signalled
    }

    /// From now on others only raise this process's flag ([`Client::signalled`]), which costs no system call on either side:
    /// the process promises to look at it again and again until it says [`Client::fall_asleep`]. For a moment only, when
    /// the next message is expected within microseconds.
    pub fn stay_awake(&self) {
        self.awake.store(true, Relaxed);
        // If it was called already, a byte may be on its way; it changes nothing.
        let _ = self.flag().compare_exchange(wake::ASLEEP, wake::AWAKE, AcqRel, Relaxed);
    }

    /// Whether this process is called ([`Client::signalled`]) within so many microseconds. It keeps the processor busy
    /// meanwhile: for who is awake.
    #[must_use]
    pub fn called_within(&self, us: u32) -> bool {
        let begin = wake::micros();
        loop {
            for _ in 0..LOOKS_A_TIME {
                if self.signalled() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if wake::micros() - begin >= u64::from(us) {
                return false;
            }
        }
    }

    /// The inverse of [`Client::stay_awake`]: from now on a byte comes again. True: something came meanwhile, and
    /// [`Client::poll`] has to be called.
    #[must_use]
    pub fn fall_asleep(&self) -> bool {
        self.awake.store(false, Relaxed);
        self.flag().compare_exchange(wake::AWAKE, wake::ASLEEP, AcqRel, Acquire) == Err(wake::CALLED)
    }

    /// Makes [`Client::wake_fd`] readable: another thread of this process has something for the first.
    pub(crate) fn wake_self(&self) {
        // A FIFO without room is readable already.
        let _ = rustix::io::write(&self.fifo, &[1]);
    }

    /// What happened. True: call again, there is more.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn poll(&self, now: WallMs) -> Result<(Vec<Event>, bool)> {
        let engine = self.store.engine();
        let place = &engine.control.slots()[self.slot];
        // First the flag, then the look: whoever writes after the look raises it again.
        let state = if self.awake.load(Relaxed) { wake::AWAKE } else { wake::ASLEEP };
        place.signalled.swap(state, AcqRel);
        let mailbox = Key::new(Table::Mail).u64(self.owner.number());
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |channel: &[u8]| channels.get(channel).copied();
        let (mail, messages, mut more) = engine.read(now, |view| {
            let (mut messages, mut more) = (Vec::new(), false);
            if place.interest.load(Relaxed) != 0 {
                more = channel::read(view, self.slot, POLL_EVENTS_MAX, since, &mut messages)?;
            }
            Ok((view.first(&mailbox)?.is_some(), messages, more))
        })?;
        let mut events = Vec::new();
        if mail {
            let taken = engine.write_freeing(now, |tx| {
                let rows = tx.keys(&mailbox, POLL_EVENTS_MAX)?;
                let mut events = Vec::with_capacity(rows.len());
                for row in &rows {
                    events.extend(tx.get(&Key::copy(row))?.and_then(Event::decode));
                    tx.delete_raw(row)?;
                }
                Ok(events)
            });
            match taken {
                Ok(taken) => {
                    more |= taken.len() == POLL_EVENTS_MAX;
                    events = taken;
                }
                // The mark is past these messages: they must not be lost. The next look meets the failure again.
                Err(_) if !messages.is_empty() => more = true,
                Err(error) => return Err(error),
            }
        }
        events.extend(messages);
        Ok((events, more))
    }

    /// Asks for a lock.
    ///
    /// # Errors
    /// [`Error::Detached`], [`Error::KeyTooLong`], or when the store itself fails; so for all functions below.
    pub fn lock(&self, ask: &Ask<'_>, now: WallMs) -> Result<Granted> {
        self.attached()?;
        self.store.write(now, |tx| locks::ask(tx, self.owner, ask))
    }

    /// Lets go of a lock; false if the request did not hold it (any more).
    ///
    /// If it goes to a request of this very process, [`Client::signalled`] tells, not [`Client::wake_fd`].
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn unlock(&self, name: &[u8], request: u32, now: WallMs) -> Result<bool> {
        let engine = self.store.engine();
        engine.write_freeing_as(self.slot, now, |tx| locks::release(tx, self.owner, request, name))
    }

    /// Takes a waiting request out of a lock's line; false if it waits no more: then its grant is in the mail.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn lock_cancel(&self, request: u32, now: WallMs) -> Result<bool> {
        self.store.write_freeing(now, |tx| locks::cancel(tx, self.owner, request))
    }

    /// Begins a single flight. `lease_ms`: after this time another may take it over.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn flight_begin(&self, name: &[u8], request: u32, lease_ms: u64, now: WallMs) -> Result<Begin> {
        if let Some(value) = self.store.read(now, |view| flight::peek(view, name))? {
            return Ok(Begin::Fresh(value));
        }
        self.attached()?;
        self.store.write(now, |tx| flight::begin(tx, self.owner, name, request, lease_ms))
    }

    /// Lands a flight; false if its lease was lost.
    ///
    /// # Errors
    /// See [`Client::lock`]; [`Error::ValueTooLong`].
    pub fn flight_finish(&self, name: &[u8], token: u64, how: Finish<'_>, now: WallMs) -> Result<bool> {
        self.store.write(now, |tx| flight::finish(tx, self.owner, name, token, how))
    }

    /// What landed with `token` or later; token 0: what may serve as stale.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn flight_value(&self, name: &[u8], token: u64, now: WallMs) -> Result<Option<Vec<u8>>> {
        self.store.read(now, |view| flight::value(view, name, token))
    }

    /// Waits no longer for a flight.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn flight_cancel(&self, request: u32, now: WallMs) -> Result<bool> {
        self.store.write_freeing(now, |tx| flight::cancel(tx, self.owner, request))
    }

    /// Forgets what landed.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn flight_forget(&self, name: &[u8], now: WallMs) -> Result<bool> {
        self.store.write_freeing(now, |tx| flight::forget(tx, name))
    }

    /// Listens to a channel: every message sent after this returns comes as [`Event::Message`].
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn subscribe(&self, channel: &[u8], now: WallMs) -> Result<()> {
        self.attached()?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.contains_key(channel) {
            return Ok(());
        }
        let since = self.store.write(now, |tx| Ok(channel::subscribe(tx, self.slot, channel)))?;
        channels.insert(channel.to_vec(), since);
        Ok(())
    }

    /// Listens no longer.
    pub fn unsubscribe(&self, channel: &[u8]) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.remove(channel);
        channel::set_interest(&self.store.engine().control, self.slot, channels.keys().map(Vec::as_slice));
    }

    /// Sends a message to all who listen to a channel, this process included; how many processes may care.
    ///
    /// Of its own message this process learns by [`Client::signalled`], not by [`Client::wake_fd`].
    ///
    /// # Errors
    /// See [`Client::lock`]; [`Error::ValueTooLong`].
    pub fn publish(&self, channel: &[u8], port: u32, payload: &[u8], now: WallMs) -> Result<usize> {
        if !channel::anybody_listens(&self.store.engine().control, channel) {
            return Ok(0);
        }
        let engine = self.store.engine();
        engine.write_as(self.slot, now, |tx| channel::publish(tx, self.owner, port, channel, payload))
    }

    /// Puts a job into a queue; its number.
    ///
    /// # Errors
    /// See [`Client::lock`]; [`Error::ValueTooLong`].
    pub fn push(&self, queue: &[u8], data: &[u8], options: &PushOptions, now: WallMs) -> Result<u64> {
        self.store.write(now, |tx| queue::push(tx, queue, data, options))
    }

    /// Takes a job; it is invisible to others for `visibility_ms`. None there: this process is told of the next one.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn pop(&self, queue: &[u8], request: u32, visibility_ms: u64, now: WallMs) -> Result<Popped> {
        self.attached()?;
        self.store.write(now, |tx| queue::pop(tx, self.owner, queue, request, visibility_ms))
    }

    /// A job is done; false if it was given to somebody else meanwhile.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn job_done(&self, queue: &[u8], job: u64, attempt: u32, now: WallMs) -> Result<bool> {
        self.store.write_freeing(now, |tx| queue::acknowledge(tx, self.owner, queue, job, attempt))
    }

    /// A job failed; false if it was given to somebody else meanwhile.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn job_failed(
        &self,
        queue: &[u8],
        job: u64,
        attempt: u32,
        how: &Failure<'_>,
        now: WallMs,
    ) -> Result<bool> {
        self.store.write_freeing(now, |tx| queue::fail(tx, self.owner, queue, job, attempt, how))
    }

    /// Gives a job more time from now; false if it was given to somebody else meanwhile.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn job_extend(&self, queue: &[u8], job: u64, attempt: u32, ms: u64, now: WallMs) -> Result<bool> {
        self.store.write(now, |tx| queue::extend(tx, self.owner, queue, job, attempt, ms))
    }

    /// Consumes a queue no longer.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn queue_leave(&self, queue: &[u8], now: WallMs) -> Result<()> {
        self.store.write_freeing(now, |tx| queue::leave(tx, self.owner, queue))
    }

    /// How many jobs a queue has.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn queue_view(&self, queue: &[u8], now: WallMs) -> Result<QueueView> {
        self.store.read(now, |view| queue::view(view, queue))
    }

    /// The dead jobs of a queue: number, data, last error.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn queue_dead(&self, queue: &[u8], most: usize, now: WallMs) -> Result<Vec<(u64, Vec<u8>, String)>> {
        self.store.read(now, |view| queue::dead(view, queue, most))
    }

    /// Puts dead jobs back; how many.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn queue_revive(&self, queue: &[u8], most: usize, now: WallMs) -> Result<usize> {
        self.store.write(now, |tx| queue::revive(tx, queue, most))
    }

    /// Uses points of a key's allowance; negative ones are given back.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn consume(
        &self,
        space: Space,
        key: &[u8],
        points: i64,
        allowance: &Allowance,
        now: WallMs,
    ) -> Result<Verdict> {
        self.store.write(now, |tx| limiter::consume(tx, space, key, points, allowance))
    }

    /// What a key has used.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn allowance(&self, space: Space, key: &[u8], allowance: &Allowance, now: WallMs) -> Result<Verdict> {
        self.store.read(now, |view| limiter::look(view, space, key, allowance))
    }

    /// Gives everything back now; the client is void afterwards.
    ///
    /// # Errors
    /// See [`Client::lock`].
    pub fn detach(&self, now: WallMs) -> Result<()> {
        if self.attached().is_ok() {
            workers::release(self.store.engine(), self.owner, now)?;
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Time matters only to what expires: nothing that is given back does. A failing store is told of elsewhere.
        let _ = self.detach(WallMs(0));
    }
}
