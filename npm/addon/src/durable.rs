//! Durable queues: calls go to a thread that waits for the disk; what is done comes by `poll`.

use std::path::Path;

use napi::Env;
use napi::bindgen_prelude::Either3;
use napi_derive::napi;
use skep_state::durable::{Answer, Call, Desk, Done};
use skep_state::{Identity, Options, Owner, Popped, PushOptions, Retry};

use crate::bytes::{Bytes, Handle};
use crate::convert::{border, float, job_id, ms};
use crate::errors::{Result, code, to_js};
use crate::events::Item;
use crate::now;

/// A worker attached to the durable queues of a folder.
#[napi(js_name = "Durable")]
pub struct Durable {
    desk: Desk,
}

#[napi]
impl Durable {
    /// Opens the folder, makes it if it is not there. Without an id the store gives one.
    #[napi(constructor)]
    pub fn new(dir: String, id: Option<u32>, generation: Option<u32>) -> Result<Self> {
        let owner = id.map(|id| Owner { id, generation: generation.unwrap_or(0) });
        let identity = owner.map_or(Identity::Unnumbered, Identity::Worker);
        let desk = Desk::open(Path::new(&dir), identity, &Options::default(), now()).map_err(to_js)?;
        Ok(Self { desk })
    }

    /// A descriptor that is readable when there is something to poll; the caller closes it.
    #[napi]
    pub fn wake_fd(&self) -> Result<i32> {
        use std::os::fd::IntoRawFd;
        self.desk.wake_fd_clone().map(IntoRawFd::into_raw_fd).map_err(to_js)
    }

    #[napi]
    pub fn signalled(&self) -> bool {
        self.desk.signalled()
    }

    /// What is done: `['done', number, ...answer]`, `['refused', number, code, message]`, and events as `Client.poll`
    /// has them.
    #[napi]
    pub fn poll(&self, env: Env) -> Result<Vec<Vec<Item>>> {
        let own = self.desk.owner().number();
        let done = self.desk.poll();
        let items = done.into_iter().map(|done| match done {
            Done::Answered { number, answer } => answered(env, number, answer),
            Done::Told(event) => crate::events::to_js(env, event, own),
        });
        items.collect::<napi::Result<_>>().map_err(border)
    }

    #[napi]
    pub fn detach(&self) -> Result<()> {
        self.desk.detach(now()).map_err(to_js)
    }

    #[napi]
    #[allow(clippy::too_many_arguments, reason = "one call across the border, no object to take apart")]
    pub fn push(
        &self,
        number: u32,
        queue: Bytes,
        data: Bytes,
        priority: u32,
        delay_ms: f64,
        retries: u32,
        after_ms: f64,
        doubles: bool,
    ) -> Result<()> {
        let options = PushOptions {
            priority: u8::try_from(priority).unwrap_or(u8::MAX),
            delay_ms: ms(delay_ms),
            retries,
            retry: Retry { after_ms: ms(after_ms), doubles },
        };
        self.call(number, Call::Push { queue: name(&queue), data: data.tagged().to_vec(), options })
    }

    #[napi]
    pub fn pop(&self, number: u32, queue: Bytes, request: u32, visibility_ms: f64) -> Result<()> {
        let visibility_ms = ms(visibility_ms);
        self.call(number, Call::Pop { queue: name(&queue), request, visibility_ms })
    }

    #[napi]
    pub fn job_done(&self, number: u32, queue: Bytes, job: String, attempt: u32) -> Result<()> {
        self.call(number, Call::Done { queue: name(&queue), job: job_id(&job)?, attempt })
    }

    /// `retries` below 0: as it was pushed.
    #[napi]
    #[allow(clippy::too_many_arguments, reason = "one call across the border, no object to take apart")]
    pub fn job_failed(
        &self,
        number: u32,
        queue: Bytes,
        job: String,
        attempt: u32,
        error: String,
        retries: i32,
        after_ms: f64,
        doubles: bool,
    ) -> Result<()> {
        let retry = Retry { after_ms: ms(after_ms), doubles };
        let policy = u32::try_from(retries).ok().map(|retries| (retries, retry));
        self.call(number, Call::Failed { queue: name(&queue), job: job_id(&job)?, attempt, error, policy })
    }

    #[napi]
    pub fn job_extend(
        &self,
        number: u32,
        queue: Bytes,
        job: String,
        attempt: u32,
        more_ms: f64,
    ) -> Result<()> {
        let (job, ms) = (job_id(&job)?, ms(more_ms));
        self.call(number, Call::Extend { queue: name(&queue), job, attempt, ms })
    }

    #[napi]
    pub fn queue_leave(&self, number: u32, queue: Bytes) -> Result<()> {
        self.call(number, Call::Leave { queue: name(&queue) })
    }

    #[napi]
    pub fn queue_view(&self, number: u32, queue: Bytes) -> Result<()> {
        self.call(number, Call::Counts { queue: name(&queue) })
    }

    #[napi]
    pub fn queue_dead(&self, number: u32, queue: Bytes, most: u32) -> Result<()> {
        self.call(number, Call::Dead { queue: name(&queue), most: most as usize })
    }

    #[napi]
    pub fn queue_revive(&self, number: u32, queue: Bytes, most: u32) -> Result<()> {
        self.call(number, Call::Revive { queue: name(&queue), most: most as usize })
    }

    fn call(&self, number: u32, call: Call) -> Result<()> {
        self.desk.call(number, call, now()).map_err(to_js)
    }
}

fn name(queue: &Bytes) -> Vec<u8> {
    queue.as_slice().to_vec()
}

fn text(text: impl Into<String>) -> Item {
    Either3::A(text.into())
}

fn number(value: f64) -> Item {
    Either3::B(value)
}

/// The answer in the form of [`crate::client::Client`]'s methods of the same names, flat.
fn answered(env: Env, of: u32, answer: skep_state::Result<Answer>) -> napi::Result<Vec<Item>> {
    let mut item = vec![text(if answer.is_ok() { "done" } else { "refused" }), number(f64::from(of))];
    match answer {
        Err(error) => item.extend([text(code(&error)), text(error.to_string())]),
        Ok(Answer::Job(job)) => item.push(text(job.to_string())),
        Ok(Answer::Popped(Popped::Job(job))) => {
            item.push(text(job.id.to_string()));
            item.push(Either3::C(Handle::value(env, &job.data)?));
            item.push(number(f64::from(job.attempt)));
        }
        Ok(Answer::Popped(Popped::Empty { due })) => item.push(number(due.map_or(0.0, |at| float(at.0)))),
        Ok(Answer::Settled(mine)) => item.push(number(f64::from(u8::from(mine)))),
        Ok(Answer::Left) => {}
        Ok(Answer::Counts(view)) => {
            item.extend([view.ready, view.delayed, view.active, view.dead].map(float).map(number));
        }
        Ok(Answer::Dead(dead)) => {
            for (id, data, error) in dead {
                item.push(text(id.to_string()));
                item.push(Either3::C(Handle::value(env, &data)?));
                item.push(text(error));
            }
        }
        Ok(Answer::Revived(count)) => item.push(number(float(count as u64))),
    }
    Ok(item)
}
