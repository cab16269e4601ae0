//! Maps: keys of a space, compare-and-set, scans, and several changes at once.

use napi::Env;
use napi::bindgen_prelude::{Either3, Null};
use napi_derive::napi;
use skep_state::strings::{self, If};
use skep_state::{Space, SpaceKind, WallMs, keys};

use crate::bytes::{Bytes, Handle};
use crate::client::Client;
use crate::convert::{border, expiry, float, ms, space};
use crate::errors::{Result, invalid, to_js};
use crate::now;

#[napi]
impl Client {
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
            .write(now(), |tx| strings::set(tx, space(of), key.as_slice(), value, expiry(expires), condition))
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
