//! `logs`: the last lines, and the next ones. A follower survives a restart of the daemon.

mod recent;

use crate::args::LogsCommand;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Context;
use crate::table::{paint, printable};
use anstyle::AnsiColor;
use base64::Engine;
use recent::Recent;
use skep_api::client::{ClientError, Lines};
use skep_api::{LogLine, LogsQuery, Stream};
use std::time::Duration;

/// After the connection was lost, this many of the last lines are asked for, to find those that were missed.
const CATCH_UP_LINES: u32 = 500;
/// The lines of the past come at once; a pause of this length means that there are no more of them.
const PAST_PAUSE: Duration = Duration::from_millis(200);
/// How long to wait before connecting again to a daemon that went away a moment after it came.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// Shows log lines.
pub(crate) async fn run(args: LogsCommand, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let targets = if args.targets.is_empty() { vec!["all".to_owned()] } else { args.targets };
    let stream = match (args.out, args.err) {
        (true, _) => Some(Stream::Out),
        (false, true) => Some(Stream::Err),
        (false, false) => None,
    };
    let query = LogsQuery { lines: args.lines, follow: args.follow, stream };
    let mut view = View { output: context.output, raw: args.raw, recent: Recent::default() };
    let mut lines = client.logs(&targets, &query).await?;
    loop {
        match view.show_all(&mut lines).await {
            Ok(()) => return Ok(()),
            Err(Failure::Unreachable(_)) if args.follow => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
        // No keeper, no daemon that could come back.
        client = context.connect().await?;
        let again = LogsQuery { lines: CATCH_UP_LINES, ..query.clone() };
        lines = match client.logs(&targets, &again).await {
            Ok(mut lines) => {
                view.catch_up(&mut lines).await?;
                lines
            }
            Err(ClientError::Lost(_)) => continue,
            Err(error) => return Err(error.into()),
        };
    }
}

/// Where lines are shown, and what was shown lately.
struct View {
    output: Output,
    raw: bool,
    recent: Recent,
}

impl View {
    /// Shows lines until the stream ends.
    async fn show_all(&mut self, lines: &mut Lines<LogLine>) -> Result<(), Failure> {
        while let Some(line) = lines.next().await? {
            self.show(&line)?;
        }
        Ok(())
    }

    /// Shows those of the past lines that were not shown yet; live lines name their worker, past ones do not.
    async fn catch_up(&mut self, lines: &mut Lines<LogLine>) -> Result<(), Failure> {
        let mut past = Vec::new();
        let mut live = None;
        while let Ok(next) = tokio::time::timeout(PAST_PAUSE, lines.next()).await {
            match next {
                Ok(Some(line)) if line.worker.is_none() => past.push(line),
                Ok(line) => {
                    live = line;
                    break;
                }
                // Lost again: what has come is shown, and the next connection goes on from there.
                Err(ClientError::Lost(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        for line in self.recent.missed(past) {
            self.show(&line)?;
        }
        live.map_or(Ok(()), |line| self.show(&line))
    }

    fn show(&mut self, line: &LogLine) -> Result<(), Failure> {
        self.recent.note(line);
        if self.output.json {
            return self.output.print_json(line);
        }
        self.output.print_bytes(&render(line, self.raw, self.output.color))
    }
}

/// The bytes that the app wrote.
fn bytes_of(line: &LogLine) -> Vec<u8> {
    match (&line.text, &line.base64) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(base64)) => base64::engine::general_purpose::STANDARD.decode(base64).unwrap_or_default(),
        (None, None) => Vec::new(),
    }
}

/// `0|web | text`, as PM2 writes it; or the line alone.
fn render(line: &LogLine, raw: bool, color: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if !raw {
        let slot = line.slot.map_or_else(|| "-".to_owned(), |slot| slot.to_string());
        let style = match line.stream {
            Stream::Out => AnsiColor::Green.on_default(),
            Stream::Err => AnsiColor::Red.on_default(),
        };
        out.extend(paint(&format!("{slot}|{} |", printable(&line.app)), style, color).bytes());
        out.push(b' ');
    }
    out.extend(bytes_of(line));
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: Option<&str>, base64: Option<&str>) -> LogLine {
        LogLine {
            app: "web".into(),
            slot: Some(0),
            worker: None,
            stream: Stream::Err,
            time_unix_ms: None,
            text: text.map(str::to_owned),
            base64: base64.map(str::to_owned),
        }
    }

    #[test]
    fn a_line_is_shown_with_its_origin_or_as_it_was_written() {
        assert_eq!(render(&line(Some("hi"), None), false, false), b"0|web | hi\n");
        assert_eq!(render(&line(Some("hi"), None), true, true), b"hi\n");
        assert_eq!(render(&line(None, Some("/wA=")), true, false), b"\xff\0\n");
        assert!(render(&line(Some("hi"), None), false, true).starts_with(b"\x1b[31m0|web |\x1b[0m "));
    }
}
