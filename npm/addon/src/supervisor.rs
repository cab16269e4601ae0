//! The supervisor's handle, for programs that are their own (a `cluster` primary, tests); skep's daemon has it built
//! in.

use std::fmt::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use napi_derive::napi;
use skep_state::{LockMode, LockView, Options, Owner, Stats};

use crate::errors::{Result, to_js};
use crate::now;

/// Sizes; what is left out has its default.
#[napi(object)]
#[derive(Default)]
pub struct StoreOptions {
    pub data_bytes: Option<f64>,
    pub data_bytes_max: Option<f64>,
    pub value_bytes_max: Option<f64>,
    pub counters: Option<u32>,
    pub workers: Option<u32>,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, NaN is 0")]
fn bytes(given: Option<f64>, otherwise: u64) -> u64 {
    given.map_or(otherwise, |number| number as u64)
}

/// See `skep_state::Supervisor`.
#[napi]
pub struct Supervisor {
    inner: skep_state::Supervisor,
}

#[napi]
impl Supervisor {
    #[napi(constructor)]
    pub fn new(dir: String, options: Option<StoreOptions>) -> Result<Self> {
        let given = options.unwrap_or_default();
        let usual = Options::default();
        let options = Options {
            data_bytes: bytes(given.data_bytes, usual.data_bytes),
            data_bytes_max: bytes(given.data_bytes_max, usual.data_bytes_max),
            value_bytes_max: bytes(given.value_bytes_max, usual.value_bytes_max),
            counters: given.counters.unwrap_or(usual.counters),
            workers: given.workers.unwrap_or(usual.workers),
        };
        let inner = skep_state::Supervisor::open(Path::new(&dir), &options, now()).map_err(to_js)?;
        Ok(Self { inner })
    }

    #[napi]
    pub fn worker_ended(&self, id: u32, generation: u32) -> Result<u32> {
        let count = self.inner.worker_ended(Owner { id, generation }, now()).map_err(to_js)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Releases unnumbered processes that are gone, and numbered ones that are not among `alive` (`[id, gen, ...]`).
    #[napi]
    pub fn keep_only(&self, alive: Vec<u32>) -> Result<u32> {
        let alive: Vec<Owner> =
            alive.chunks_exact(2).map(|pair| Owner { id: pair[0], generation: pair[1] }).collect();
        let count = self.inner.keep_only(&alive, now()).map_err(to_js)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// When it wants to run again, in ms since 1970; 0: not before `wakeFd` is readable.
    #[napi]
    pub fn maintain(&self) -> Result<f64> {
        Ok(self.inner.maintain(now()).map_err(to_js)?.map_or(0.0, |at| at.0 as f64))
    }

    /// A descriptor that is readable when `maintain` is wanted; the caller closes it.
    #[napi]
    pub fn wake_fd(&self) -> Result<i32> {
        use std::os::fd::IntoRawFd;
        let fd = self.inner.wake_fd();
        let dup = fd.try_clone_to_owned().map(IntoRawFd::into_raw_fd);
        dup.map_err(|e| {
            crate::errors::invalid(format!("cannot duplicate descriptor {}: {e}", fd.as_raw_fd()))
        })
    }

    #[napi]
    pub fn stats(&self) -> String {
        stats_json(&self.inner.stats())
    }

    #[napi]
    pub fn locks(&self) -> Result<String> {
        Ok(locks_json(&self.inner.store().locks(now()).map_err(to_js)?))
    }

    #[napi]
    pub fn backup(&self, file: String) -> Result<()> {
        self.inner.backup(Path::new(&file), now()).map_err(to_js)
    }

    #[napi]
    pub fn restore(&self, file: String) -> Result<()> {
        self.inner.restore(Path::new(&file), now()).map_err(to_js)
    }
}

pub fn stats_json(stats: &Stats) -> String {
    let workers: Vec<String> = stats
        .workers
        .iter()
        .map(|w| format!(r#"{{"worker":"{}","pid":{},"since":{}}}"#, w.owner, w.pid, w.since.0))
        .collect();
    format!(
        concat!(
            r#"{{"dataBytes":{},"dataBytesMax":{},"usedBytes":{},"rows":{},"writes":{},"waits":{},"waitUs":{},"#,
            r#""waitUsMax":{},"ownerDeaths":{},"growths":{},"grants":{},"messages":{},"wakes":{},"counters":{},"#,
            r#""workers":[{}]}}"#
        ),
        stats.data_bytes,
        stats.data_bytes_max,
        stats.used_bytes,
        stats.rows,
        stats.writes,
        stats.waits,
        stats.wait_us,
        stats.wait_us_max,
        stats.owner_deaths,
        stats.growths,
        stats.grants,
        stats.messages,
        stats.wakes,
        stats.counters,
        workers.join(",")
    )
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub fn locks_json(locks: &[LockView]) -> String {
    let mode = |mode: LockMode| match mode {
        LockMode::Exclusive => "exclusive",
        LockMode::Shared => "shared",
    };
    let all: Vec<String> = locks
        .iter()
        .map(|lock| {
            let held: Vec<String> = lock
                .holders
                .iter()
                .map(|h| {
                    let (mode, since) = (mode(h.mode), h.since.0);
                    format!(
                        r#"{{"worker":"{}","mode":"{mode}","token":{},"since":{since}}}"#,
                        h.owner, h.token
                    )
                })
                .collect();
            let pending: Vec<String> = lock
                .waiters
                .iter()
                .map(|w| {
                    format!(r#"{{"worker":"{}","mode":"{}","since":{}}}"#, w.owner, mode(w.mode), w.since.0)
                })
                .collect();
            let name = quoted(&String::from_utf8_lossy(&lock.name));
            format!(r#"{{"name":{name},"held":[{}],"pending":[{}]}}"#, held.join(","), pending.join(","))
        })
        .collect();
    format!("[{}]", all.join(","))
}
