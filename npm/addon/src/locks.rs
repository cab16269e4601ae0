//! Locks, single flights and channels: what has somebody wait.

use napi::Env;
use napi::bindgen_prelude::Either4;
use napi_derive::napi;
use skep_state::{Ask, Begin, Finish, Granted, IfBusy, Keep, LockMode};

use crate::bytes::{Bytes, Handle};
use crate::client::Client;
use crate::convert::{border, float, ms};
use crate::errors::{Result, to_js};
use crate::now;

#[napi]
impl Client {
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

    /// `['fresh', value]`, `['refresh', value, token]`, `['fetch', stale | undefined, token]` or `['wait', until]`.
    #[napi]
    pub fn flight_begin(
        &self,
        env: Env,
        name: Bytes,
        request: u32,
        lease_ms: f64,
    ) -> Result<Vec<Either4<String, f64, Handle, ()>>> {
        let begin = self.inner.flight_begin(name.as_slice(), request, ms(lease_ms), now()).map_err(to_js)?;
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
        let keep =
            Keep { fresh_ms: ms(fresh_ms), refresh_before_ms: ms(refresh_before_ms), stale_ms: ms(stale_ms) };
        let how = Finish::Value(value.tagged(), keep);
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
        let told = self.inner.publish(channel.as_slice(), port, payload.tagged(), now()).map_err(to_js)?;
        Ok(u32::try_from(told).unwrap_or(u32::MAX))
    }
}
