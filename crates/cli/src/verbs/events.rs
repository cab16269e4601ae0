//! `events`: what happens to apps and workers.

use crate::args::EventsCommand;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::sign_of;
use crate::session::Context;
use crate::table::{paint, printable};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use skep_api::client::ClientError;
use skep_api::{Event, EventsQuery};
use std::time::Duration;

/// How long to wait before connecting again to a daemon that went away a moment after it came.
pub(crate) const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// Shows events; a follower survives a restart of the daemon.
pub(crate) async fn run(args: EventsCommand, context: &Context) -> Result<(), Failure> {
    let zone = TimeZone::system();
    let mut client = context.connect().await?;
    // A new daemon counts from the beginning: what it remembers is all news.
    loop {
        let mut lines = match client.events(&EventsQuery { follow: args.follow, after: 0 }).await {
            Ok(lines) => Some(lines),
            Err(ClientError::Lost(_)) if args.follow => None,
            Err(error) => return Err(error.into()),
        };
        while let Some(stream) = &mut lines {
            match stream.next().await {
                Ok(Some(event)) => show(&event, &context.output, &zone)?,
                Ok(None) => return Ok(()),
                Err(ClientError::Lost(_)) if args.follow => lines = None,
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
        client = context.connect().await?;
    }
}

fn show(event: &Event, output: &Output, zone: &TimeZone) -> Result<(), Failure> {
    if output.json {
        return output.print_json(event);
    }
    let (sign, color) = sign_of(event.kind);
    let sign = paint(sign, color.on_default(), output.color);
    output.print(&format!("{} {sign} {}\n", clock(event.time_unix_ms, zone), printable(&event.message)))
}

/// `12:34:56.789`, in local time.
fn clock(unix_ms: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    match time {
        Some(time) => time.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S%.3f").to_string(),
        None => "--:--:--.---".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_to_the_millisecond() {
        assert_eq!(clock(45_296_789, &TimeZone::UTC), "12:34:56.789");
        assert_eq!(clock(u64::MAX, &TimeZone::UTC), "--:--:--.---");
    }
}
