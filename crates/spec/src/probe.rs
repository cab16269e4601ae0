//! Probes: how a worker is asked whether it can take work, and whether it is worth keeping.

use crate::{AppSpec, Millis, SpecError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Asked more often, a probe would be load.
const INTERVAL_LEAST: Millis = Millis(100);

/// How a worker is asked how it is. Exactly one of `http`, `tcp` and `exec` says how; each question is put to one worker and
/// answered by that one. Names and defaults are those of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// A path of the worker's HTTP server (`/healthz`); a status from 200 to 399 is a yes. Node.js without TLS only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The worker accepts a connection, so its event loop turns. Node.js only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tcp: bool,
    /// A command line for `/bin/sh -c` in the app's directory and environment; exit code 0 is a yes. `SKEP_WORKER_PID` is
    /// the worker's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<String>,
    /// Which of the worker's servers is asked, by its port. Default: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The first question comes so long after the worker's start. Default: 0.
    pub initial_delay: Millis,
    /// From an answer to the next question; more often until a worker is ready. Default: 10 s.
    #[serde(alias = "period")]
    pub interval: Millis,
    /// No answer for so long is a no. Default: 1 s.
    pub timeout: Millis,
    /// So many noes in a row count. Default: 3.
    pub failure_threshold: u32,
    /// So many yeses in a row count. Default: 1.
    pub success_threshold: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            http: None,
            tcp: false,
            exec: None,
            port: None,
            initial_delay: Millis(0),
            interval: Millis(10_000),
            timeout: Millis(1_000),
            failure_threshold: 3,
            success_threshold: 1,
        }
    }
}

fn refused(text: &str, problem: &str) -> SpecError {
    let remedy = "write http=/healthz, tcp or exec=COMMAND (last), with port=, interval=, timeout=, initial_delay=, \
                  failure_threshold= and success_threshold= as wanted: http=/healthz,interval=5s";
    SpecError::field("probe", text, problem, remedy)
}

/// `http=/healthz,interval=5s`, `/healthz`, `tcp,timeout=2s`, `interval=30s,exec=./check.sh a, b`.
impl FromStr for Probe {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut probe = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(command) = rest.strip_prefix("exec=") {
                probe.exec = Some(command.to_owned());
                break;
            }
            let (part, after) = rest.split_once(',').unwrap_or((rest, ""));
            rest = after;
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let count = || value.parse().map_err(|_| refused(text, "has a threshold that is no number"));
            match name {
                "tcp" if value.is_empty() => probe.tcp = true,
                path if path.starts_with('/') => probe.http = Some(part.to_owned()),
                "http" => probe.http = Some(value.to_owned()),
                "port" => {
                    let port = value.parse().map_err(|_| refused(text, "has a port that is no port"))?;
                    probe.port = Some(port);
                }
                "initial_delay" => probe.initial_delay = value.parse()?,
                "interval" | "period" => probe.interval = value.parse()?,
                "timeout" => probe.timeout = value.parse()?,
                "failure_threshold" => probe.failure_threshold = count()?,
                "success_threshold" => probe.success_threshold = count()?,
                _ => return Err(refused(text, &format!("has {name:?}, which is not known"))),
            }
        }
        Ok(probe)
    }
}

impl Probe {
    /// As people read it.
    #[must_use]
    pub fn summary(&self) -> String {
        let how = match (&self.http, &self.exec) {
            (Some(path), _) => format!("GET {path}"),
            (None, Some(command)) => format!("exec {command}"),
            (None, None) => "a connection".to_owned(),
        };
        format!("{how} every {}", self.interval)
    }

    fn validate(&self, field: &'static str, app: &AppSpec) -> Result<(), SpecError> {
        let ways =
            usize::from(self.http.is_some()) + usize::from(self.tcp) + usize::from(self.exec.is_some());
        let wrong = |value: String, problem: &str, remedy: &str| {
            Err(SpecError::field(field, value, problem, remedy.to_owned()))
        };
        if ways != 1 {
            let problem = "says how to ask in no way or in several";
            return wrong(format!("{ways} of them"), problem, "keep exactly one of http, tcp and exec");
        }
        if let Some(path) = self.http.as_ref().filter(|path| !is_path(path)) {
            return wrong(path.clone(), "is not a path", "write a path that starts with /, such as /healthz");
        }
        if self.exec.as_ref().is_some_and(|command| command.trim().is_empty() || command.contains('\0')) {
            return wrong(String::new(), "is no command", "write a command line for /bin/sh");
        }
        if self.exec.is_none() && !app.is_node() {
            return wrong(
                self.http.clone().unwrap_or_else(|| "tcp".to_owned()),
                "cannot reach one worker of a program that is not Node.js: its port is shared",
                "use exec, which can look at SKEP_WORKER_PID",
            );
        }
        if self.interval < INTERVAL_LEAST || self.timeout.0 == 0 {
            let problem = "asks too often, or waits for no answer";
            return wrong(
                format!("every {} for {}", self.interval, self.timeout),
                problem,
                "use 100ms or more for interval, and a timeout",
            );
        }
        if self.failure_threshold == 0 || self.success_threshold == 0 {
            return wrong("0".to_owned(), "as a threshold means nothing", "use 1 or more");
        }
        Ok(())
    }
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
}

impl AppSpec {
    pub(crate) fn validate_probes(&self) -> Result<(), SpecError> {
        for (field, probe) in [("readiness", &self.readiness), ("liveness", &self.liveness)] {
            if let Some(probe) = probe {
                probe.validate(field, self)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> AppSpec {
        AppSpec {
            name: "web".into(),
            script: Some("/srv/app.js".into()),
            interpreter: Some("/usr/bin/node".into()),
            cwd: "/srv".into(),
            ..AppSpec::default()
        }
    }

    #[test]
    fn a_probe_reads_from_one_word() {
        let probe: Probe = "/healthz?a=b,interval=5s,failure_threshold=2".parse().unwrap();
        assert_eq!(probe.http.as_deref(), Some("/healthz?a=b"));
        assert_eq!((probe.interval, probe.failure_threshold, probe.timeout), (Millis(5000), 2, Millis(1000)));
        let probe: Probe = "interval=30s,exec=./check.sh a,b=c".parse().unwrap();
        assert_eq!(probe.exec.as_deref(), Some("./check.sh a,b=c"));
        assert!("tcp,timeout=2s".parse::<Probe>().unwrap().tcp);
        for bad in ["http=/,nope=1", "http=/,port=x", "http=/,failure_threshold=some"] {
            assert!(bad.parse::<Probe>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_probe_that_could_never_be_answered_is_refused_with_a_remedy() {
        let with = |text: &str| AppSpec { readiness: Some(text.parse().unwrap()), ..node() }.validate();
        assert_eq!(with("/healthz"), Ok(()));
        for (bad, remedy) in [
            ("interval=1s", "exactly one"),
            ("tcp,exec=true", "exactly one"),
            ("http=healthz", "starts with /"),
            ("/,interval=1ms", "100ms"),
            ("/,success_threshold=0", "1 or more"),
        ] {
            let error = with(bad).unwrap_err();
            assert!(error.remedy().contains(remedy), "{bad}: {error}");
        }
        let python = AppSpec {
            interpreter: Some("/usr/bin/python3".into()),
            script: Some("/srv/app.py".into()),
            liveness: Some("/healthz".parse().unwrap()),
            ..node()
        };
        assert!(python.validate().unwrap_err().remedy().contains("exec"));
    }
}
