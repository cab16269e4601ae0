//! Where words go: results to standard output, everything else to standard error; colours only where they are seen.

use crate::failure::Failure;
use crate::table::{paint, printable};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// How to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    /// Machine output, alone on standard output.
    pub(crate) json: bool,
    /// Colours on standard output.
    pub(crate) color: bool,
    /// Colours on standard error.
    pub(crate) error_color: bool,
    /// Columns of the terminal; `None` when standard output is none.
    pub(crate) width: Option<usize>,
    /// No progress.
    pub(crate) quiet: bool,
}

/// What decides about colours, besides the stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ColorWish {
    /// `--no-color`.
    pub(crate) refused: bool,
    /// `NO_COLOR` is set to anything (no-color.org).
    pub(crate) no_color: bool,
    /// `CLICOLOR_FORCE` is set to anything but 0 (bixense.com/clicolors).
    pub(crate) forced: bool,
    /// `TERM` is `dumb`.
    pub(crate) dumb: bool,
}

impl ColorWish {
    fn from_env(refused: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            refused,
            no_color: set("NO_COLOR").is_some(),
            forced: set("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            dumb: set("TERM").is_some_and(|value| value == "dumb"),
        }
    }

    /// Whether a stream gets colours.
    fn allows(self, is_terminal: bool) -> bool {
        !self.refused && !self.no_color && (self.forced || (is_terminal && !self.dumb))
    }
}

/// Fewer columns than this are taken for a terminal that does not know its size.
const WIDTH_MIN: u16 = 10;

impl Output {
    /// As the streams and the environment ask for it.
    pub(crate) fn detect(json: bool, no_color: bool, quiet: bool) -> Self {
        let wish = ColorWish::from_env(no_color);
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        Self {
            json,
            color: wish.allows(io::stdout().is_terminal()),
            error_color: wish.allows(io::stderr().is_terminal()),
            width: size.filter(|size| size.ws_col >= WIDTH_MIN).map(|size| usize::from(size.ws_col)),
            quiet,
        }
    }

    /// Text on standard output, as it stands.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_bytes(text.as_bytes())
    }

    /// Bytes on standard output, as they stand.
    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// One JSON value and a newline on standard output.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_string(value).map_err(|error| io::Error::other(error.to_string()))?;
        line.push('\n');
        self.print(&line)
    }

    /// A line of progress for people.
    pub(crate) fn say(&self, text: &str) {
        if !self.json && !self.quiet {
            self.complain(&printable(text));
        }
    }

    /// A line of progress with a coloured sign in front.
    pub(crate) fn sign(&self, sign: &str, color: AnsiColor, text: &str) {
        let sign = paint(sign, color.on_default(), self.error_color);
        if !self.json && !self.quiet {
            self.complain(&format!("{sign} {}", printable(text)));
        }
    }

    /// A failure: what went wrong and what to do, on standard error; in JSON on standard output as well.
    pub(crate) fn fail(&self, failure: &Failure) {
        if self.json
            && let Some(json) = failure.to_json()
        {
            // Nobody is left to be told that standard output is gone.
            drop(self.print(&format!("{json}\n")));
        }
        if let Some(body) = failure.body() {
            let red = AnsiColor::Red.on_default().bold();
            // A file may have more than one mistake: each has its line.
            for line in body.message.lines() {
                self.complain(&format!("{} {}", paint("error:", red, self.error_color), printable(line)));
            }
            if let Some(hint) = &body.hint {
                let hint = printable(hint);
                self.complain(&format!("  {} {hint}", paint("hint:", Style::new().bold(), self.error_color)));
            }
        }
    }

    /// A line on standard error. That it cannot be written is not worth dying for.
    pub(crate) fn complain(&self, line: &str) {
        drop(writeln!(io::stderr(), "{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_appear_only_where_they_are_seen_or_forced() {
        let wish = ColorWish::default();
        assert!(wish.allows(true) && !wish.allows(false));
        assert!(ColorWish { forced: true, ..wish }.allows(false));
        assert!(!ColorWish { no_color: true, forced: true, ..wish }.allows(true));
        assert!(!ColorWish { refused: true, forced: true, ..wish }.allows(true));
        assert!(!ColorWish { dumb: true, ..wish }.allows(true));
    }
}
