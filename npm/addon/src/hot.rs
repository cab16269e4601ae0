//! The calls that programs make a million times a second, as plain functions of the C API.
//!
//! Why not by `#[napi]`: its borrow tracking takes a global lock and a hash table at each method call, which costs more
//! than reading the store. These functions borrow nothing: their client lives to the end of the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{FromNapiValue, ToNapiValue};
use napi::sys;
use napi_derive::napi;
use skep_state::strings::{self, Expiry, If};
use skep_state::zsets;
use skep_state::{Ask, Granted, IfBusy, LockMode};

use crate::bytes::{Bytes, Handle};
use crate::client::Client;
use crate::convert::{border, expiry, float, ms, order, space};
use crate::errors::{Result, invalid, to_js};
use crate::now;

type Callback = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;
/// The most arguments of a call here.
const ARGUMENTS: usize = 5;

/// A call: its arguments on demand, its answer.
struct Call {
    env: sys::napi_env,
    arguments: [sys::napi_value; ARGUMENTS],
    count: usize,
}

fn ok(status: sys::napi_status, what: &'static str) -> Result<()> {
    if status == sys::Status::napi_ok { Ok(()) } else { Err(invalid(what)) }
}

impl Call {
    fn argument(&self, index: usize) -> Result<sys::napi_value> {
        if index < self.count { Ok(self.arguments[index]) } else { Err(invalid("an argument is missing")) }
    }

    fn bytes(&self, index: usize) -> Result<Bytes> {
        let value = self.argument(index)?;
        // SAFETY: env and value are those of the current call.
        unsafe { Bytes::from_napi_value(self.env, value) }.map_err(border)
    }

    fn number(&self, index: usize) -> Result<f64> {
        let (value, mut number) = (self.argument(index)?, 0.0);
        // SAFETY: as above.
        ok(unsafe { sys::napi_get_value_double(self.env, value, &raw mut number) }, "a number is expected")?;
        Ok(number)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, NaN is 0")]
    fn whole(&self, index: usize) -> Result<u32> {
        Ok(self.number(index)? as u32)
    }

    fn flag(&self, index: usize) -> Result<bool> {
        let (value, mut flag) = (self.argument(index)?, false);
        // SAFETY: as above.
        ok(unsafe { sys::napi_get_value_bool(self.env, value, &raw mut flag) }, "true or false is expected")?;
        Ok(flag)
    }

    fn give_bool(&self, value: bool) -> Result<sys::napi_value> {
        let mut result = ptr::null_mut();
        // SAFETY: as above.
        ok(unsafe { sys::napi_get_boolean(self.env, value, &raw mut result) }, "cannot make a boolean")?;
        Ok(result)
    }

    fn give_number(&self, value: f64) -> Result<sys::napi_value> {
        let mut result = ptr::null_mut();
        // SAFETY: as above.
        ok(unsafe { sys::napi_create_double(self.env, value, &raw mut result) }, "cannot make a number")?;
        Ok(result)
    }

    fn give_null(&self) -> Result<sys::napi_value> {
        let mut result = ptr::null_mut();
        // SAFETY: as above.
        ok(unsafe { sys::napi_get_null(self.env, &raw mut result) }, "cannot make null")?;
        Ok(result)
    }
}

/// What every callback does around its work: arguments, errors as exceptions, panics as errors.
fn run(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    f: impl FnOnce(&skep_state::Client, &Call) -> Result<sys::napi_value>,
) -> sys::napi_value {
    let mut call = Call { env, arguments: [ptr::null_mut(); ARGUMENTS], count: ARGUMENTS };
    let mut data = ptr::null_mut();
    let (count, arguments) = (&raw mut call.count, call.arguments.as_mut_ptr());
    // SAFETY: env and info are those that Node gave to the callback; the array is as long as is said.
    let status =
        unsafe { sys::napi_get_cb_info(env, info, count, arguments, ptr::null_mut(), &raw mut data) };
    // SAFETY: `data` is the client that `hot` leaked for this function.
    let client = unsafe { data.cast::<skep_state::Client>().as_ref() };
    let work = || match (status, client) {
        (sys::Status::napi_ok, Some(client)) => f(client, &call),
        _ => Err(invalid("the call was torn apart")),
    };
    let result = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(invalid("skep's add-on panicked; please report it")));
    result.unwrap_or_else(|error| {
        // SAFETY: the env is the current call's; the error is made into an exception of it.
        unsafe { napi::JsError::from(error).throw_into(env) };
        ptr::null_mut()
    })
}

unsafe extern "C" fn signalled(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| call.give_bool(client.signalled()))
}

unsafe extern "C" fn called_within(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| call.give_bool(client.called_within(call.whole(0)?)))
}

unsafe extern "C" fn poll(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| {
        let all = crate::events::poll(client, Env::from_raw(call.env))?;
        // SAFETY: the env is the current call's.
        unsafe { ToNapiValue::to_napi_value(call.env, all) }.map_err(border)
    })
}

unsafe extern "C" fn publish(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| {
        let (channel, port, payload) = (call.bytes(0)?, call.whole(1)?, call.bytes(2)?);
        let told = client.publish(channel.as_slice(), port, payload.tagged(), now()).map_err(to_js)?;
        call.give_number(float(told as u64))
    })
}

unsafe extern "C" fn get(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| {
        let (of, key) = (space(call.whole(0)?), call.bytes(1)?);
        let mut result = None;
        let read = client.store().read(now(), |view| {
            let value = strings::get(view, of, key.as_slice())?;
            result = value.map(|value| Handle::value(Env::from_raw(call.env), value));
            Ok(())
        });
        read.map_err(to_js)?;
        result.map_or_else(|| call.give_null(), |value| value.map(Handle::into_raw).map_err(border))
    })
}

unsafe extern "C" fn set(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| {
        let (of, key, value) = (space(call.whole(0)?), call.bytes(1)?, call.bytes(2)?);
        // Most values have no end and no condition: what is left out costs no call.
        let expires = if call.count > 3 { expiry(call.number(3)?) } else { Expiry::Never };
        let when = if call.count > 4 { call.whole(4)? } else { 0 };
        let condition = match when {
            1 => If::Missing,
            2 => If::Exists,
            _ => If::Always,
        };
        let value = value.tagged();
        let set =
            |tx: &mut skep_state::Tx<'_>| strings::set(tx, of, key.as_slice(), value, expires, condition);
        call.give_bool(client.store().write(now(), set).map_err(to_js)?)
    })
}

unsafe extern "C" fn set_text(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| {
        let (of, key, value) = (space(call.whole(0)?), call.bytes(1)?, call.bytes(2)?.into_plain_text());
        let set = |tx: &mut skep_state::Tx<'_>| {
            strings::set(tx, of, key.as_slice(), value.tagged(), Expiry::Never, If::Always)
        };
        call.give_bool(client.store().write(now(), set).map_err(to_js)?)
    })
}

unsafe extern "C" fn lock(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| {
        let name = call.bytes(0)?;
        let ask = Ask {
            name: name.as_slice(),
            request: call.whole(1)?,
            mode: if call.flag(2)? { LockMode::Shared } else { LockMode::Exclusive },
            if_busy: match call.whole(3)? {
                1 => IfBusy::Refuse,
                2 => IfBusy::Steal,
                _ => IfBusy::Wait,
            },
            ttl_ms: ms(call.number(4)?),
        };
        call.give_number(match client.lock(&ask, now()).map_err(to_js)? {
            Granted::Yes(token) => float(token),
            Granted::Later => 0.0,
            Granted::No => -1.0,
        })
    })
}

unsafe extern "C" fn unlock(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| {
        let (name, request) = (call.bytes(0)?, call.whole(1)?);
        call.give_bool(client.unlock(name.as_slice(), request, now()).map_err(to_js)?)
    })
}

unsafe extern "C" fn board_add(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| {
        let (of, member, by) = (space(call.whole(0)?), call.bytes(1)?, call.number(2)?);
        let sum = client.store().write(now(), |tx| zsets::add(tx, of, &[], member.as_slice(), by));
        call.give_number(sum.map_err(to_js)?)
    })
}

unsafe extern "C" fn board_rank(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |client, call| {
        let (of, member, order) = (space(call.whole(0)?), call.bytes(1)?, order(call.flag(2)?));
        let rank = client.store().read(now(), |view| zsets::rank(view, of, &[], member.as_slice(), order));
        rank.map_err(to_js)?.map_or_else(|| call.give_null(), |rank| call.give_number(float(rank)))
    })
}

const HOT: [(&str, Callback); 11] = [
    ("signalled", signalled),
    ("calledWithin", called_within),
    ("poll", poll),
    ("publish", publish),
    ("get", get),
    ("set", set),
    ("setText", set_text),
    ("lock", lock),
    ("unlock", unlock),
    ("boardAdd", board_add),
    ("boardRank", board_rank),
];

#[napi]
impl Client {
    /// `[name, function, ...]`: faster forms of the methods of the same names, bound to this client.
    #[napi]
    pub fn hot(&self, env: Env) -> Result<Vec<Handle>> {
        // Never given back: JavaScript may keep the functions to the end of the process.
        let client = Arc::into_raw(Arc::clone(&self.inner));
        let mut all = Vec::with_capacity(HOT.len() * 2);
        for (name, callback) in HOT {
            let mut function = ptr::null_mut();
            let (text, length) = (name.as_ptr().cast(), name.len().cast_signed());
            let data = client.cast_mut().cast();
            // SAFETY: the env is the current call's; name and data outlive the call, data for ever.
            let status = unsafe {
                sys::napi_create_function(env.raw(), text, length, Some(callback), data, &raw mut function)
            };
            ok(status, "cannot make a function")?;
            all.push(Handle::text(env, name.as_bytes()).map_err(border)?);
            all.push(Handle::raw(function));
        }
        Ok(all)
    }
}
