//! How many workers are ready, watched all the while.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http;
use crate::process;
use crate::skep::Skep;
use crate::view::App;

/// Between two looks: often enough to see each step of a reload, which takes a Node.js program's start, seldom enough to
/// leave the machine to the load.
const LOOK: Duration = Duration::from_millis(4);

/// A thread that asks the API again and again.
#[derive(Debug)]
pub struct Readiness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    over: AtomicBool,
    least: AtomicUsize,
    looks: AtomicUsize,
}

impl Readiness {
    /// Watches one app.
    pub fn watch(skep: &Skep, app: &str) -> Self {
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            least: AtomicUsize::new(usize::MAX),
            looks: AtomicUsize::new(0),
        });
        let (ours, socket, app) = (Arc::clone(&shared), skep.socket(), app.to_owned());
        let thread = std::thread::spawn(move || {
            while !ours.over.load(Ordering::Relaxed) {
                if let Some(ready) = ready(&socket, &app) {
                    ours.least.fetch_min(ready, Ordering::Relaxed);
                    ours.looks.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::park_timeout(LOOK);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// The fewest that were ready at one look, and how often was looked.
    pub fn stop(mut self) -> (usize, usize) {
        self.end();
        (self.shared.least.load(Ordering::Relaxed), self.shared.looks.load(Ordering::Relaxed))
    }

    fn end(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.end();
    }
}

/// Slots whose worker is ready; none while no daemon answers.
fn ready(socket: &Path, name: &str) -> Option<usize> {
    let answer = http::get_unix(socket, "/v1/apps").ok().filter(|answer| answer.status == 200)?;
    let apps: Vec<App> = serde_json::from_value(answer.json()).ok()?;
    let app = apps.into_iter().find(|app| app.name == name)?;
    let is_ready = |pid: u32| process::is_alive(pid);
    Some(app.slots.iter().filter(|slot| slot.status == "online" && slot.pid.is_some_and(is_ready)).count())
}
