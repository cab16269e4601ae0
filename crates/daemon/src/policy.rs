//! From what the user asked for to the rules that the core decides by.

use skep_core::{Backoff, Condition, Dependency, Drain, Policy, Probe, ReadyRule, Span};
use skep_spec::{AppSpec, Millis, Runtime};

/// The rules for an app whose `runtime` is decided (never `auto`) and that has `instances` slots.
pub(crate) fn policy(spec: &AppSpec, runtime: Runtime, instances: u32) -> Policy {
    let defaults = Policy::default();
    let kill_timeout = span(spec.kill_timeout);
    Policy {
        autorestart: spec.autorestart,
        max_restarts: spec.max_restarts,
        min_uptime: span(spec.min_uptime),
        restart_delay: span(spec.restart_delay),
        backoff: (spec.exp_backoff_restart_delay.0 > 0)
            .then(|| Backoff { initial: span(spec.exp_backoff_restart_delay), ..Backoff::default() }),
        stop_exit_codes: spec.stop_exit_codes.iter().map(|code| i32::from(*code)).collect(),
        stop_signal: spec.kill_signal.number(),
        kill_timeout,
        kill_tree: spec.treekill,
        ready: ready_rule(spec, runtime),
        readiness: spec.readiness.as_ref().map(probe),
        liveness: spec.liveness.as_ref().map(probe),
        listen_timeout: span(spec.listen_timeout),
        alive_time: defaults.alive_time,
        // A program that binds by itself would find its port taken by its predecessor.
        overlap: runtime != Runtime::SelfBind && !spec.singleton,
        singleton: spec.singleton,
        max_surge: spec.max_surge.of(instances),
        max_unavailable: spec.max_unavailable.of_rounded_down(instances),
        drain: drain(spec, runtime),
        depends_on: depends_on(spec),
        drain_timeout: kill_timeout,
    }
}

fn depends_on(spec: &AppSpec) -> Vec<Dependency> {
    let condition = |condition| match condition {
        skep_spec::Condition::Started => Condition::Started,
        // A probe that fails makes a worker not ready.
        skep_spec::Condition::Ready | skep_spec::Condition::Healthy => Condition::Ready,
        skep_spec::Condition::Completed => Condition::Completed,
    };
    let wanted = spec.depends_on.iter();
    wanted.map(|(app, how)| Dependency { app: app.clone(), condition: condition(*how) }).collect()
}

fn ready_rule(spec: &AppSpec, runtime: Runtime) -> ReadyRule {
    match runtime {
        _ if spec.wait_ready => ReadyRule::Announced,
        Runtime::Node | Runtime::Bindshare | Runtime::Auto => ReadyRule::Listening,
        // Whether such a program listens cannot be seen from outside without probing.
        Runtime::Fd | Runtime::SelfBind => ReadyRule::Spawned,
    }
}

fn probe(probe: &skep_spec::Probe) -> Probe {
    Probe {
        initial_delay: span(probe.initial_delay),
        interval: span(probe.interval),
        timeout: span(probe.timeout),
        failure_threshold: probe.failure_threshold,
        success_threshold: probe.success_threshold,
    }
}

fn drain(spec: &AppSpec, runtime: Runtime) -> Drain {
    match (runtime, spec.drain) {
        (Runtime::Node, skep_spec::Drain::Migrate) if spec.preload => Drain::Migrate,
        (Runtime::Node, skep_spec::Drain::Close) if spec.preload => Drain::Close,
        // Without the preload nobody in the worker would understand; bind-shared programs are steered around and
        // their queue is emptied before the signal, which the driver does under the name of `close`.
        (Runtime::Bindshare | Runtime::Fd, skep_spec::Drain::Migrate | skep_spec::Drain::Close) => {
            Drain::Close
        }
        (Runtime::Node | Runtime::SelfBind | Runtime::Auto, _) | (_, skep_spec::Drain::Signal) => {
            Drain::Signal
        }
    }
}

fn span(ms: Millis) -> Span {
    Span::from_millis(ms.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unmodified_node_app_migrates_and_is_ready_when_it_listens() {
        let rules = policy(&AppSpec::default(), Runtime::Node, 4);
        assert_eq!((rules.drain, rules.ready, rules.overlap), (Drain::Migrate, ReadyRule::Listening, true));
        assert_eq!((rules.max_surge, rules.max_unavailable), (1, 0));
    }

    #[test]
    fn without_the_preload_a_node_app_is_only_signalled() {
        let spec = AppSpec { preload: false, ..AppSpec::default() };
        assert_eq!(policy(&spec, Runtime::Node, 1).drain, Drain::Signal);
    }

    #[test]
    fn a_program_that_binds_by_itself_never_runs_beside_its_successor() {
        let rules = policy(&AppSpec::default(), Runtime::SelfBind, 1);
        assert_eq!((rules.drain, rules.ready, rules.overlap), (Drain::Signal, ReadyRule::Spawned, false));
    }

    #[test]
    fn waiting_for_ready_wins_over_listening() {
        let spec = AppSpec { wait_ready: true, ..AppSpec::default() };
        assert_eq!(policy(&spec, Runtime::Node, 1).ready, ReadyRule::Announced);
    }
}
