//! Which jobs there are to be: what apps' specs say, and what their workers have registered.

use std::collections::{BTreeMap, BTreeSet};

use skep_jobs::{Definition, Event, JobId, Seat};
use skep_spec::{AppSpec, Schedule, SpecError};

use crate::driver::Driver;

/// What one look found.
#[derive(Default)]
struct Wanted {
    jobs: BTreeMap<JobId, (Definition, bool)>,
    seats: BTreeMap<u32, Seat>,
    apps: BTreeSet<String>,
}

impl Driver {
    /// Tells the machine what has changed since it was last told.
    pub(crate) fn tell_definitions(&mut self) {
        let wanted = self.wanted_jobs();
        let old = std::mem::replace(&mut self.board.seats, wanted.seats.clone());
        for (worker, seat) in &wanted.seats {
            if old.get(worker) != Some(seat) {
                self.job_event(Event::Seat(seat.clone()));
            }
        }
        let told = std::mem::replace(&mut self.board.told, wanted.jobs.clone());
        for (job, (definition, up)) in wanted.jobs {
            if told.get(&job) != Some(&(definition.clone(), up)) {
                self.job_event(Event::Define { job, definition: Box::new(definition), up });
            }
        }
        for worker in old.into_keys().filter(|worker| !wanted.seats.contains_key(worker)) {
            self.job_event(Event::Unseat { worker });
        }
        let gone: Vec<JobId> = told.into_keys().filter(|job| !self.board.told.contains_key(job)).collect();
        for job in gone {
            self.job_event(Event::Undefine { job });
        }
        self.forget_jobs_of_the_deleted(&wanted.apps);
    }

    /// What is known of jobs ends with their app. In the foreground other apps of this home are only not here.
    fn forget_jobs_of_the_deleted(&mut self, apps: &BTreeSet<String>) {
        let Some(open) = self.board.open.as_ref().filter(|_| !self.site.foreground) else { return };
        let gone: Vec<JobId> = open.jobs.ids().filter(|job| !apps.contains(&job.app)).cloned().collect();
        for job in gone {
            self.job_event(Event::Forget { job });
        }
    }

    fn wanted_jobs(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for app in self.fleet.apps() {
            wanted.apps.insert(app.name.clone());
            // Jobs of an app that another host has are that host's.
            let up = !self.ending && !app.standby && app.slots.iter().any(|slot| slot.up);
            let spec = self.specs.get(&(app.id, app.revision));
            for worker in self.workers.values().filter(|worker| worker.app == app.id && !worker.exited) {
                let id = worker.id().0;
                if let Some(seat) = self.seat(spec.map(|spec| &**spec), id, &app.name) {
                    wanted.seats.insert(id, seat);
                }
                // By worker id: where an old and a new worker differ, the newest says what the job is.
                for (name, schedule) in &worker.functions {
                    let Some(schedule) = schedule else { continue };
                    if let Ok(definition) = self.job_definition(name, schedule) {
                        let job = JobId { app: app.name.clone(), name: name.clone() };
                        wanted.jobs.insert(job, (definition, up));
                    }
                }
            }
            // What the spec says counts more than what a program says.
            for (name, schedule) in spec.into_iter().flat_map(|spec| &spec.schedules) {
                if let Ok(definition) = self.job_definition(name, schedule) {
                    let job = JobId { app: app.name.clone(), name: name.clone() };
                    wanted.jobs.insert(job, (definition, up));
                }
            }
        }
        wanted
    }

    /// What a schedule does not say itself, this home does: where hosts share a store, they share jobs.
    fn job_definition(&self, name: &str, schedule: &Schedule) -> Result<Definition, SpecError> {
        let mut definition = schedule.definition(name)?;
        definition.shared = schedule.shared.unwrap_or_else(|| self.hosts.are_several());
        Ok(definition)
    }

    /// A worker that has functions, with the jobs that these are for.
    fn seat(&self, spec: Option<&AppSpec>, id: u32, app: &str) -> Option<Seat> {
        let worker =
            self.workers.get(&skep_core::WorkerId(id)).filter(|worker| !worker.functions.is_empty())?;
        let declared = spec.into_iter().flat_map(|spec| &spec.schedules).filter(|(_, schedule)| {
            schedule.function.as_ref().is_some_and(|function| worker.functions.contains_key(function))
        });
        let functions = worker.functions.keys().chain(declared.map(|(name, _)| name)).cloned().collect();
        Some(Seat { worker: id, app: app.to_owned(), functions, load: 0, leaving: worker.leaving })
    }

    /// The schedule behind a job, and its app's spec.
    pub(super) fn schedule_of(&self, job: &JobId) -> Option<(std::rc::Rc<AppSpec>, Schedule)> {
        let app = self.fleet.apps().into_iter().find(|app| app.name == job.app)?;
        let spec = self.specs.get(&(app.id, app.revision))?.clone();
        let registered = || {
            let mut workers = self.workers.values().rev().filter(|worker| worker.app == app.id);
            workers.find_map(|worker| worker.functions.get(&job.name)?.clone())
        };
        let schedule = spec.schedules.get(&job.name).cloned().or_else(registered)?;
        Some((spec, schedule))
    }
}
