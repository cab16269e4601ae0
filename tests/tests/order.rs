//! Start and stop order: `depends_on`.

use skep_tests::{Outcome, Skep, finish, fixture};
use std::fs;

struct Site {
    skep: Skep,
}

impl Site {
    fn new(apps: &str) -> Self {
        let site = Self { skep: Skep::new() };
        fs::copy(fixture("ordered.js"), site.skep.root().join("ordered.js")).expect("the folder is ours");
        site.write(apps);
        site
    }

    fn write(&self, apps: &str) {
        fs::write(self.skep.root().join("skep.yaml"), apps).expect("the folder is ours");
    }

    fn run<const N: usize>(&self, args: [&str; N]) -> Outcome {
        let mut command = self.skep.command(args);
        command.env("ORDER", self.skep.root().join("order"));
        finish(command)
    }

    /// What the apps have noted since the last look, in order.
    fn noted(&self) -> Vec<String> {
        let file = self.skep.root().join("order");
        let lines = fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect();
        drop(fs::remove_file(file));
        lines
    }
}

/// `web` waits for `db` and for `migrate`, which waits for `db`; `db` stands last in the file.
fn shop(migration: u8) -> String {
    format!(
        "- name: web\n  script: ordered.js\n  args: web\n  listen_timeout: 30s\n  kill_timeout: 30s\n  \
         depends_on: {{ db: ready, migrate: completed }}\n\
         - name: migrate\n  script: ordered.js\n  args: migrate --once {migration}\n  autorestart: false\n  \
         depends_on: [db]\n\
         - name: db\n  script: ordered.js\n  args: db\n  listen_timeout: 30s\n  kill_timeout: 30s\n"
    )
}

const UP: [&str; 6] =
    ["db starts", "db listens", "migrate starts", "migrate ends", "web starts", "web listens"];

#[test]
fn apps_start_after_what_they_need_and_stop_before_it() {
    let site = Site::new(&shop(0));
    let said = site.run(["start"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("waits for db to be ready"), "{}", said.stderr);
    assert_eq!(site.noted(), UP);
    site.run(["stop", "all"]).ok();
    assert_eq!(site.noted(), ["web stops", "db stops"]);
    site.run(["start", "web"]).ok();
    assert_eq!(
        site.noted(),
        ["db starts", "db listens", "web starts", "web listens"],
        "what is needed starts too, and what is done stays done"
    );
    site.run(["restart", "db"]).ok();
    let noted = site.noted();
    assert_eq!(noted, ["db stops", "db starts", "db listens"], "who runs already is left alone");
    site.run(["delete", "skep.yaml"]).ok();
    assert_eq!(site.noted(), ["web stops", "db stops"]);
}

#[test]
fn a_stop_of_everything_and_a_new_beginning_keep_the_order() {
    let site = Site::new(&shop(0));
    site.run(["start"]).ok();
    assert_eq!(site.noted(), UP);
    site.run(["kill"]).ok();
    assert_eq!(site.noted(), ["web stops", "db stops"]);
    site.run(["resurrect"]).ok();
    assert_eq!(site.noted(), ["db starts", "db listens", "web starts", "web listens"]);
}

#[test]
fn a_migration_that_fails_keeps_its_dependents_from_starting_until_it_succeeds() {
    let site = Site::new(&shop(3));
    let said = site.run(["start"]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("migrate has failed"), "{}", said.stderr);
    assert_eq!(site.noted(), ["db starts", "db listens", "migrate starts", "migrate ends"]);
    assert_eq!(site.skep.app("web").status, "errored");
    site.write(&shop(0));
    site.run(["start"]).ok();
    assert_eq!(site.noted(), ["migrate starts", "migrate ends", "web starts", "web listens"]);
}

#[test]
fn an_order_that_nobody_can_keep_is_refused_whole() {
    let app =
        |name: &str, on: &str| format!("- {{ name: {name}, script: ordered.js, depends_on: [{on}] }}\n");
    for (apps, expected) in [
        (app("a", "b") + &app("b", "c") + &app("c", "a"), "a → b → c → a"),
        (app("a", "a"), "a → a"),
        (app("web", "dbb") + &app("db", ""), "did you mean db?"),
        (
            "- { name: web, script: ordered.js, depends_on: { db: completed } }\n".to_owned()
                + &app("db", ""),
            "never completed",
        ),
        (
            "- { name: web, script: ordered.js, depends_on: { db: soon } }\n".to_owned() + &app("db", ""),
            "started, ready",
        ),
    ] {
        let site = Site::new(&apps);
        let said = site.run(["start"]);
        assert_eq!(said.code, Some(1), "{apps}: {}", said.stderr);
        assert!(said.stderr.contains(expected), "{apps}: {}", said.stderr);
        assert_eq!(site.noted(), [""; 0]);
    }
}
