//! Refuses an app that could not work, before anything is started.

use crate::{
    AppSpec, Balance, Bytes, Drain, DrainWebSockets, ExecMode, Ignored, Instances, Runtime, Share, SpecError,
    name,
};

/// Scheduling priorities that Linux knows (`setpriority(2)`).
const NICE: std::ops::RangeInclusive<i8> = -20..=19;

/// The least that may be asked of a program's memory: `200` was meant to be `200M`.
const MEMORY_MIN: Bytes = Bytes(64 * 1024);

impl AppSpec {
    /// The first thing that is wrong with this app, if there is one.
    pub fn validate(&self) -> Result<(), SpecError> {
        name::check("name", &self.name)?;
        name::check("namespace", &self.namespace)?;
        self.validate_program()?;
        self.validate_env()?;
        self.validate_sharing()?;
        self.validate_drain()?;
        self.validate_singleton()?;
        self.validate_probes()?;
        self.validate_schedules()?;
        self.validate_renewals()?;
        self.rotate.check()?;
        self.watch.check()?;
        self.ignore_watch.iter().try_for_each(|entry| Ignored::read(entry).map(drop))?;
        self.validate_limits()
    }

    fn validate_program(&self) -> Result<(), SpecError> {
        match (&self.script, &self.command) {
            (None, None) => {
                return Err(SpecError::field(
                    "script",
                    "",
                    "is missing",
                    "say what to run: script or command",
                ));
            }
            (Some(_), Some(command)) => {
                return Err(SpecError::field(
                    "command",
                    command,
                    "stands beside a script",
                    "keep one of the two",
                ));
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        if !self.cwd.starts_with('/') {
            return Err(SpecError::field("cwd", &self.cwd, "is not an absolute path", "write the full path"));
        }
        match self.argv().iter().find(|word| word.contains('\0')) {
            Some(word) => Err(SpecError::field("args", word, "contains a NUL byte", "remove it")),
            None => Ok(()),
        }
    }

    fn validate_env(&self) -> Result<(), SpecError> {
        for (name, value) in self.inherited_env.iter().chain(&self.env) {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(SpecError::field("env", name, "is no variable's name", "leave out `=` and NUL"));
            }
            if value.contains('\0') {
                return Err(SpecError::field("env", name, "has a value with a NUL byte", "remove it"));
            }
        }
        if let Some(variable) = &self.increment_var
            && self.incremented(0).is_none()
        {
            return Err(SpecError::field(
                "increment_var",
                variable,
                "has no number to count from",
                format!("set it: --env {variable}=3000"),
            ));
        }
        Ok(())
    }

    /// There may be one, so that is how many are asked for.
    fn validate_singleton(&self) -> Result<(), SpecError> {
        if self.singleton && self.instances != Instances::Count(1) {
            return Err(SpecError::field(
                "instances",
                self.instances.to_string(),
                "is not 1, and the app is a singleton",
                "set instances: 1, or leave out singleton",
            ));
        }
        Ok(())
    }

    fn validate_renewals(&self) -> Result<(), SpecError> {
        if let Some(cron) = &self.cron_restart {
            cron.check("cron_restart")?;
        }
        if let Some(zone) = &self.cron_timezone {
            zone.check("cron_timezone")?;
        }
        match self.max_memory_restart {
            Some(limit) if limit < MEMORY_MIN => Err(SpecError::field(
                "max_memory_restart",
                limit.to_string(),
                format!("is less than any program needs ({MEMORY_MIN})"),
                "write a size such as 200M or 1G, or leave it out for no limit",
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn validate_drain(&self) -> Result<(), SpecError> {
        if self.drain_websockets == DrainWebSockets::Keep {
            return Ok(());
        }
        let useless = |problem: &str, remedy: &str| {
            let value = self.drain_websockets.to_string();
            Err(SpecError::field("drain_websockets", value, problem, remedy))
        };
        if !self.is_node() {
            return useless("works for Node.js scripts only", "leave it out");
        }
        if !self.preload {
            return useless("needs skep's drain code in the worker", "leave out --no-preload");
        }
        if self.drain == Drain::Signal {
            return useless(
                "has no effect with drain signal: the app is asked to close by itself",
                "use --drain migrate or close",
            );
        }
        Ok(())
    }

    fn validate_sharing(&self) -> Result<(), SpecError> {
        let wants_node = self.runtime == Runtime::Node || self.exec_mode == Some(ExecMode::Cluster);
        if wants_node && !self.is_node() {
            let (field, value) = match self.runtime {
                Runtime::Node => ("runtime", "node"),
                Runtime::Auto | Runtime::Fd | Runtime::Bindshare | Runtime::SelfBind => {
                    ("exec_mode", "cluster")
                }
            };
            return Err(SpecError::field(
                field,
                value,
                "works for Node.js scripts only",
                "leave it out: other programs share their address by runtime bindshare",
            ));
        }
        if self.runtime == Runtime::Fd && self.listen.is_empty() {
            return Err(SpecError::field("runtime", "fd", "needs addresses to open", "add --listen 8080"));
        }
        if !self.listen.is_empty() && !matches!(self.runtime, Runtime::Fd | Runtime::Auto) {
            let value = self.listen[0].to_string();
            return Err(SpecError::field(
                "listen",
                value,
                format!("is not used by runtime {}", self.runtime),
                "leave out --listen, or use --runtime fd",
            ));
        }
        if let Some(twice) = self
            .listen
            .iter()
            .enumerate()
            .find_map(|(i, one)| self.listen[..i].iter().find(|other| other.address == one.address))
        {
            return Err(SpecError::field("listen", twice.to_string(), "stands there twice", "remove one"));
        }
        match (self.balance, self.weights.as_slice()) {
            (Balance::Weighted, []) => {
                Err(SpecError::field("balance", "weighted", "needs weights", "add --weights 3,1"))
            }
            (Balance::Weighted, weights) if weights.contains(&0) => {
                Err(SpecError::field("weights", "0", "gives a worker nothing", "write numbers from 1"))
            }
            (_, weights) if !weights.is_empty() && self.balance != Balance::Weighted => {
                Err(SpecError::field(
                    "weights",
                    format!("{weights:?}"),
                    format!("mean nothing to balance {}", self.balance),
                    "add --balance weighted",
                ))
            }
            _ => Ok(()),
        }
    }

    fn validate_limits(&self) -> Result<(), SpecError> {
        let stuck = |share| matches!(share, Share::Count(0) | Share::Percent(0));
        if stuck(self.max_surge) && stuck(self.max_unavailable) {
            return Err(SpecError::field(
                "max_surge",
                "0",
                "beside max_unavailable 0 leaves a reload no way to begin",
                "allow one of the two at least 1",
            ));
        }
        if let Some(nice) = self.nice.filter(|nice| !NICE.contains(nice)) {
            return Err(SpecError::field(
                "nice",
                nice.to_string(),
                "is no priority that Linux knows",
                "write a number from -20 to 19",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut AppSpec)) -> Result<(), String> {
        let mut spec = AppSpec {
            name: "web".into(),
            script: Some("/srv/app.js".into()),
            interpreter: Some("/usr/bin/node".into()),
            cwd: "/srv".into(),
            ..AppSpec::default()
        };
        change(&mut spec);
        spec.validate().map_err(|error| format!("{error}; {}", error.remedy()))
    }

    #[test]
    fn an_ordinary_app_is_accepted() {
        assert_eq!(check(|_| ()), Ok(()));
    }

    #[test]
    fn each_refusal_names_the_field_the_value_and_the_remedy() {
        let refused = |change: fn(&mut AppSpec)| check(change).unwrap_err();
        assert!(refused(|spec| spec.script = None).contains("say what to run"));
        assert!(refused(|spec| spec.cwd = "srv".into()).starts_with(r#"cwd: "srv" is not an absolute path"#));
        assert!(refused(|spec| spec.runtime = Runtime::Fd).contains("--listen 8080"));
        assert!(refused(|spec| spec.balance = Balance::Weighted).contains("--weights 3,1"));
        assert!(refused(|spec| spec.weights = vec![1]).contains("--balance weighted"));
        assert!(refused(|spec| spec.increment_var = Some("PORT".into())).contains("--env PORT=3000"));
        assert!(refused(|spec| spec.max_surge = Share::Count(0)).contains("no way to begin"));
        assert!(refused(|spec| spec.nice = Some(20)).contains("-20 to 19"));
        assert!(
            refused(|spec| spec.listen = vec!["80".parse().unwrap(), "80".parse().unwrap()])
                .contains("twice")
        );
        assert!(
            refused(|spec| drop(spec.env.insert("A=B".into(), String::new()))).contains("variable's name")
        );
    }

    #[test]
    fn cluster_mode_is_for_node_alone() {
        let error = check(|spec| {
            spec.interpreter = Some("/usr/bin/python3".into());
            spec.exec_mode = Some(ExecMode::Cluster);
        });
        assert!(error.unwrap_err().starts_with(r#"exec_mode: "cluster" works for Node.js scripts only"#));
    }
}
