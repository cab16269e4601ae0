//! PM2's words: `[PM2]` in front, results on standard output, errors on standard error.

use crate::failure::Failure;
use crate::table::{paint, printable};
use anstyle::AnsiColor;
use skep_api::client::ClientError;
use std::io::Write;

/// How to speak.
#[derive(Debug, Clone, Copy)]
pub(super) struct Say {
    pub(super) silent: bool,
    pub(super) color: bool,
    pub(super) error_color: bool,
}

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// `[PM2][ERROR] …`
    Error(String),
    /// `[PM2][WARN] …`, and yet a failure.
    Warn(String),
    /// Text as it stands.
    Plain(String),
    /// All was said.
    Told,
    /// In the words of skep.
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<super::Misread> for Trouble {
    fn from(super::Misread(text): super::Misread) -> Self {
        Self::Error(text)
    }
}

impl Trouble {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            // PM2 knows only one kind of failure.
            Self::Failure(failure) => u8::from(failure.exit_code() != 0),
            Self::Error(_) | Self::Warn(_) | Self::Plain(_) | Self::Told => 1,
        }
    }

    /// An error of the system, with what was being done.
    pub(super) fn doing(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::Error(format!("{what}: {error}"))
    }
}

impl Say {
    /// A line of progress; many ids make several of it.
    pub(super) fn info(&self, text: &str) {
        let mark = paint("[PM2]", AnsiColor::Green.on_default(), self.color);
        self.line(&format!("{mark} {}", lines(text)));
    }

    /// A line that begins with nothing.
    pub(super) fn line(&self, text: &str) {
        if !self.silent {
            self.always(&format!("{text}\n"));
        }
    }

    /// What was asked for: it is printed even with `--silent`.
    pub(super) fn always(&self, text: &str) {
        // A reader that has gone (`pm2 jlist | head`) wants no more.
        drop(std::io::stdout().write_all(text.as_bytes()));
    }

    /// A warning that stops nothing.
    pub(super) fn warn(&self, text: &str) {
        let mark = paint("[PM2][WARN]", AnsiColor::Yellow.on_default(), self.error_color);
        self.complain(&format!("{mark} {}", printable(text)));
    }

    /// A warning among the results, where PM2 prints it.
    pub(super) fn warn_out(&self, text: &str) {
        let mark = paint("[PM2][WARN]", AnsiColor::Yellow.on_default(), self.color);
        self.line(&format!("{mark} {}", printable(text)));
    }

    /// Why it did not succeed.
    pub(super) fn trouble(&self, trouble: &Trouble) {
        match trouble {
            Trouble::Error(text) => self.error(text),
            Trouble::Warn(text) => self.warn(text),
            Trouble::Plain(text) => self.complain(&lines(text)),
            Trouble::Told => {}
            Trouble::Failure(failure) => {
                if let Some(body) = failure.body() {
                    self.error(&body.message);
                    if let Some(hint) = &body.hint {
                        self.complain(&format!("  {}", lines(hint)));
                    }
                }
            }
        }
    }

    pub(super) fn error(&self, text: &str) {
        let mark = paint("[PM2][ERROR]", AnsiColor::Red.on_default(), self.error_color);
        self.complain(&format!("{mark} {}", lines(text)));
    }

    fn complain(&self, text: &str) {
        if !self.silent {
            drop(writeln!(std::io::stderr(), "{text}"));
        }
    }
}

/// Text of several lines, each made printable.
fn lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}
