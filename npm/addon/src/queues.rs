//! Queues, leaderboards and limiters.

use napi::Env;
use napi::bindgen_prelude::Either3;
use napi_derive::napi;
use skep_state::zsets;
use skep_state::{Allowance, Failure, Popped, PushOptions, Retry};

use crate::bytes::{Bytes, Handle};
use crate::client::Client;
use crate::convert::{border, float, job_id, ms, order, space};
use crate::errors::{Result, to_js};
use crate::now;

#[napi]
impl Client {
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
        let job = self.inner.push(queue.as_slice(), data.tagged(), &options, now()).map_err(to_js)?;
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
        let allowance = Allowance { points: ms(limit), window_ms: ms(window_ms), block_ms: ms(block_ms) };
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
}
