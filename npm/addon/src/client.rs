//! A worker's handle of the store.

use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::bindgen_prelude::{Either3, Either4, Null};
use napi::{Env, sys};
use napi_derive::napi;
use skep_state::keys;
use skep_state::strings::{self, Expiry, If};
use skep_state::zsets::{self, Order};
use skep_state::{
    Allowance, Ask, Begin, Failure, Finish, Granted, Identity, IfBusy, Keep, LockMode, Owner, Popped, PushOptions,
    Retry, Space, SpaceKind, WallMs,
};

use crate::bytes::{Bytes, Handle};
use crate::errors::{Code, Result, invalid, to_js};
use crate::events::Item;
use crate::now;

/// V8 takes one piece of outside memory once a process: the first environment (thread) gets the counters' page,
/// others count by calls.
static PAGE_GIVEN: AtomicBool = AtomicBool::new(false);

/// An attached worker.
#[napi(js_name = "Client")]
pub struct Client {
    inner: skep_state::Client,
}

fn border(error: napi::Error) -> napi::Error<Code> {
    invalid(error.reason.clone())
}

/// Milliseconds since 1970 or a span, as JavaScript counts; negative and NaN are 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, NaN is 0")]
fn ms(number: f64) -> u64 {
    number as u64
}

#[expect(clippy::cast_precision_loss, reason = "counts and tokens stay below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

fn expiry(at: f64) -> Expiry {
    match at {
        at if at < 0.0 => Expiry::Keep,
        0.0 => Expiry::Never,
        at => Expiry::At(WallMs(ms(at))),
    }
}

fn space(number: u32) -> Space {
    Space::from_number(number)
}

fn order(descending: bool) -> Order {
    if descending { Order::Descending } else { Order::Ascending }
}

fn job_id(text: &str) -> Result<u64> {
    text.parse().map_err(|_| invalid(format!("job id {text:?} is not one that push or pop returned")))
}

#[napi]
impl Client {
    /// Opens the store and attaches. Without an id the store gives one.
    #[napi(constructor)]
    pub fn new(dir: String, id: Option<u32>, generation: Option<u32>) -> Result<Self> {
        let owner = id.map(|id| Owner { id, generation: generation.unwrap_or(0) });
        let identity = owner.map_or(Identity::Unnumbered, Identity::Worker);
        let inner = skep_state::Client::attach(Path::new(&dir), identity, now()).map_err(to_js)?;
        Ok(Self { inner })
    }

    #[napi]
    pub fn owner(&self) -> String {
        self.inner.owner().to_string()
    }

    /// A descriptor that is readable when there are events; the caller closes it.
    #[napi]
    pub fn wake_fd(&self) -> Result<i32> {
        use std::os::fd::IntoRawFd;
        self.inner.wake_fd_clone().map(IntoRawFd::into_raw_fd).map_err(to_js)
    }

    #[napi]
    pub fn signalled(&self) -> bool {
        self.inner.signalled()
    }

    #[napi]
    pub fn set_patience(&self, ms: u32) {
        self.inner.store().set_patience(ms);
    }

    /// `[more, ...events]`.
    #[napi]
    pub fn poll(&self, env: Env) -> Result<Vec<Either3<bool, Vec<Item>, Null>>> {
        let (events, more) = self.inner.poll(now()).map_err(to_js)?;
        let own = self.inner.owner().number();
        let mut all = Vec::with_capacity(events.len() + 1);
        all.push(Either3::A(more));
        for event in events {
            all.push(Either3::B(crate::events::to_js(env, event, own).map_err(border)?));
        }
        Ok(all)
    }

    #[napi]
    pub fn detach(&self) -> Result<()> {
        self.inner.detach(now()).map_err(to_js)
    }

    // --- counters

    #[napi]
    pub fn counter_place(&self, name: Bytes) -> Result<u32> {
        let place = self.inner.store().counter_place(name.as_slice(), now()).map_err(to_js)?;
        u32::try_from(place).map_err(|_| invalid("more counters than JavaScript can index"))
    }

    /// The counters' page as an ArrayBuffer, for the first environment of a process; `null` for others.
    #[napi]
    pub fn counter_page(&self, env: Env) -> Result<Either3<Handle, Null, ()>> {
        if PAGE_GIVEN.swap(true, Ordering::Relaxed) {
            return Ok(Either3::B(Null));
        }
        let page = self.inner.store().counter_page();
        let mut result = ptr::null_mut();
        let start = page.as_ptr().cast_mut().cast();
        // The memory stays mapped to the end of the process: this clone is never dropped.
        std::mem::forget(self.inner.store().clone());
        // SAFETY: the memory outlives the ArrayBuffer (above), is only ever accessed as atomics, and has no finalizer.
        let status = unsafe {
            sys::napi_create_external_arraybuffer(
                env.raw(),
                start,
                size_of_val(page),
                None,
                ptr::null_mut(),
                &raw mut result,
            )
        };
        if status != sys::Status::napi_ok {
            // Electron and the like forbid outside memory: calls work everywhere.
            return Ok(Either3::B(Null));
        }
        Ok(Either3::A(Handle::raw(result)))
    }

    #[napi]
    pub fn counter_add(&self, place: u32, by: i64) -> Result<i64> {
        self.inner.store().counter_add_at(place as usize, by).map_err(to_js)
    }

    #[napi]
    pub fn counter_set(&self, place: u32, value: i64) -> Result<i64> {
        self.inner.store().counter_set_at(place as usize, value).map_err(to_js)
    }

    // --- keys

    /// The number of a named space: `map`, `board` or `limiter`.
    #[napi]
    pub fn space(&self, kind: String, name: Bytes) -> Result<u32> {
        let kind = match kind.as_str() {
            "map" => SpaceKind::Map,
            "board" => SpaceKind::Board,
            "limiter" => SpaceKind::Limiter,
            other => return Err(invalid(format!("space kind {other:?} is none of map, board, limiter"))),
        };
        self.inner.store().space(kind, name.as_slice(), now()).map(Space::number).map_err(to_js)
    }

    #[napi]
    pub fn get(&self, env: Env, of: u32, key: Bytes) -> Result<Option<Handle>> {
        let mut handle = Ok(None);
        self.inner
            .store()
            .read(now(), |view| {
                handle = strings::get(view, space(of), key.as_slice())?
                    .map(|value| Handle::value(env, value))
                    .transpose();
                Ok(())
            })
            .map_err(to_js)?;
        handle.map_err(border)
    }

    /// `[value, version]`, or null.
    #[napi]
    pub fn get_versioned(
        &self,
        env: Env,
        of: u32,
        key: Bytes,
    ) -> Result<Option<Vec<Either3<f64, Handle, ()>>>> {
        let mut result = Ok(None);
        self.inner
            .store()
            .read(now(), |view| {
                result = match strings::get_versioned(view, space(of), key.as_slice())? {
                    Some((value, version)) => Handle::value(env, value)
                        .map(|value| Some(vec![Either3::B(value), Either3::A(float(version))])),
                    None => Ok(None),
                };
                Ok(())
            })
            .map_err(to_js)?;
        result.map_err(border)
    }

    /// `when`: 0 always, 1 if missing, 2 if there. `expires`: ms since 1970; 0 never; negative: as before.
    #[napi]
    pub fn set(&self, of: u32, key: Bytes, value: Bytes, expires: f64, when: u32) -> Result<bool> {
        let condition = match when {
            1 => If::Missing,
            2 => If::Exists,
            _ => If::Always,
        };
        let value = value.tagged();
        self.inner
            .store()
            .write(now(), |tx| {
                strings::set(tx, space(of), key.as_slice(), &value, expiry(expires), condition)
            })
            .map_err(to_js)
    }

    /// Sets (or, without a value, removes) a key if its version is still this one; 0: if it is missing.
    #[napi]
    pub fn set_if_version(
        &self,
        of: u32,
        key: Bytes,
        value: Option<Bytes>,
        expires: f64,
        version: f64,
    ) -> Result<bool> {
        let value = value.as_ref().map(Bytes::tagged);
        let key = key.as_slice();
        self.inner
            .store()
            .write(now(), |tx| {
                let found = keys::info(&tx.view(), space(of), key)?.map_or(0, |info| info.version);
                if found != ms(version) {
                    return Ok(false);
                }
                match &value {
                    Some(value) => {
                        strings::set(tx, space(of), key, value, expiry(expires), If::Always).map(|_| ())?;
                    }
                    None => keys::delete(tx, space(of), key).map(|_| ())?,
                }
                Ok(true)
            })
            .map_err(to_js)
    }

    #[napi]
    pub fn delete(&self, of: u32, key: Bytes) -> Result<bool> {
        let store = self.inner.store();
        store.write_freeing(now(), |tx| keys::delete(tx, space(of), key.as_slice())).map_err(to_js)
    }

    /// `at`: ms since 1970; 0 never.
    #[napi]
    pub fn expire(&self, of: u32, key: Bytes, at: f64) -> Result<bool> {
        let at = (at > 0.0).then(|| WallMs(ms(at)));
        let store = self.inner.store();
        store.write(now(), |tx| keys::expire(tx, space(of), key.as_slice(), at)).map_err(to_js)
    }

    /// When a key expires: ms since 1970; 0 never; -1: there is no such key.
    #[napi]
    pub fn expires(&self, of: u32, key: Bytes) -> Result<f64> {
        let store = self.inner.store();
        let info = store.read(now(), |view| keys::info(view, space(of), key.as_slice())).map_err(to_js)?;
        Ok(info.map_or(-1.0, |info| info.expires.map_or(0.0, |at| float(at.0))))
    }

    /// `[next | null, key, value, key, value, ...]`.
    #[napi]
    pub fn scan(
        &self,
        env: Env,
        of: u32,
        from: Option<Bytes>,
        most: u32,
    ) -> Result<Vec<Either3<Handle, Null, ()>>> {
        let mut result = Ok(Vec::new());
        let from = from.as_ref().map_or(&[][..], Bytes::as_slice);
        self.inner
            .store()
            .read(now(), |view| {
                let page = keys::scan(view, space(of), from, most as usize)?;
                let mut pairs = Vec::with_capacity(page.keys.len());
                for (key, _) in &page.keys {
                    if let Some(value) = strings::get(view, space(of), key)? {
                        pairs.push((key, value));
                    }
                }
                result = to_items(env, page.next.as_deref(), &pairs);
                Ok(())
            })
            .map_err(to_js)?;
        result.map_err(border)
    }

    /// Removes up to `most` keys of a space; how many.
    #[napi]
    pub fn clear(&self, of: u32, most: u32) -> Result<u32> {
        let store = self.inner.store();
        let count =
            store.write_freeing(now(), |tx| keys::clear(tx, space(of), most as usize)).map_err(to_js)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    // --- locks

    /// A fencing token; 0: wait for the event; -1: not available. `if_busy`: 0 wait, 1 refuse, 2 steal.
    #[napi]
    pub fn lock(&self, name: Bytes, request: u32, shared: bool, if_busy: u32, ttl_ms: f64) -> Result<f64> {
        let ask = Ask {
            name: name.as_slice(),
            request,
            mode: if shared { LockMode::Shared } else { LockMode::Exclusive },
            if_busy: match if_busy {
                1 => IfBusy::Refuse,
                2 => IfBusy::Steal,
                _ => IfBusy::Wait,
            },
            ttl_ms: ms(ttl_ms),
        };
        Ok(match self.inner.lock(&ask, now()).map_err(to_js)? {
            Granted::Yes(token) => float(token),
            Granted::Later => 0.0,
            Granted::No => -1.0,
        })
    }

    #[napi]
    pub fn unlock(&self, name: Bytes, request: u32) -> Result<bool> {
        self.inner.unlock(name.as_slice(), request, now()).map_err(to_js)
    }

    #[napi]
    pub fn lock_cancel(&self, request: u32) -> Result<bool> {
        self.inner.lock_cancel(request, now()).map_err(to_js)
    }

    /// Who holds and who waits, as JSON.
    #[napi]
    pub fn locks(&self) -> Result<String> {
        let locks = self.inner.store().locks(now()).map_err(to_js)?;
        Ok(crate::supervisor::locks_json(&locks))
    }

    // --- single flight

    /// `['fresh', value]`, `['refresh', value, token]`, `['fetch', stale | undefined, token]` or `['wait', until]`.
    #[napi]
    pub fn flight_begin(
        &self,
        env: Env,
        name: Bytes,
        request: u32,
        lease_ms: f64,
    ) -> Result<Vec<Either4<String, f64, Handle, ()>>> {
        let begin =
            self.inner.flight_begin(name.as_slice(), request, ms(lease_ms), now()).map_err(to_js)?;
        let kind = |kind: &str| Either4::A(kind.to_owned());
        let value = |bytes: &[u8]| Handle::value(env, bytes).map(Either4::C).map_err(border);
        Ok(match begin {
            Begin::Fresh(bytes) => vec![kind("fresh"), value(&bytes)?],
            Begin::Refresh { value: bytes, token } => {
                vec![kind("refresh"), value(&bytes)?, Either4::B(float(token))]
            }
            Begin::Fetch { token, stale } => {
                let stale = stale.map_or(Ok(Either4::D(())), |bytes| value(&bytes))?;
                vec![kind("fetch"), stale, Either4::B(float(token))]
            }
            Begin::Wait { until } => vec![kind("wait"), Either4::B(float(until.0))],
        })
    }

    #[napi]
    pub fn flight_land(
        &self,
        name: Bytes,
        token: f64,
        value: Bytes,
        fresh_ms: f64,
        refresh_before_ms: f64,
        stale_ms: f64,
    ) -> Result<bool> {
        let keep = Keep {
            fresh_ms: ms(fresh_ms),
            refresh_before_ms: ms(refresh_before_ms),
            stale_ms: ms(stale_ms),
        };
        let how = Finish::Value(&value.tagged(), keep);
        self.inner.flight_finish(name.as_slice(), ms(token), how, now()).map_err(to_js)
    }

    #[napi]
    pub fn flight_fail(&self, name: Bytes, token: f64, message: String) -> Result<bool> {
        let how = Finish::Failed(&message);
        self.inner.flight_finish(name.as_slice(), ms(token), how, now()).map_err(to_js)
    }

    #[napi]
    pub fn flight_value(&self, env: Env, name: Bytes, token: f64) -> Result<Option<Handle>> {
        let value = self.inner.flight_value(name.as_slice(), ms(token), now()).map_err(to_js)?;
        value.map(|value| Handle::value(env, &value)).transpose().map_err(border)
    }

    #[napi]
    pub fn flight_cancel(&self, request: u32) -> Result<bool> {
        self.inner.flight_cancel(request, now()).map_err(to_js)
    }

    #[napi]
    pub fn flight_forget(&self, name: Bytes) -> Result<bool> {
        self.inner.flight_forget(name.as_slice(), now()).map_err(to_js)
    }

    // --- channels

    #[napi]
    pub fn subscribe(&self, channel: Bytes) -> Result<()> {
        self.inner.subscribe(channel.as_slice(), now()).map_err(to_js)
    }

    #[napi]
    pub fn unsubscribe(&self, channel: Bytes) {
        self.inner.unsubscribe(channel.as_slice());
    }

    #[napi]
    pub fn publish(&self, channel: Bytes, port: u32, payload: Bytes) -> Result<u32> {
        let told = self.inner.publish(channel.as_slice(), port, &payload.tagged(), now()).map_err(to_js)?;
        Ok(u32::try_from(told).unwrap_or(u32::MAX))
    }

    // --- queues

    #[napi]
    #[allow(clippy::too_many_arguments, reason = "one call across the border, no object to take apart")]
    pub fn push(
        &self,
        queue: Bytes,
        data: Bytes,
        priority: u32,
        delay_ms: f64,
        retries: u32,
        after_ms: f64,
        doubles: bool,
    ) -> Result<String> {
        let options = PushOptions {
            priority: u8::try_from(priority).unwrap_or(u8::MAX),
            delay_ms: ms(delay_ms),
            retries,
            retry: Retry { after_ms: ms(after_ms), doubles },
        };
        let job = self.inner.push(queue.as_slice(), &data.tagged(), &options, now()).map_err(to_js)?;
        Ok(job.to_string())
    }

    /// `[id, data, attempt]`, or `[due]` (ms since 1970; 0: nothing is due).
    #[napi]
    pub fn pop(
        &self,
        env: Env,
        queue: Bytes,
        request: u32,
        visibility_ms: f64,
    ) -> Result<Vec<Either3<String, f64, Handle>>> {
        let popped = self.inner.pop(queue.as_slice(), request, ms(visibility_ms), now()).map_err(to_js)?;
        Ok(match popped {
            Popped::Job(job) => vec![
                Either3::A(job.id.to_string()),
                Either3::C(Handle::value(env, &job.data).map_err(border)?),
                Either3::B(f64::from(job.attempt)),
            ],
            Popped::Empty { due } => vec![Either3::B(due.map_or(0.0, |at| float(at.0)))],
        })
    }

    #[napi]
    pub fn job_done(&self, queue: Bytes, job: String, attempt: u32) -> Result<bool> {
        self.inner.job_done(queue.as_slice(), job_id(&job)?, attempt, now()).map_err(to_js)
    }

    /// `retries` below 0: as it was pushed.
    #[napi]
    #[allow(clippy::too_many_arguments, reason = "one call across the border, no object to take apart")]
    pub fn job_failed(
        &self,
        queue: Bytes,
        job: String,
        attempt: u32,
        error: String,
        retries: i32,
        after_ms: f64,
        doubles: bool,
    ) -> Result<bool> {
        let retry = Retry { after_ms: ms(after_ms), doubles };
        let policy = u32::try_from(retries).ok().map(|retries| (retries, retry));
        let how = Failure { error: &error, policy };
        self.inner.job_failed(queue.as_slice(), job_id(&job)?, attempt, &how, now()).map_err(to_js)
    }

    #[napi]
    pub fn job_extend(&self, queue: Bytes, job: String, attempt: u32, more_ms: f64) -> Result<bool> {
        let job = job_id(&job)?;
        self.inner.job_extend(queue.as_slice(), job, attempt, ms(more_ms), now()).map_err(to_js)
    }

    #[napi]
    pub fn queue_leave(&self, queue: Bytes) -> Result<()> {
        self.inner.queue_leave(queue.as_slice(), now()).map_err(to_js)
    }

    /// `[ready, delayed, active, dead]`.
    #[napi]
    pub fn queue_view(&self, queue: Bytes) -> Result<Vec<f64>> {
        let view = self.inner.queue_view(queue.as_slice(), now()).map_err(to_js)?;
        Ok([view.ready, view.delayed, view.active, view.dead].map(float).to_vec())
    }

    /// `[id, data, error, ...]`.
    #[napi]
    pub fn queue_dead(&self, env: Env, queue: Bytes, most: u32) -> Result<Vec<Either3<String, Handle, ()>>> {
        let dead = self.inner.queue_dead(queue.as_slice(), most as usize, now()).map_err(to_js)?;
        let mut items = Vec::with_capacity(dead.len() * 3);
        for (id, data, error) in dead {
            items.push(Either3::A(id.to_string()));
            items.push(Either3::B(Handle::value(env, &data).map_err(border)?));
            items.push(Either3::A(error));
        }
        Ok(items)
    }

    #[napi]
    pub fn queue_revive(&self, queue: Bytes, most: u32) -> Result<u32> {
        let count = self.inner.queue_revive(queue.as_slice(), most as usize, now()).map_err(to_js)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    // --- leaderboards

    #[napi]
    pub fn board_set(&self, of: u32, member: Bytes, score: f64) -> Result<bool> {
        let store = self.inner.store();
        store.write(now(), |tx| zsets::set(tx, space(of), &[], member.as_slice(), score)).map_err(to_js)
    }

    #[napi]
    pub fn board_add(&self, of: u32, member: Bytes, by: f64) -> Result<f64> {
        let store = self.inner.store();
        store.write(now(), |tx| zsets::add(tx, space(of), &[], member.as_slice(), by)).map_err(to_js)
    }

    #[napi]
    pub fn board_remove(&self, of: u32, member: Bytes) -> Result<bool> {
        let store = self.inner.store();
        store.write_freeing(now(), |tx| zsets::remove(tx, space(of), &[], member.as_slice())).map_err(to_js)
    }

    #[napi]
    pub fn board_score(&self, of: u32, member: Bytes) -> Result<Option<f64>> {
        let store = self.inner.store();
        store.read(now(), |view| zsets::score(view, space(of), &[], member.as_slice())).map_err(to_js)
    }

    #[napi]
    pub fn board_rank(&self, of: u32, member: Bytes, descending: bool) -> Result<Option<f64>> {
        let store = self.inner.store();
        let rank =
            store.read(now(), |v| zsets::rank(v, space(of), &[], member.as_slice(), order(descending)));
        Ok(rank.map_err(to_js)?.map(float))
    }

    #[napi]
    pub fn board_len(&self, of: u32) -> Result<f64> {
        self.inner.store().read(now(), |view| zsets::len(view, space(of), &[])).map(float).map_err(to_js)
    }

    /// `[member, score, ...]`.
    #[napi]
    pub fn board_range(
        &self,
        env: Env,
        of: u32,
        start: f64,
        most: u32,
        descending: bool,
    ) -> Result<Vec<Either3<Handle, f64, ()>>> {
        let store = self.inner.store();
        let (start, most) = (ms(start), most as usize);
        let members = store.read(now(), |v| zsets::range(v, space(of), &[], start, most, order(descending)));
        let members = members.map_err(to_js)?;
        let mut items = Vec::with_capacity(members.len() * 2);
        for scored in members {
            items.push(Either3::A(Handle::key(env, &scored.member).map_err(border)?));
            items.push(Either3::B(scored.score));
        }
        Ok(items)
    }

    // --- limiters

    /// `[allowed, used, remaining, reset]`; `points`: 0 only looks, negative ones are given back.
    #[napi]
    pub fn consume(
        &self,
        of: u32,
        key: Bytes,
        points: f64,
        limit: f64,
        window_ms: f64,
        block_ms: f64,
    ) -> Result<Vec<f64>> {
        let allowance =
            Allowance { points: ms(limit), window_ms: ms(window_ms), block_ms: ms(block_ms) };
        let (of, key) = (space(of), key.as_slice());
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, NaN is 0")]
        let verdict = match points as i64 {
            0 => self.inner.allowance(of, key, &allowance, now()),
            points => self.inner.consume(of, key, points, &allowance, now()),
        };
        let verdict = verdict.map_err(to_js)?;
        let allowed = f64::from(u8::from(verdict.allowed));
        Ok(vec![allowed, float(verdict.used), float(verdict.remaining), float(verdict.reset_ms)])
    }

    /// Several changes at once, if all checks hold. Checks: `[space, key, version (0: missing)]` flat; changes flat:
    /// `[0, space, key, value, expires]` sets, `[1, space, key]` deletes, `[2, queue, data]` pushes.
    #[napi]
    pub fn atomic(
        &self,
        checks: Vec<crate::atomic::Item>,
        changes: Vec<crate::atomic::Item>,
    ) -> Result<bool> {
        let checks = crate::atomic::checks(&checks)?;
        let changes = crate::atomic::changes(&changes)?;
        let done = crate::atomic::run(self.inner.store(), &checks, &changes, now());
        done.map_err(to_js)
    }

    /// Figures, as JSON.
    #[napi]
    pub fn stats(&self) -> String {
        crate::supervisor::stats_json(&self.inner.store().stats())
    }
}

fn to_items(
    env: Env,
    next: Option<&[u8]>,
    pairs: &[(&Vec<u8>, &[u8])],
) -> napi::Result<Vec<Either3<Handle, Null, ()>>> {
    let mut items = Vec::with_capacity(pairs.len() * 2 + 1);
    items.push(match next {
        Some(next) => Either3::A(Handle::buffer(env, next)?),
        None => Either3::B(Null),
    });
    for (key, value) in pairs {
        items.push(Either3::A(Handle::key(env, key)?));
        items.push(Either3::A(Handle::value(env, value)?));
    }
    Ok(items)
}
