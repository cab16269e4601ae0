//! Counters: a page of atomics for the first environment of a process, calls for others.

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::bindgen_prelude::{Either3, Null};
use napi::{Env, sys};
use napi_derive::napi;

use crate::bytes::{Bytes, Handle};
use crate::client::Client;
use crate::errors::{Result, invalid, to_js};
use crate::now;

/// V8 takes one piece of outside memory once a process: the first environment (thread) gets the counters' page,
/// others count by calls.
static PAGE_GIVEN: AtomicBool = AtomicBool::new(false);

#[napi]
impl Client {
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
        Ok(self.outside(env, self.inner.store().counter_page()))
    }

    /// The word that is not 0 while somebody looks for changes, as an ArrayBuffer; for who was given the page.
    #[napi]
    pub fn counters_watched(&self, env: Env) -> Result<Either3<Handle, Null, ()>> {
        Ok(self.outside(env, self.inner.store().watched()))
    }

    /// Tells who looks for changes of one that was made in the page.
    #[napi]
    pub fn counters_changed(&self) {
        self.inner.store().changed();
    }

    /// Memory of the store, all of it atomics, as an ArrayBuffer; `null` where outside memory is forbidden (Electron and
    /// the like): calls work everywhere.
    fn outside<T: ?Sized>(&self, env: Env, atomics: &T) -> Either3<Handle, Null, ()> {
        let mut result = ptr::null_mut();
        let start = ptr::from_ref(atomics).cast_mut().cast();
        let bytes = size_of_val(atomics);
        // The memory stays mapped to the end of the process: this clone is never dropped.
        std::mem::forget(self.inner.store().clone());
        // SAFETY: the memory outlives the ArrayBuffer (above), is only ever accessed as atomics, and has no finalizer.
        let status = unsafe {
            sys::napi_create_external_arraybuffer(
                env.raw(),
                start,
                bytes,
                None,
                ptr::null_mut(),
                &raw mut result,
            )
        };
        if status == sys::Status::napi_ok { Either3::A(Handle::raw(result)) } else { Either3::B(Null) }
    }

    #[napi]
    pub fn counter_add(&self, place: u32, by: i64) -> Result<i64> {
        self.inner.store().counter_add_at(place as usize, by).map_err(to_js)
    }

    #[napi]
    pub fn counter_set(&self, place: u32, value: i64) -> Result<i64> {
        self.inner.store().counter_set_at(place as usize, value).map_err(to_js)
    }
}
