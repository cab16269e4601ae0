//! How the workers of an app come to share its listening addresses.

use crate::interpreter::is_node;
use crate::{AppSpec, Drain, ExecMode, Runtime};

/// A decision, with its reason for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeChoice {
    /// What is used; never [`Runtime::Auto`].
    pub runtime: Runtime,
    /// Why, as the end of "because …".
    pub reason: String,
}

impl RuntimeChoice {
    fn new(runtime: Runtime, reason: impl Into<String>) -> Self {
        Self { runtime, reason: reason.into() }
    }
}

impl AppSpec {
    /// Whether Node.js runs the script.
    pub fn is_node(&self) -> bool {
        self.command.is_none() && self.interpreter_program().is_some_and(is_node)
    }

    /// How this app's workers share listening addresses, and why.
    pub fn runtime_choice(&self) -> RuntimeChoice {
        match self.runtime {
            Runtime::Node | Runtime::Fd | Runtime::Bindshare | Runtime::SelfBind => {
                RuntimeChoice::new(self.runtime, format!("runtime: {} was asked for", self.runtime))
            }
            Runtime::Auto if !self.listen.is_empty() => {
                RuntimeChoice::new(Runtime::Fd, "listen names the addresses to open")
            }
            Runtime::Auto if !self.is_node() => RuntimeChoice::new(
                Runtime::Bindshare,
                format!("{} is no Node.js script; its bind is shared", self.program_name()),
            ),
            Runtime::Auto => match self.exec_mode {
                Some(ExecMode::Fork) => RuntimeChoice::new(
                    Runtime::Bindshare,
                    "exec_mode is fork: each worker is an ordinary Node.js process, its bind is shared",
                ),
                Some(ExecMode::Cluster) | None => RuntimeChoice::new(
                    Runtime::Node,
                    "it is a Node.js script; its listen asks skep for the socket",
                ),
            },
        }
    }

    /// PM2's word for how workers are started.
    pub fn exec_mode_choice(&self) -> ExecMode {
        match self.runtime_choice().runtime {
            Runtime::Node => ExecMode::Cluster,
            Runtime::Auto | Runtime::Fd | Runtime::Bindshare | Runtime::SelfBind => ExecMode::Fork,
        }
    }

    /// How an old worker really gives up its connections: only a Node.js worker that speaks with skep and has loaded
    /// its drain code can do more than obey a signal.
    pub fn drain_choice(&self) -> Drain {
        match self.runtime_choice().runtime {
            Runtime::Node if self.preload => self.drain,
            Runtime::Auto | Runtime::Node | Runtime::Fd | Runtime::Bindshare | Runtime::SelfBind => {
                Drain::Signal
            }
        }
    }

    fn program_name(&self) -> String {
        let argv = self.argv();
        let program = match (&self.command, self.interpreter_program()) {
            (Some(command), _) => command.as_str(),
            (None, Some(interpreter)) => interpreter,
            (None, None) => argv.first().map_or("the program", String::as_str),
        };
        crate::facts::base_name(program).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(interpreter: &str, change: impl FnOnce(&mut AppSpec)) -> Runtime {
        let mut spec = AppSpec {
            script: Some("/srv/app".into()),
            interpreter: Some(interpreter.into()),
            ..AppSpec::default()
        };
        change(&mut spec);
        let choice = spec.runtime_choice();
        assert!(!choice.reason.is_empty());
        choice.runtime
    }

    #[test]
    fn a_node_script_asks_skep_for_its_socket_and_everything_else_binds_as_ever() {
        assert_eq!(check("/usr/bin/node", |_| ()), Runtime::Node);
        for other in ["/usr/bin/bun", "/usr/bin/deno", "/usr/bin/python3", "none"] {
            assert_eq!(check(other, |_| ()), Runtime::Bindshare, "{other}");
        }
    }

    #[test]
    fn fork_mode_keeps_node_an_ordinary_process() {
        assert_eq!(check("/usr/bin/node", |spec| spec.exec_mode = Some(ExecMode::Fork)), Runtime::Bindshare);
    }

    #[test]
    fn addresses_that_are_named_are_opened_up_front() {
        assert_eq!(check("/usr/bin/node", |spec| spec.listen = vec!["80".parse().unwrap()]), Runtime::Fd);
        assert_eq!(check("/usr/bin/node", |spec| spec.runtime = Runtime::SelfBind), Runtime::SelfBind);
    }

    #[test]
    fn only_a_node_worker_with_our_code_can_migrate_connections() {
        let node =
            AppSpec { interpreter: Some("node".into()), script: Some("/a".into()), ..AppSpec::default() };
        assert_eq!(node.drain_choice(), Drain::Migrate);
        assert_eq!(AppSpec { preload: false, ..node.clone() }.drain_choice(), Drain::Signal);
        assert_eq!(AppSpec { interpreter: None, ..node }.drain_choice(), Drain::Signal);
    }
}
