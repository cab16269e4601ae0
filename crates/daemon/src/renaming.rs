//! Apps that get another name.
//!
//! The name is changed before everything else that is asked for, as a change of its own that no worker notices: should
//! the reload that follows be given up, the old workers stay, under the new name. Refused is what would part an app from
//! what is kept under its name.

use std::collections::BTreeMap;
use std::path::Path;

use skep_api::{ErrorBody, ErrorCode};
use skep_core::{AppView, Command, UpdateHow};
use skep_spec::{AppSpec, LogFile};

use crate::applying::Draft;
use crate::driver::Driver;

impl Driver {
    /// Adds the renames of an apply to its draft; from then on `known` has the apps under their new names.
    ///
    /// # Errors
    /// When a new name is taken or described by nobody, an old one is unknown, or something else is tied to it.
    pub(crate) fn draft_renames(
        &self,
        draft: &mut Draft,
        renames: &BTreeMap<String, String>,
        apps: &[AppSpec],
        known: &mut BTreeMap<String, AppView>,
    ) -> Result<(), ErrorBody> {
        for (old, new) in renames.iter().filter(|(old, new)| old != new) {
            let Some(described) = apps.iter().find(|spec| spec.name == *new) else {
                let message =
                    format!("renames: {old} shall be called {new}, and no app of this name is described");
                return Err(ErrorBody::new(ErrorCode::InvalidSpec, message)
                    .with_hint(format!("describe it in apps, under the name {new}")));
            };
            described.validate().map_err(ErrorBody::from)?;
            let Some(view) = known.remove(old) else {
                // Said again, because the answer was lost: it has been done. Otherwise somebody else was first, and
                // what is described would become a second app.
                if known.contains_key(new) {
                    continue;
                }
                let message = format!("renames: there is no app {old}");
                return Err(ErrorBody::new(ErrorCode::UnknownTarget, message)
                    .with_hint("`skep list` shows what there is"));
            };
            self.check_rename(&view, new, known)?;
            let present = self.specs.get(&(view.id, view.revision)).cloned().unwrap_or_default();
            let spec = renamed(&present, new, &self.site.home);
            let instances = u32::try_from(view.slots.iter().filter(|slot| !slot.leaving).count())
                .expect("an app has at most a few thousand slots");
            let revision = self.next_revision(view.id);
            let command = Command::Update {
                app: view.id,
                name: Some(new.clone()),
                namespace: None,
                policy: crate::policy::policy(&spec, spec.runtime_choice().runtime, instances),
                instances,
                revision,
                how: UpdateHow::Hot,
            };
            draft.renames.push((view.id, command));
            draft.specs.insert((view.id, revision), spec);
            known.insert(new.clone(), AppView { name: new.clone(), ..view });
        }
        Ok(())
    }

    fn check_rename(
        &self,
        view: &AppView,
        new: &str,
        known: &BTreeMap<String, AppView>,
    ) -> Result<(), ErrorBody> {
        let old = &view.name;
        let refuse = |code, why: String, hint: &str| {
            Err(ErrorBody::new(code, format!("{old} cannot be called {new}: {why}")).with_hint(hint))
        };
        if view.deleting {
            return refuse(
                ErrorCode::NameTaken,
                format!("{old} is being deleted"),
                "start it again under the new name",
            );
        }
        if known.contains_key(new) {
            return refuse(
                ErrorCode::NameTaken,
                "another app has this name".to_owned(),
                "choose another one; `skep list` shows those that are taken",
            );
        }
        let depends = |app: &&AppView| {
            let spec = self.specs.get(&(app.id, app.revision));
            spec.is_some_and(|spec| spec.depends_on.iter().any(|(on, _)| on == old))
        };
        if let Some(other) = known.values().find(depends) {
            return refuse(
                ErrorCode::InvalidSpec,
                format!("{} depends on {old}", other.name),
                "change the depends_on of that app first",
            );
        }
        if self.specs.get(&(view.id, view.revision)).is_some_and(|spec| spec.singleton) {
            return refuse(
                ErrorCode::InvalidSpec,
                "hosts agree by this name which of them runs it".to_owned(),
                "delete it and start it under the new name on each host",
            );
        }
        if self.has_jobs(old) {
            return refuse(
                ErrorCode::InvalidSpec,
                "what its jobs have done is kept under this name".to_owned(),
                "delete it and start it under the new name; its jobs begin anew",
            );
        }
        Ok(())
    }
}

/// Files that nobody has chosen anew are those of the app so far.
pub(crate) fn keep_files(renamed: &AppSpec, spec: &mut AppSpec) {
    for (from, to) in [
        (&renamed.out_file, &mut spec.out_file),
        (&renamed.error_file, &mut spec.error_file),
        (&renamed.pid_file, &mut spec.pid_file),
    ] {
        if to.is_none() {
            to.clone_from(from);
        }
    }
    if spec.log_file == LogFile::Usual(true) {
        spec.log_file.clone_from(&renamed.log_file);
    }
}

/// The same app under another name, with its log files and pid files where they are.
fn renamed(present: &AppSpec, new: &str, home: &Path) -> AppSpec {
    let mut spec = present.clone();
    let keep = |given: &mut Option<String>, directory: &str, ending: &str| {
        if given.is_none() {
            let stem = crate::logging::file_name(&present.name);
            let path = home.join(directory).join(format!("{stem}{ending}"));
            *given = path.to_str().map(str::to_owned);
        }
    };
    keep(&mut spec.out_file, "logs", "-out.log");
    keep(&mut spec.error_file, "logs", "-error.log");
    keep(&mut spec.pid_file, "pids", ".pid");
    if spec.log_file == LogFile::Usual(true) {
        let mut path = None;
        keep(&mut path, "logs", ".log");
        spec.log_file = path.map_or(LogFile::Usual(true), LogFile::Path);
    }
    new.clone_into(&mut spec.name);
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::{combined, path};
    use skep_core::SlotId;
    use skep_logs::Stream;
    use skep_spec::Instances;

    #[test]
    fn an_app_with_another_name_goes_on_with_its_files() {
        let home = Path::new("/h");
        for instances in [Instances::Count(1), Instances::Count(2)] {
            let log_file = LogFile::Usual(true);
            let spec = AppSpec { name: "web".into(), instances, log_file, ..AppSpec::default() };
            let other = renamed(&spec, "other", home);
            assert_eq!(other.name, "other");
            for stream in [Stream::Out, Stream::Err] {
                assert_eq!(path(&other, home, SlotId(3), stream), path(&spec, home, SlotId(3), stream));
            }
            let both = |spec| combined(spec, home, SlotId(3));
            assert_eq!(both(&other), both(&spec));
            let mut described = AppSpec { name: "other".into(), ..spec.clone() };
            keep_files(&other, &mut described);
            assert_eq!(both(&described), both(&spec));
            let pid_file = |spec| crate::pm2::pid_file(spec, home, SlotId(3));
            assert_eq!(pid_file(&other), pid_file(&spec));
        }
    }

    #[test]
    fn files_that_were_chosen_stay_chosen() {
        let spec = AppSpec { out_file: Some("/var/log/o.log".into()), ..AppSpec::default() };
        assert_eq!(renamed(&spec, "other", Path::new("/h")).out_file, spec.out_file);
    }
}
