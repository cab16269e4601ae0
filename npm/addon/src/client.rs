//! A worker's handle of the store.

use std::path::Path;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::Either;
use napi_derive::napi;
use skep_state::{Identity, Owner};

use crate::errors::{Result, to_js};
use crate::events::Item;
use crate::now;

/// An attached worker.
#[napi(js_name = "Client")]
pub struct Client {
    pub(crate) inner: Arc<skep_state::Client>,
}

#[napi]
impl Client {
    /// Opens the store and attaches. Without an id the store gives one.
    #[napi(constructor)]
    pub fn new(dir: String, id: Option<u32>, generation: Option<u32>) -> Result<Self> {
        let owner = id.map(|id| Owner { id, generation: generation.unwrap_or(0) });
        let identity = owner.map_or(Identity::Unnumbered, Identity::Worker);
        let inner = skep_state::Client::attach(Path::new(&dir), identity, now()).map_err(to_js)?;
        Ok(Self { inner: Arc::new(inner) })
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

    /// Others raise the flag that `signalled` tells, and write no byte.
    #[napi]
    pub fn stay_awake(&self) {
        self.inner.stay_awake();
    }

    /// They write again. True: `poll`, something came.
    #[napi]
    pub fn fall_asleep(&self) -> bool {
        self.inner.fall_asleep()
    }

    #[napi]
    pub fn set_patience(&self, us: u32) {
        self.inner.store().set_patience(us);
    }

    /// `[more, ...events]`.
    #[napi]
    pub fn poll(&self, env: Env) -> Result<Vec<Either<bool, Vec<Item>>>> {
        crate::events::poll(&self.inner, env)
    }

    #[napi]
    pub fn detach(&self) -> Result<()> {
        self.inner.detach(now()).map_err(to_js)
    }

    /// Figures, as JSON.
    #[napi]
    pub fn stats(&self) -> String {
        crate::supervisor::stats_json(&self.inner.store().stats())
    }
}
