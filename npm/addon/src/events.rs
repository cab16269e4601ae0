//! What a woken process learns, as JavaScript sees it.

use napi::bindgen_prelude::{Either, Either3};
use skep_state::Event;

use crate::bytes::Handle;
use crate::convert::border;
use crate::errors::{Result, to_js as failure};
use crate::now;

/// `[kind, request, token | message]` or `['message', channel, port, payload, own]`.
pub type Item = Either3<String, f64, Handle>;

/// `[more, ...events]`.
pub fn poll(client: &skep_state::Client, env: napi::Env) -> Result<Vec<Either<bool, Vec<Item>>>> {
    let (events, more) = client.poll(now()).map_err(failure)?;
    let own = client.owner().number();
    let mut all = Vec::with_capacity(events.len() + 1);
    all.push(Either::A(more));
    for event in events {
        all.push(Either::B(to_js(env, event, own).map_err(border)?));
    }
    Ok(all)
}

fn text(text: &str) -> Item {
    Either3::A(text.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "tokens stay below 2^53 until the year 2255")]
fn number(number: u64) -> Item {
    Either3::B(number as f64)
}

pub fn to_js(env: napi::Env, event: Event, own: u64) -> napi::Result<Vec<Item>> {
    let simple = |kind: &str, request: u32| vec![text(kind), number(u64::from(request))];
    Ok(match event {
        Event::LockGranted { request, token } => {
            vec![text("lock"), number(u64::from(request)), number(token)]
        }
        Event::LockLost { request } => simple("lost", request),
        Event::FlightDone { request, token } => {
            vec![text("landed"), number(u64::from(request)), number(token)]
        }
        Event::FlightFailed { request, message } => {
            vec![text("failed"), number(u64::from(request)), text(&message)]
        }
        Event::FlightAgain { request } => simple("again", request),
        Event::QueueReady { request } => simple("queue", request),
        Event::MessagesLost => simple("gap", 0),
        Event::Message { channel, sender, port, payload } => vec![
            text("message"),
            Either3::C(Handle::key(env, &channel)?),
            number(u64::from(port)),
            Either3::C(Handle::value(env, &payload)?),
            number(u64::from(sender == own)),
        ],
    })
}
