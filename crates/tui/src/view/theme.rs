//! Colours, or none.

use ratatui::style::{Color, Modifier, Style};
use skep_api::Status;

/// How things are emphasised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Colours are wanted. Bold, dim and reversed are used in any case.
    pub color: bool,
}

impl Theme {
    fn colored(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn trouble(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn warning(self) -> Style {
        self.colored(Color::Yellow)
    }

    pub(super) fn good(self) -> Style {
        self.colored(Color::Green)
    }

    pub(super) fn status(self, status: Status) -> Style {
        match status {
            Status::Online => self.good(),
            Status::Launching | Status::Stopping | Status::WaitingRestart => self.warning(),
            Status::Stopped => self.faint(),
            Status::Errored => self.trouble(),
        }
    }
}
