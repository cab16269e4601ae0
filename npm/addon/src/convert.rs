//! JavaScript's numbers and ours.

use skep_state::strings::Expiry;
use skep_state::zsets::Order;
use skep_state::{Space, WallMs};

use crate::errors::{Code, Result, invalid};

pub fn border(error: napi::Error) -> napi::Error<Code> {
    invalid(error.reason.clone())
}

/// Milliseconds since 1970 or a span, as JavaScript counts; negative and NaN are 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, NaN is 0")]
pub fn ms(number: f64) -> u64 {
    number as u64
}

#[expect(clippy::cast_precision_loss, reason = "counts and tokens stay below 2^53")]
pub fn float(number: u64) -> f64 {
    number as f64
}

pub fn expiry(at: f64) -> Expiry {
    match at {
        at if at < 0.0 => Expiry::Keep,
        0.0 => Expiry::Never,
        at => Expiry::At(WallMs(ms(at))),
    }
}

pub fn space(number: u32) -> Space {
    Space::from_number(number)
}

pub fn order(descending: bool) -> Order {
    if descending { Order::Descending } else { Order::Ascending }
}

pub fn job_id(text: &str) -> Result<u64> {
    text.parse().map_err(|_| invalid(format!("job id {text:?} is not one that push or pop returned")))
}
