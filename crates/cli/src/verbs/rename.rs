//! `restart` and `reload` with `--name`: an app gets another name.

use super::{act, apply};
use crate::args::TargetCommand;
use crate::failure::Failure;
use crate::plan_view::Shown;
use crate::session::Context;
use skep_api::{
    AppView, ApplyApps, ApplyMode, AppsQuery, Detail, ErrorCode, Known, Pick, Prune, Route, Target,
};
use std::collections::BTreeMap;

/// Renames the one app that is meant, and restarts or reloads it.
pub(crate) async fn run(
    route: Route,
    args: TargetCommand,
    name: &str,
    switch_watch: bool,
    context: &Context,
) -> Result<(), Failure> {
    if let Some(file) = args.targets.iter().find(|target| act::is_file(target)) {
        return Err(Failure::new(
            ErrorCode::BadRequest,
            format!("--name: {file} is a file of apps, which has their names"),
            "change the name in the file; or name one app that is there: skep restart web --name shop",
        ));
    }
    let mut client = context.connect().await?;
    let query = AppsQuery { detail: Detail::Full, ..AppsQuery::default() };
    let all = act::look(&[], query, &mut client, context).await?;
    let app = the_app(&args.targets, &all, name)?;
    let Some(spec) = &app.spec else { return Err(Failure::not_running()) };
    let mut spec = skep_spec::AppSpec::clone(spec);
    name.clone_into(&mut spec.name);
    if switch_watch {
        spec.watch = skep_spec::Watch::All(spec.watch.is_off());
    }
    let mode = if route == Route::ReloadApps { ApplyMode::Reload } else { ApplyMode::Restart };
    let wait = act::wait(&args.wait);
    let request = ApplyApps {
        renames: renames(&app.name, name),
        apps: vec![spec],
        inherited_env: BTreeMap::new(),
        update_env: true,
        mode,
        prune: Prune::Nothing,
        dry_run: false,
        wait: wait.wait,
        timeout_ms: wait.timeout_ms,
    };
    apply::carry_out(request, Shown::Changed, context).await.map(drop)
}

/// What an apply is told of one app that gets another name.
pub(crate) fn renames(old: &str, new: &str) -> BTreeMap<String, String> {
    if old == new { BTreeMap::new() } else { BTreeMap::from([(old.to_owned(), new.to_owned())]) }
}

/// The one app that the targets mean as a whole.
///
/// # Errors
/// When they mean several, some instances of one, or nothing.
pub(crate) fn the_app<'a>(
    targets: &[String],
    all: &'a [AppView],
    name: &str,
) -> Result<&'a AppView, Failure> {
    let slots: Vec<Vec<u32>> = all.iter().map(|app| app.slots.iter().map(|slot| slot.id).collect()).collect();
    let known: Vec<Known<'_>> = all
        .iter()
        .zip(&slots)
        .map(|(app, slots)| Known { app: app.id, name: &app.name, namespace: &app.namespace, slots })
        .collect();
    let targets: Vec<Target> = targets
        .iter()
        .map(|target| target.parse())
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::from(skep_api::ErrorBody::from(error)))?;
    let picks = Target::pick_all(&targets, &known)
        .map_err(|error| Failure::from(skep_api::ErrorBody::from(error)))?;
    let picked = |app: &&AppView| picks.iter().any(|pick| app_of(pick) == app.id);
    let meant: Vec<&AppView> = all.iter().filter(picked).collect();
    let refuse = |why: String, hint: &str| {
        Err(Failure::new(ErrorCode::BadRequest, format!("--name {name}: {why}"), hint))
    };
    match meant.as_slice() {
        [] => refuse("there is no app".to_owned(), "`skep start app.js --name NAME` adds one"),
        [app] => {
            let whole = picks.contains(&Pick::App { app: app.id }) || picks.len() == app.slots.len();
            if whole {
                return Ok(app);
            }
            refuse(
                format!("all instances of {} have one name", app.name),
                &format!("name the app: skep restart {} --name {name}", app.name),
            )
        }
        [first, second, ..] => {
            let others = meant.len() - 2;
            let more = if others > 0 { format!(" and {others} more") } else { String::new() };
            refuse(
                format!("names are unique, and {}, {}{more} are meant", first.name, second.name),
                "name one app",
            )
        }
    }
}

fn app_of(pick: &Pick) -> u32 {
    match *pick {
        Pick::App { app } | Pick::Slot { app, .. } => app,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::list::tests::{app, slot};
    use skep_api::Status;

    fn check(targets: &[&str]) -> Result<String, String> {
        let up = |id| slot(id, Status::Online);
        let all = [
            AppView { id: 1, ..app("web", vec![up(0), up(1)]) },
            AppView { id: 2, ..app("jobs", vec![up(2)]) },
        ];
        let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
        let found = the_app(&targets, &all, "other").map(|app| app.name.clone());
        found.map_err(|failure| failure.body().expect("it has words").message.clone())
    }

    #[test]
    fn one_app_as_a_whole_gets_another_name() {
        assert_eq!(check(&["web"]).unwrap(), "web");
        assert_eq!(check(&["0", "1"]).unwrap(), "web");
        assert_eq!(check(&["2"]).unwrap(), "jobs");
        assert_eq!(check(&["/^j/"]).unwrap(), "jobs");
        assert_eq!(check(&["1"]).unwrap_err(), "--name other: all instances of web have one name");
        assert_eq!(check(&["all"]).unwrap_err(), "--name other: names are unique, and web, jobs are meant");
        assert!(check(&["nosuch"]).unwrap_err().contains("nosuch"));
    }
}
