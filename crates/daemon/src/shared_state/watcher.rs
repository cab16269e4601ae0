//! Looking at the store for a change without looking again and again: `skep state watch`.
//!
//! A watcher has the store tell of the next change ([`Supervisor::watch`]), then looks. A flood of changes is one look
//! every [`GAP`]; where nothing changes there is one every [`SLOW`], for what cannot tell.

use std::rc::Rc;
use std::time::Duration;

use skep_state::Supervisor;
use tokio::sync::watch;

/// Between two looks at least: 25 a second, as fast as anybody reads.
const GAP: Duration = Duration::from_millis(40);
/// Between two looks at most. Changes by an older version of the package `skep`, which does not tell of them, are seen so
/// late; so is one whose maker is killed at the moment between making and telling it.
const SLOW: Duration = Duration::from_secs(5);

/// Tells all watchers that there may be something new.
#[derive(Debug, Default)]
pub(crate) struct News(watch::Sender<()>);

impl News {
    pub(crate) fn tell(&self) {
        self.0.send_replace(());
    }
}

/// Why somebody looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// There was news, or it is the first look.
    News,
    /// It was time to.
    Time,
}

/// How long after a look the next one comes at the latest; before that, when there is news.
///
/// Soon after news once more: a change in JavaScript, which has no fence there, may have come between the flag and the
/// look, and have seen the one no more than it was in the other.
fn latest(cause: Cause, expires_in: Option<Duration>) -> Duration {
    let usual = match cause {
        Cause::News => GAP,
        Cause::Time => SLOW,
    };
    expires_in.map_or(usual, |expires| expires.min(usual)).max(GAP)
}

/// One who watches. The last one that goes has changes cost their makers nothing again.
#[derive(Debug)]
pub(crate) struct Watcher {
    hub: Rc<News>,
    news: watch::Receiver<()>,
    /// Where it looked last.
    supervisor: Option<Rc<Supervisor>>,
    cause: Cause,
}

impl Watcher {
    pub(crate) fn new(hub: &Rc<News>) -> Self {
        Self { hub: Rc::clone(hub), news: hub.0.subscribe(), supervisor: None, cause: Cause::News }
    }

    /// To be called before each look: what changes from now on will be told.
    pub(crate) fn begin(&mut self, supervisor: Rc<Supervisor>) {
        self.news.mark_unchanged();
        supervisor.watch();
        self.supervisor = Some(supervisor);
    }

    /// Waits after a look until it is time for the next one. `expires_in`: then something that was seen will have ended.
    pub(crate) async fn wait(&mut self, expires_in: Option<Duration>) {
        tokio::time::sleep(GAP).await;
        let rest = latest(self.cause, expires_in).saturating_sub(GAP);
        // The sender lives in `hub`: this cannot fail.
        let told = tokio::time::timeout(rest, self.news.changed()).await.is_ok();
        self.cause = if told { Cause::News } else { Cause::Time };
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let is_last = self.hub.0.receiver_count() == 1;
        if let Some(supervisor) = self.supervisor.as_ref().filter(|_| is_last) {
            supervisor.unwatch();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn after_news_it_looks_once_more_and_then_rests() {
        assert_eq!(latest(Cause::News, None), GAP);
        assert_eq!(latest(Cause::Time, None), SLOW);
    }

    #[test]
    fn what_ends_is_looked_at_when_it_has_ended_but_not_without_pause() {
        assert_eq!(latest(Cause::Time, Some(1_000 * MS)), 1_000 * MS);
        assert_eq!(latest(Cause::Time, Some(100 * SLOW)), SLOW);
        for cause in [Cause::News, Cause::Time] {
            assert_eq!(latest(cause, Some(Duration::ZERO)), GAP);
        }
    }

    #[test]
    fn the_last_watcher_that_goes_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let now = skep_state::WallMs(1_700_000_000_000);
        let opened = Supervisor::open(&dir.path().join("store"), &skep_state::Options::default(), now);
        let supervisor = Rc::new(opened.expect("a fresh store"));
        let watched = || supervisor.store().watched().load(std::sync::atomic::Ordering::Relaxed) != 0;
        let hub = Rc::new(News::default());
        let (mut one, mut two) = (Watcher::new(&hub), Watcher::new(&hub));
        one.begin(Rc::clone(&supervisor));
        two.begin(Rc::clone(&supervisor));
        drop(one);
        assert!(watched());
        drop(two);
        assert!(!watched());
    }

    #[test]
    fn a_flood_of_news_is_a_look_every_gap_and_its_end_is_looked_at() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let hub = Rc::new(News::default());
            let mut watcher = Watcher::new(&hub);
            for expected in [Cause::News, Cause::News, Cause::Time] {
                watcher.news.mark_unchanged();
                if expected == Cause::News {
                    (0..1_000).for_each(|_| hub.tell());
                }
                let begin = tokio::time::Instant::now();
                watcher.wait(None).await;
                assert_eq!(watcher.cause, expected);
                assert_eq!(begin.elapsed(), GAP);
            }
            // It rests now. News ends that, and the test.
            tokio::join!(watcher.wait(None), async { hub.tell() });
            assert_eq!(watcher.cause, Cause::News);
        });
    }
}
