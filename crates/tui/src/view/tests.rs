//! Pictures of states, each a file in `pictures/`. `SKEP_WRITE_DOCS=1` writes them anew.

use std::path::PathBuf;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use skep_api::Stream;

use super::*;
use crate::event::{Event, Key};
use crate::sample::{line, seen};

fn fleet(keys: &[Key]) -> State {
    let mut state = State::default();
    state.handle(Event::Seen(Box::new(seen())));
    state.handle(Event::LogBegins(0));
    for (text, stream) in [
        ("listening on 8080", Stream::Out),
        ("\u{1b}[32mGET\u{1b}[0m / 200", Stream::Out),
        (
            "TypeError: cannot read properties of undefined (reading 'id') at /srv/app.js:12:7 and further on",
            Stream::Err,
        ),
    ] {
        state.handle(Event::Log(0, line(text, stream)));
    }
    for key in keys {
        state.handle(Event::Key(*key));
    }
    state
}

fn picture(state: &State, width: u16, height: u16, color: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no terminal is needed");
    terminal.draw(|frame| draw(state, &Theme { color }, frame)).expect("a test backend draws");
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width);
    rows.map(|row| {
        row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned() + "\n"
    })
    .collect()
}

#[track_caller]
fn check(name: &str, state: &State, width: u16, height: u16) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/view/pictures/{name}.txt"));
    let seen = text(&picture(state, width, height, false));
    if std::env::var_os("SKEP_WRITE_DOCS").is_some() {
        std::fs::write(&file, &seen).expect("the picture is written");
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(seen, wanted, "{} differs; SKEP_WRITE_DOCS=1 writes it anew\n{seen}", file.display());
}

#[test]
fn eighty_by_twenty_four_shows_workers_and_the_log() {
    check("log", &fleet(&[]), 80, 24);
}

#[test]
fn a_wide_terminal_shows_more_columns() {
    check("wide", &fleet(&[Key::Down]), 140, 30);
}

#[test]
fn a_small_terminal_shows_what_matters_and_a_tiny_one_says_so() {
    check("small", &fleet(&[]), 40, 10);
    check("tiny", &fleet(&[]), 30, 5);
}

#[test]
fn a_worker_tells_of_itself() {
    check("worker", &fleet(&[Key::Tab, Key::Char(']')]), 80, 24);
}

#[test]
fn graphs_show_how_figures_went() {
    let mut state = fleet(&[Key::Char('4')]);
    for look in 0..50_u32 {
        let mut seen = seen();
        let slot = &mut seen.apps[0].slots[0];
        slot.cpu_percent = Some((look % 25) as f32);
        slot.memory_bytes = Some(40_000_000 + u64::from(look) * 1_000_000);
        // A worker that was replaced did not answer once.
        slot.vitals = slot.vitals.take().filter(|_| look != 30);
        state.handle(Event::Seen(Box::new(seen)));
    }
    check("graphs", &state, 80, 24);
    check("graphs-small", &state, 40, 10);
}

#[test]
fn a_filter_shows_what_matches() {
    let typed = |text: &str, last: Key| {
        let keys: Vec<Key> =
            [Key::Char('/')].into_iter().chain(text.chars().map(Key::Char)).chain([last]).collect();
        fleet(&keys)
    };
    check("filter", &typed("mailer", Key::Backspace), 80, 24);
    check("filtered", &typed("shop:1", Key::Enter), 80, 24);
    check("nothing", &typed("nobody", Key::Enter), 80, 12);
}

#[test]
fn jobs_show_their_next_and_last_run() {
    check("jobs", &fleet(&[Key::Char('3'), Key::Char(']')]), 80, 24);
}

#[test]
fn questions_and_help_lie_over_everything() {
    check("confirm", &fleet(&[Key::Char('r')]), 80, 24);
    check("scale", &fleet(&[Key::Char('+')]), 80, 24);
    check("help", &fleet(&[Key::Char('?')]), 80, 24);
}

#[test]
fn a_daemon_that_is_away_is_told_of_and_what_was_seen_stays() {
    let mut state = fleet(&[]);
    state.handle(Event::Lost("nothing for 3 s".into()));
    check("lost", &state, 80, 24);
}

#[test]
fn without_apps_the_next_step_is_told() {
    let mut state = State::default();
    check("asking", &state, 80, 12);
    let mut none = seen();
    none.apps.clear();
    none.jobs.clear();
    state.handle(Event::Seen(Box::new(none)));
    check("empty", &state, 80, 12);
}

#[test]
fn colours_are_used_only_where_they_are_wanted() {
    let uses = |color| {
        let buffer = picture(&fleet(&[]), 80, 24, color);
        buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(uses(true) && !uses(false));
    assert_eq!(text(&picture(&fleet(&[]), 80, 24, true)), text(&picture(&fleet(&[]), 80, 24, false)));
}

#[test]
fn every_size_can_be_drawn_in_every_state() {
    let states = [
        &[][..],
        &[Key::Tab],
        &[Key::Char('3')],
        &[Key::Char('?')],
        &[Key::Char('r')],
        &[Key::Char('-')],
        &[Key::Char('4')],
        &[Key::Char('/')],
    ];
    for keys in states {
        let state = fleet(keys);
        for width in (1..=130).step_by(13) {
            for height in (1..=40).step_by(5) {
                picture(&state, width, height, true);
            }
        }
    }
}
