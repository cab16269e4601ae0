//! How long a command waits for its apps.
//!
//! PM2 does not wait for a forked process: it is online when it was started. skep looks whether it listens, which an app
//! without a server never does; under this name that is waited for no longer than it takes a usual server to come up.

use super::say::Trouble;
use skep_api::client::Client;
use skep_api::{AppView, AppsQuery, Detail};
use skep_spec::{AppSpec, ExecMode};

/// A usual Node.js server listens within half of that.
const FORKED_WAIT_MS: u64 = 500;

/// Apps that are there, with what tells how long to wait for them.
pub(super) async fn apps(targets: &[String], client: &mut Client) -> Result<Vec<AppView>, Trouble> {
    Ok(client.apps(targets, AppsQuery { detail: Detail::Full, ..AppsQuery::default() }).await?)
}

/// How long to wait for these; `None` as long as it takes.
pub(super) fn of_specs<'a>(specs: impl IntoIterator<Item = &'a AppSpec>) -> Option<u64> {
    specs.into_iter().all(is_online_at_once).then_some(FORKED_WAIT_MS)
}

/// Whether nobody said what else to wait for.
fn is_online_at_once(spec: &AppSpec) -> bool {
    spec.exec_mode_choice() == ExecMode::Fork && !spec.wait_ready && spec.readiness.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forked_apps_that_promise_nothing_are_not_waited_for() {
        let app = |mode| AppSpec {
            script: Some("/srv/app.js".into()),
            interpreter: Some("node".into()),
            exec_mode: Some(mode),
            ..AppSpec::default()
        };
        let (forked, cluster) = (app(ExecMode::Fork), app(ExecMode::Cluster));
        let ready = AppSpec { wait_ready: true, ..forked.clone() };
        assert_eq!(of_specs([&forked, &forked]), Some(FORKED_WAIT_MS));
        assert_eq!(of_specs([&forked, &cluster]), None);
        assert_eq!(of_specs([&ready]), None);
    }
}
