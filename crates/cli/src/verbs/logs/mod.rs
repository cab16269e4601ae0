//! `logs`: the last lines, and the next ones. A follower survives a restart of the daemon.

mod look;
mod recent;

use crate::args::LogsCommand;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Context;
use base64::Engine;
pub(crate) use look::{Form, Look, TIMESTAMP_DEFAULT};
use recent::Recent;
use skep_api::client::{ClientError, Lines};
use skep_api::{LogLine, LogsQuery, Stream};
use skep_spec::Millis;
use std::collections::VecDeque;
use std::time::Duration;

/// After the connection was lost, this many of the last lines are asked for, to find those that were missed.
const CATCH_UP_LINES: u32 = 500;
/// The lines of the past come at once; a pause of this length means that there are no more of them.
const PAST_PAUSE: Duration = Duration::from_millis(200);
/// How long to wait before connecting again to a daemon that went away a moment after it came.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// With `--grep` so many of the last lines of each file are looked through.
const SEARCHED_LINES: u32 = 100_000;
/// With `--since` and no `--lines`, at most so many of each file are shown.
const SINCE_LINES: u32 = 10_000;

/// What is to be shown, and how.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) targets: Vec<String>,
    pub(crate) stream: Option<Stream>,
    /// How many of the last lines of each file.
    pub(crate) lines: Option<u32>,
    pub(crate) follow: bool,
    /// Not what is older.
    pub(crate) since: Option<Millis>,
    /// Only lines that match.
    pub(crate) grep: Option<String>,
    pub(crate) look: Look,
}

/// Shows log lines.
pub(crate) async fn run(args: LogsCommand, context: &Context) -> Result<(), Failure> {
    let stream = match (args.out, args.err) {
        (true, _) => Some(Stream::Out),
        (false, true) => Some(Stream::Err),
        (false, false) => None,
    };
    let form = match (args.raw, args.format) {
        (true, _) => Form::Raw,
        (false, true) => Form::Pairs,
        (false, false) => Form::Origin,
    };
    let timestamp = args.timestamp.map(|format| format.unwrap_or_else(|| TIMESTAMP_DEFAULT.to_owned()));
    let look = Look { form, timestamp, highlight: args.highlight, color: context.output.color };
    let request = Request {
        targets: args.targets,
        stream,
        lines: args.lines,
        follow: args.follow,
        since: args.since,
        grep: args.grep,
        look,
    };
    show(request, context).await
}

/// Shows the lines of a request, to their end or for ever.
pub(crate) async fn show(request: Request, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let targets = if request.targets.is_empty() { vec!["all".to_owned()] } else { request.targets };
    let grep = request.grep.as_deref().map(pattern).transpose()?;
    let lines = match (request.lines, request.since) {
        (Some(lines), _) => lines,
        (None, Some(_)) => SINCE_LINES,
        (None, None) => skep_api::LOG_LINES_DEFAULT,
    };
    let asked = if grep.is_some() { SEARCHED_LINES } else { lines };
    let since_unix_ms = request.since.map(|since| now_ms().saturating_sub(since.0));
    let query = LogsQuery { lines: asked, follow: request.follow, stream: request.stream, since_unix_ms };
    let mut view = View {
        output: context.output,
        look: request.look,
        recent: Recent::default(),
        held: grep.is_some().then(|| Held { lines: VecDeque::new(), most: lines }),
        grep,
    };
    let mut lines = client.logs(&targets, &query).await?;
    loop {
        match view.show_all(&mut lines).await {
            Ok(()) => return view.release(),
            Err(Failure::Unreachable(_)) if request.follow => {}
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

fn now_ms() -> u64 {
    skep_sys::clock::wall_ns() / 1_000_000
}

fn pattern(text: &str) -> Result<regex_lite::Regex, Failure> {
    regex_lite::Regex::new(text).map_err(|error| {
        Failure::new(
            skep_api::ErrorCode::BadRequest,
            format!("grep: {text:?} is not a regular expression: {error}"),
            "put a backslash before characters that are meant as they stand",
        )
    })
}

/// The last matching lines of the past, until the first line of the present comes: only then is it known that they are
/// the last.
struct Held {
    lines: VecDeque<Vec<u8>>,
    most: u32,
}

/// Where lines are shown, and what was shown lately.
struct View {
    output: Output,
    look: Look,
    recent: Recent,
    grep: Option<regex_lite::Regex>,
    held: Option<Held>,
}

impl View {
    /// Shows lines until the stream ends.
    async fn show_all(&mut self, lines: &mut Lines<LogLine>) -> Result<(), Failure> {
        loop {
            // Past lines come at once: when there is a pause, those that were held are the last.
            let next = match self.held {
                Some(_) => match tokio::time::timeout(PAST_PAUSE, lines.next()).await {
                    Ok(next) => next?,
                    Err(_) => {
                        self.release()?;
                        continue;
                    }
                },
                None => lines.next().await?,
            };
            let Some(line) = next else { return Ok(()) };
            self.show(&line)?;
        }
    }

    /// Shows what was held.
    fn release(&mut self) -> Result<(), Failure> {
        let Some(held) = self.held.take() else { return Ok(()) };
        held.lines.iter().try_for_each(|line| self.output.print_bytes(line))
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
        if let Some(grep) = &self.grep
            && !grep.is_match(&String::from_utf8_lossy(&bytes_of(line)))
        {
            return Ok(());
        }
        let shown = if self.output.json {
            let mut json =
                serde_json::to_vec(line).map_err(|error| std::io::Error::other(error.to_string()))?;
            json.push(b'\n');
            json
        } else {
            self.look.line(line)
        };
        if line.worker.is_some() {
            self.release()?;
        }
        match &mut self.held {
            Some(held) => {
                held.lines.push_back(shown);
                if held.lines.len() > held.most as usize {
                    held.lines.pop_front();
                }
                Ok(())
            }
            None => self.output.print_bytes(&shown),
        }
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
