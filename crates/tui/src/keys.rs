//! What keys do.

use skep_api::{JobAct, JobState};

use crate::event::{Command, Effect, Key, Verb};
use crate::filter::Filter;
use crate::state::{Dialog, Link, Pane, State, question};

/// So many rows or lines a page.
const PAGE: usize = 10;
/// More workers than this are a slip of the finger.
const WORKERS_MAX: u32 = 1_000;

impl State {
    pub(crate) fn key(&mut self, key: Key, effects: &mut Vec<Effect>) {
        if key == Key::Interrupt {
            effects.push(Effect::Quit);
            return;
        }
        match std::mem::take(&mut self.dialog) {
            Dialog::None if self.filter.is_typed => self.key_in_filter(key, effects),
            Dialog::None => self.key_in_front(key, effects),
            // Any key closes it.
            Dialog::Help => {}
            Dialog::Confirm { question, all, one } => self.key_at_question(key, question, all, one, effects),
            Dialog::Scale { app, now, wanted } => self.key_at_scale(key, app, now, wanted, effects),
        }
    }

    fn key_in_front(&mut self, key: Key, effects: &mut Vec<Effect>) {
        self.message = None;
        match key {
            Key::Char('q') => effects.push(Effect::Quit),
            Key::Char('?' | 'h') => self.dialog = Dialog::Help,
            Key::Up | Key::Char('k') => self.select(self.cursor.saturating_sub(1), effects),
            Key::Down | Key::Char('j') => self.select(self.cursor + 1, effects),
            Key::Home | Key::Char('g') => self.select(0, effects),
            Key::End | Key::Char('G') => self.select(usize::MAX, effects),
            Key::PageUp => self.page(PAGE as isize),
            Key::PageDown => self.page(-(PAGE as isize)),
            Key::Char('f') => self.log.back = 0,
            Key::Tab => self.pane = self.pane.step(1),
            Key::BackTab => self.pane = self.pane.step(-1),
            Key::Char('1') => self.pane = Pane::Log,
            Key::Char('2') => self.pane = Pane::Worker,
            Key::Char('3') => self.pane = Pane::Jobs,
            Key::Char('4') => self.pane = Pane::Graphs,
            Key::Char('/') => self.filter.is_typed = true,
            Key::Esc => self.show_all(effects),
            Key::Char('[') => self.step_in_pane(-1),
            Key::Char(']') => self.step_in_pane(1),
            Key::Enter => self.act_in_pane(),
            Key::Char('p') if self.pane == Pane::Jobs => self.pause_job(),
            Key::Char('r') => self.ask(Verb::Restart),
            Key::Char('l') => self.ask(Verb::Reload),
            Key::Char('s') => self.ask_stop_or_start(),
            Key::Char('+' | '=') => self.ask_scale(1),
            Key::Char('-') => self.ask_scale(-1),
            Key::Char(_) | Key::Backspace | Key::Interrupt => {}
        }
    }

    /// What is typed is looked for at once.
    fn key_in_filter(&mut self, key: Key, effects: &mut Vec<Effect>) {
        self.message = None;
        match key {
            Key::Char(c) => self.filter.push(c),
            Key::Backspace => self.filter.pop(),
            Key::Enter => self.filter.is_typed = false,
            Key::Esc => self.filter = Filter::default(),
            Key::Up => return self.select(self.cursor.saturating_sub(1), effects),
            Key::Down => return self.select(self.cursor + 1, effects),
            Key::PageUp | Key::PageDown | Key::Home | Key::End | Key::Tab | Key::BackTab | Key::Interrupt => {
            }
        }
        self.select_again(effects);
    }

    fn show_all(&mut self, effects: &mut Vec<Effect>) {
        self.filter = Filter::default();
        self.select_again(effects);
    }

    fn page(&mut self, lines: isize) {
        match self.pane {
            Pane::Log => self.log.scroll(lines),
            Pane::Worker | Pane::Jobs | Pane::Graphs => self.step_in_pane(-lines),
        }
    }

    fn step_in_pane(&mut self, by: isize) {
        let actions = self.row().map_or(0, |(_, slot)| slot.actions.len());
        let step = |at: usize, count: usize| at.saturating_add_signed(by).min(count.saturating_sub(1));
        match self.pane {
            Pane::Log => self.log.scroll(-by),
            Pane::Worker => self.action = step(self.action, actions),
            Pane::Jobs => self.job = step(self.job, self.jobs.len()),
            Pane::Graphs => {}
        }
    }

    /// Enter: calls the selected action, or runs the selected job.
    fn act_in_pane(&mut self) {
        let asked = match self.pane {
            Pane::Log | Pane::Graphs => return,
            Pane::Worker => self.row().and_then(|(app, slot)| {
                let action = slot.actions.get(self.action)?;
                let slot = self.target_of(slot.id)?;
                let question = format!("Call {action} of {}, worker {slot}?", app.name);
                Some((question, Command::Trigger { slot, action: action.clone() }))
            }),
            Pane::Jobs => self
                .selected_job()
                .map(|job| (format!("Run {} now?", job.id), Command::Job(job.id.clone(), JobAct::Run))),
        };
        if let Some((question, all)) = asked {
            self.dialog = Dialog::Confirm { question, all, one: None };
        }
    }

    fn pause_job(&mut self) {
        let Some(job) = self.selected_job() else { return };
        let (word, act) = match job.state {
            JobState::Paused => ("Resume", JobAct::Resume),
            _ => ("Pause", JobAct::Pause),
        };
        let (question, all) = (format!("{word} {}?", job.id), Command::Job(job.id.clone(), act));
        self.dialog = Dialog::Confirm { question, all, one: None };
    }

    fn ask_stop_or_start(&mut self) {
        match self.row() {
            Some((app, _)) if Self::runs(app) => self.ask(Verb::Stop),
            Some(_) => self.ask(Verb::Start),
            None => {}
        }
    }

    fn ask(&mut self, verb: Verb) {
        let Some((app, slot)) = self.row() else { return };
        let one = (app.slots.len() > 1).then(|| self.target_of(slot.id)).flatten();
        self.dialog = Dialog::Confirm {
            question: question(verb, app),
            all: Command::Act(verb, app.name.clone()),
            one: one.map(|target| (format!("only worker {target}"), Command::Act(verb, target))),
        };
    }

    fn ask_scale(&mut self, by: i32) {
        let Some((app, _)) = self.row() else { return };
        let now = app.instances_wanted;
        self.dialog = Dialog::Scale { app: app.name.clone(), now, wanted: scaled(now, by) };
    }

    fn key_at_question(
        &mut self,
        key: Key,
        question: String,
        all: Command,
        one: Option<(String, Command)>,
        effects: &mut Vec<Effect>,
    ) {
        match (key, one) {
            (Key::Char('y' | 'Y') | Key::Enter, _) => self.give(all, effects),
            (Key::Char('w' | 'W'), Some((_, one))) => self.give(one, effects),
            (Key::Char('n' | 'N' | 'q') | Key::Esc, _) => {}
            // A key that means nothing here answers nothing.
            (_, one) => self.dialog = Dialog::Confirm { question, all, one },
        }
    }

    fn key_at_scale(&mut self, key: Key, app: String, now: u32, wanted: u32, effects: &mut Vec<Effect>) {
        match key {
            Key::Char('+' | '=') | Key::Up => {
                self.dialog = Dialog::Scale { app, now, wanted: scaled(wanted, 1) };
            }
            Key::Char('-') | Key::Down => {
                self.dialog = Dialog::Scale { app, now, wanted: scaled(wanted, -1) };
            }
            Key::Char('y' | 'Y') | Key::Enter if wanted != now => {
                self.give(Command::Scale(app, wanted), effects);
            }
            Key::Char('y' | 'Y' | 'n' | 'N' | 'q') | Key::Enter | Key::Esc => {}
            _ => self.dialog = Dialog::Scale { app, now, wanted },
        }
    }

    fn give(&mut self, command: Command, effects: &mut Vec<Effect>) {
        if let Link::Lost(_) = self.link {
            self.say("skep does not answer: nothing was done", true);
            return;
        }
        self.under_way += 1;
        self.say(format!("{} …", words(&command)), false);
        effects.push(Effect::Do(command));
    }
}

/// At least one worker: an app without any is stopped, not scaled.
fn scaled(from: u32, by: i32) -> u32 {
    from.saturating_add_signed(by).clamp(1, WORKERS_MAX)
}

/// What a command does.
pub(crate) fn words(command: &Command) -> String {
    match command {
        Command::Act(verb, target) => format!("{} {target}", verb.as_str()),
        Command::Scale(app, wanted) => format!("scale {app} to {wanted}"),
        Command::Trigger { slot, action } => format!("{action} of worker {slot}"),
        Command::Job(job, act) => match act {
            JobAct::Run => format!("run {job}"),
            JobAct::Pause => format!("pause {job}"),
            JobAct::Resume => format!("resume {job}"),
            JobAct::Cancel => format!("end the runs of {job}"),
        },
    }
}
