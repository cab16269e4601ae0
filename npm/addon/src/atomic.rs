//! Several changes as one transaction, if what the caller has read is still so.

use napi::bindgen_prelude::FromNapiValue;
use napi::sys;
use skep_state::strings::{Expiry, If};
use skep_state::{PushOptions, Space, Store, WallMs, keys, strings};

use crate::bytes::Bytes;
use crate::errors::{Result, invalid};

/// A number, or a key or value.
pub enum Item {
    Number(f64),
    Bytes(Box<Bytes>),
}

impl FromNapiValue for Item {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        let mut number = 0.0;
        // SAFETY: napi-rs hands a valid env and value.
        let status = unsafe { sys::napi_get_value_double(env, value, &raw mut number) };
        if status == sys::Status::napi_ok {
            return Ok(Self::Number(number));
        }
        // SAFETY: as above.
        unsafe { Bytes::from_napi_value(env, value) }.map(|bytes| Self::Bytes(Box::new(bytes)))
    }
}

/// A key must still have this version; 0: be missing.
pub struct Check<'a> {
    space: Space,
    key: &'a [u8],
    version: u64,
}

pub enum Change<'a> {
    Set { space: Space, key: &'a [u8], value: Vec<u8>, expiry: Expiry },
    Delete { space: Space, key: &'a [u8] },
    Push { queue: &'a [u8], data: Vec<u8> },
}

struct Items<'a>(std::slice::Iter<'a, Item>);

impl<'a> Items<'a> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, NaN is 0")]
    fn number(&mut self) -> Result<Option<u64>> {
        match self.0.next() {
            None => Ok(None),
            Some(Item::Number(number)) => Ok(Some(*number as u64)),
            Some(Item::Bytes(_)) => Err(invalid("atomic: a number is expected")),
        }
    }

    fn some(&mut self) -> Result<u64> {
        self.number()?.ok_or_else(|| invalid("atomic: the list is cut short"))
    }

    fn space(&mut self) -> Result<Space> {
        Ok(Space::from_number(u32::try_from(self.some()?).unwrap_or(u32::MAX)))
    }

    fn bytes(&mut self) -> Result<&'a Bytes> {
        match self.0.next() {
            Some(Item::Bytes(bytes)) => Ok(bytes),
            Some(Item::Number(_)) | None => Err(invalid("atomic: a key or value is expected")),
        }
    }
}

pub fn checks(items: &[Item]) -> Result<Vec<Check<'_>>> {
    let mut items = Items(items.iter());
    let mut checks = Vec::new();
    while let Some(space) = items.number()? {
        let space = Space::from_number(u32::try_from(space).unwrap_or(u32::MAX));
        checks.push(Check { space, key: items.bytes()?.as_slice(), version: items.some()? });
    }
    Ok(checks)
}

pub fn changes(items: &[Item]) -> Result<Vec<Change<'_>>> {
    let mut items = Items(items.iter());
    let mut changes = Vec::new();
    while let Some(kind) = items.number()? {
        changes.push(match kind {
            0 => {
                let (space, key) = (items.space()?, items.bytes()?.as_slice());
                let value = items.bytes()?.tagged().to_vec();
                let expiry = match items.some()? {
                    0 => Expiry::Never,
                    at => Expiry::At(WallMs(at)),
                };
                Change::Set { space, key, value, expiry }
            }
            1 => Change::Delete { space: items.space()?, key: items.bytes()?.as_slice() },
            2 => Change::Push { queue: items.bytes()?.as_slice(), data: items.bytes()?.tagged().to_vec() },
            other => return Err(invalid(format!("atomic: change {other} is none of 0, 1, 2"))),
        });
    }
    Ok(changes)
}

pub fn run(
    store: &Store,
    checks: &[Check<'_>],
    changes: &[Change<'_>],
    now: WallMs,
) -> skep_state::Result<bool> {
    store.write(now, |tx| {
        for check in checks {
            let found = keys::info(&tx.view(), check.space, check.key)?.map_or(0, |info| info.version);
            if found != check.version {
                return Ok(false);
            }
        }
        for change in changes {
            match change {
                Change::Set { space, key, value, expiry } => {
                    strings::set(tx, *space, key, value, *expiry, If::Always)?;
                }
                Change::Delete { space, key } => {
                    keys::delete(tx, *space, key)?;
                }
                Change::Push { queue, data } => {
                    skep_state::push_job(tx, queue, data, &PushOptions::default())?;
                }
            }
        }
        Ok(true)
    })
}
