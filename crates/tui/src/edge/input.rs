//! The keyboard and signals: each has a thread, because the one blocks and the other needs no more.

use std::io;
use std::thread;

use ratatui::crossterm::event::{Event as Raw, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use skep_sys::signal::SignalFd;
use tokio::sync::mpsc::Sender;

use crate::event::{Event, Key};

/// What asks a program on a terminal to end: SIGHUP, SIGINT, SIGQUIT, SIGTERM (signal(7)).
const SIGNALS: [i32; 4] = [1, 2, 3, 15];

/// Receives the signals that ask for the end. Call it before there are other threads.
pub(super) fn signals() -> io::Result<SignalFd> {
    SignalFd::new(&SIGNALS)
}

/// Passes on keys and signals until nobody takes them any more.
pub(super) fn begin(signals: SignalFd, events: Sender<Event>) {
    let keys = events.clone();
    thread::spawn(move || {
        loop {
            let event = match read() {
                Ok(Raw::Key(key)) if key.kind != KeyEventKind::Release => match meaning(key) {
                    Some(key) => Event::Key(key),
                    None => continue,
                },
                Ok(Raw::Resize(..)) => Event::Resized,
                Ok(_) => continue,
                Err(_) => Event::InputGone,
            };
            let gone = event == Event::InputGone;
            if keys.blocking_send(event).is_err() || gone {
                return;
            }
        }
    });
    thread::spawn(move || {
        loop {
            let mut fds = [rustix::event::PollFd::new(&signals, rustix::event::PollFlags::IN)];
            // An interrupted wait is looked at like any other.
            let _ = rustix::event::poll(&mut fds, None);
            for signal in signals.read().unwrap_or_default() {
                if events.blocking_send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        }
    });
}

/// A key in our words; none for those that mean nothing here.
fn meaning(key: KeyEvent) -> Option<Key> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        // In raw mode the terminal sends no SIGINT for it.
        return (key.code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    match key.code {
        KeyCode::Char(c) => Some(Key::Char(c)),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::PageUp => Some(Key::PageUp),
        KeyCode::PageDown => Some(Key::PageDown),
        KeyCode::Home => Some(Key::Home),
        KeyCode::End => Some(Key::End),
        KeyCode::Tab => Some(Key::Tab),
        KeyCode::BackTab => Some(Key::BackTab),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Backspace => Some(Key::Backspace),
        KeyCode::Esc => Some(Key::Esc),
        _ => None,
    }
}
