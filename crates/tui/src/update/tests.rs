use super::*;
use crate::event::{Command, Key, Verb};
use crate::sample::{line, seen};
use crate::state::{Dialog, Pane};
use skep_api::{JobAct, Stream};

/// A dashboard that has seen the sample fleet and was given these keys; what it wants done then.
fn after(keys: &[Key]) -> (State, Vec<Effect>) {
    let mut state = State::default();
    let mut effects = state.handle(Event::Seen(Box::new(seen())));
    assert_eq!(effects, [Effect::Follow(Some(0))], "the first worker is selected");
    effects.clear();
    for key in keys {
        effects.extend(state.handle(Event::Key(*key)));
    }
    (state, effects)
}

#[track_caller]
fn check(keys: &[Key], wanted: Command) {
    let (state, effects) = after(keys);
    assert_eq!(effects.last(), Some(&Effect::Do(wanted)), "{:?}", state.dialog);
    assert_eq!((state.dialog, state.under_way), (Dialog::None, 1));
}

use Key::{Char, Down, Enter, Esc, Tab, Up};

#[test]
fn nothing_is_done_before_it_is_confirmed() {
    for key in ['r', 'l', 's', '+', '-'] {
        let (state, effects) = after(&[Char(key)]);
        assert!(effects.is_empty() && state.dialog != Dialog::None, "{key}");
        for no in [Char('n'), Esc] {
            let (state, effects) = after(&[Char(key), no]);
            assert!(effects.is_empty() && state.dialog == Dialog::None, "{key} {no:?}");
        }
    }
    let (state, effects) = after(&[Char('r'), Char('x'), Down]);
    assert!(effects.is_empty() && state.dialog != Dialog::None, "a key that means nothing answers nothing");
}

#[test]
fn commands_are_for_the_app_or_for_the_one_worker() {
    let act = |verb, target: &str| Command::Act(verb, target.into());
    check(&[Char('r'), Char('y')], act(Verb::Restart, "shop"));
    check(&[Down, Char('r'), Char('w')], act(Verb::Restart, "1"));
    check(&[Char('l'), Enter], act(Verb::Reload, "shop"));
    check(&[Char('s'), Char('y')], act(Verb::Stop, "shop"));
    check(&[Key::End, Char('s'), Char('y')], act(Verb::Start, "old"));
    let (state, effects) = after(&[Key::End, Char('r'), Char('w')]);
    assert!(state.dialog != Dialog::None && effects.len() == 1, "of one worker there is no choice");
}

#[test]
fn an_app_is_scaled_step_by_step_and_never_to_nothing() {
    check(&[Char('+'), Char('+'), Enter], Command::Scale("shop".into(), 4));
    check(&[Char('-'), Char('-'), Char('-'), Char('y')], Command::Scale("shop".into(), 1));
    let (_, effects) = after(&[Char('+'), Char('-'), Enter]);
    assert!(effects.is_empty(), "as many as there are is no change");
}

#[test]
fn actions_and_jobs_are_chosen_and_confirmed() {
    check(&[Tab, Char(']'), Enter, Char('y')], Command::Trigger { slot: "0".into(), action: "hello".into() });
    check(&[Char('3'), Enter, Char('y')], Command::Job("shop/report".into(), JobAct::Run));
    check(&[Char('3'), Char('p'), Enter], Command::Job("shop/report".into(), JobAct::Pause));
    check(&[Char('3'), Char(']'), Char('p'), Enter], Command::Job("shop/backup".into(), JobAct::Resume));
    let (_, effects) = after(&[Down, Tab, Enter, Char('y')]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Do(_))), "that worker has no actions");
}

#[test]
fn the_log_follows_the_selection() {
    let (mut state, effects) = after(&[Down, Down, Up]);
    assert_eq!(effects, [1, 2, 1].map(|slot| Effect::Follow(Some(slot))));
    state.handle(Event::Log(2, line("late", Stream::Out)));
    assert!(state.log.lines.is_empty(), "a late line of the slot before");
    let (_, effects) = after(&[Up]);
    assert!(effects.is_empty(), "it was selected already");
}

#[test]
fn when_the_selected_worker_is_gone_its_neighbour_is_selected() {
    let (mut state, _) = after(&[Down]);
    let mut fewer = seen();
    fewer.apps.truncate(1);
    fewer.apps[0].slots.truncate(1);
    assert_eq!(state.handle(Event::Seen(Box::new(fewer))), [Effect::Follow(Some(0))]);
    let mut none = seen();
    none.apps.clear();
    assert_eq!(state.handle(Event::Seen(Box::new(none))), [Effect::Follow(None)]);
    assert_eq!(state.handle(Event::Seen(Box::new(seen()))), [Effect::Follow(Some(0))]);
}

#[test]
fn while_the_daemon_is_away_nothing_is_asked_of_it_and_then_all_is_well_again() {
    let (mut state, _) = after(&[Char('r')]);
    state.handle(Event::Lost("gone".into()));
    assert_eq!(state.handle(Event::Key(Enter)), []);
    assert!(state.message.as_ref().is_some_and(|message| message.is_trouble));
    assert_eq!(state.rows().count(), 4, "what was seen last stays");
    state.handle(Event::Seen(Box::new(seen())));
    assert_eq!(state.link, Link::Up);
}

#[test]
fn a_command_s_way_and_its_end_are_told() {
    let (mut state, _) = after(&[Char('r'), Char('y')]);
    let said = |state: &State| state.message.clone().map(|message| (message.text, message.is_trouble));
    assert_eq!(said(&state), Some(("restart shop …".into(), false)));
    state.handle(Event::Told("shop:0 is \u{1b}[1mready".into()));
    assert_eq!(said(&state), Some(("shop:0 is ready".into(), false)));
    state.handle(Event::Finished(Err("shop did not start".into())));
    assert_eq!((said(&state), state.under_way), (Some(("shop did not start".into(), true)), 0));
}

#[test]
fn a_worker_whose_number_is_an_app_s_name_is_never_named_by_its_number() {
    let mut state = State::default();
    let mut fleet = seen();
    fleet.apps[2].name = "1".into();
    state.handle(Event::Seen(Box::new(fleet)));
    state.handle(Event::Key(Down));
    state.handle(Event::Key(Char('r')));
    assert!(matches!(state.dialog, Dialog::Confirm { one: None, .. }));
}

#[test]
fn it_ends_by_q_by_ctrl_c_by_a_signal_and_without_a_keyboard() {
    for event in [Event::Key(Char('q')), Event::Key(Key::Interrupt), Event::Signal(15), Event::InputGone] {
        let (mut state, _) = after(&[]);
        assert_eq!(state.handle(event), [Effect::Quit]);
    }
    let (_, effects) = after(&[Char('r'), Key::Interrupt]);
    assert_eq!(effects, [Effect::Quit], "from a dialog too");
}

#[test]
fn panes_are_turned_and_help_is_closed_by_any_key() {
    assert_eq!(after(&[Tab]).0.pane, Pane::Worker);
    assert_eq!(after(&[Key::BackTab]).0.pane, Pane::Graphs);
    assert_eq!(after(&[Char('3')]).0.pane, Pane::Jobs);
    assert_eq!(after(&[Char('?')]).0.dialog, Dialog::Help);
    let (state, effects) = after(&[Char('?'), Char('q')]);
    assert!(state.dialog == Dialog::None && effects.is_empty());
}

#[test]
fn a_filter_chooses_among_what_it_shows_and_keys_are_letters_while_it_is_typed() {
    let typed = |keys: &[Key]| after(&[&[Char('/')], keys].concat());
    let (state, effects) = typed(&[Char('o'), Char('l'), Char('d'), Char('q'), Key::Backspace]);
    assert_eq!(state.rows().map(|(_, slot)| slot.id).collect::<Vec<_>>(), [3]);
    assert_eq!(effects, [Some(3), None, Some(3)].map(Effect::Follow), "and q did not end it");
    let (state, _) = typed(&[Char('o'), Char('l'), Char('d'), Enter, Char('r')]);
    assert!(
        matches!(&state.dialog, Dialog::Confirm { all: Command::Act(Verb::Restart, app), .. } if app == "old")
    );
    for keys in [&[Char('x'), Esc][..], &[Char('o'), Enter, Esc]] {
        let (state, _) = typed(keys);
        assert_eq!((state.rows().count(), state.filter.is_typed), (4, false));
    }
    let (state, effects) = typed(&[Char('x')]);
    assert_eq!((state.selected, effects.last()), (None, Some(&Effect::Follow(None))), "nothing is shown");
    assert_eq!(typed(&[Key::Interrupt]).1, [Effect::Quit]);
}
