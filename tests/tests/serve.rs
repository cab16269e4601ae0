//! `skep serve`: files over HTTP as an app, by a strict client, under reload, and against those who want more.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use skep_tests::http::{self, Answer};
use skep_tests::strict::{self, Expect, Mode, Plan, Think};
use skep_tests::{Deadline, LIMIT, Port, Skep, finish, process};

/// A site with pages, compressed ones, a folder, hidden files and links.
struct Site {
    skep: Skep,
    port: Port,
    root: PathBuf,
}

impl Site {
    fn new() -> Self {
        let (skep, port) = (Skep::new(), Port::free());
        let root = skep.root().join("public");
        fs::create_dir_all(root.join("folder")).expect("the folder is ours");
        fs::create_dir(root.join(".git")).expect("the folder is ours");
        for (name, text) in [
            ("index.html", "home"),
            ("page.txt", "0123456789"),
            ("app.js", "plain"),
            ("app.js.gz", "gzip"),
            ("app.js.br", "brotli"),
            ("folder/index.html", "inside"),
            (".env", "SECRET"),
            (".git/config", "SECRET"),
        ] {
            fs::write(root.join(name), text).expect("the folder is ours");
        }
        fs::write(skep.root().join("secret"), "SECRET").expect("the folder is ours");
        symlink("../secret", root.join("up")).expect("the folder is ours");
        symlink("/etc/passwd", root.join("away")).expect("the folder is ours");
        symlink("page.txt", root.join("link.txt")).expect("the folder is ours");
        Self { skep, port, root }
    }

    fn start(&self, flags: &[&str]) {
        let mut command = self.skep.command(["serve"]);
        command.arg(&self.root).arg(self.port.number().to_string()).args(["--name", "site"]).args(flags);
        finish(command).ok();
    }

    fn address(&self) -> SocketAddr {
        self.port.address()
    }

    #[track_caller]
    fn get(&self, path: &str, headers: &str) -> Answer {
        http::get_with(self.address(), path, headers).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    #[track_caller]
    fn check(&self, path: &str, headers: &str, status: u16, body: &str) -> Answer {
        let answer = self.get(path, headers);
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "GET {path} {headers}");
        answer
    }
}

#[test]
fn files_ranges_conditions_and_precompressed_files_are_served() {
    let site = Site::new();
    site.start(&[]);
    let home = site.check("/", "", 200, "home");
    assert_eq!(home.header("content-type"), Some("text/html"));
    assert_eq!(home.header("access-control-allow-origin"), Some("*"));
    site.check("/folder/", "", 200, "inside");
    assert_eq!(site.get("/folder", "").header("location"), Some("/folder/"));
    site.check("/link.txt", "", 200, "0123456789");

    let part = site.check("/page.txt", "Range: bytes=2-4\r\n", 206, "234");
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    site.check("/page.txt", "Range: bytes=-3\r\n", 206, "789");
    assert_eq!(site.get("/page.txt", "Range: bytes=50-\r\n").status, 416);
    let tag = site.get("/page.txt", "");
    let tag = tag.header("etag").expect("files have tags");
    assert_eq!(site.get("/page.txt", &format!("If-None-Match: {tag}\r\n")).status, 304);

    let brotli = site.check("/app.js", "Accept-Encoding: gzip, br\r\n", 200, "brotli");
    assert_eq!(brotli.header("content-encoding"), Some("br"));
    assert!(brotli.header("content-type").is_some_and(|kind| kind.contains("javascript")));
    site.check("/app.js", "Accept-Encoding: gzip\r\n", 200, "gzip");
    site.check("/app.js", "", 200, "plain");

    site.check("/none", "", 404, "404 Not Found");
    fs::write(site.root.join("404.html"), "nobody here").expect("the folder is ours");
    site.check("/none", "", 404, "nobody here");
    fs::write(site.root.join("new.txt"), "new").expect("the folder is ours");
    site.check("/new.txt", "", 200, "new");
}

#[test]
fn nothing_outside_and_nothing_hidden_can_be_seen() {
    let site = Site::new();
    site.start(&[]);
    for path in [
        "/../secret",
        "/folder/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/folder/..%5c..%5csecret",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/up",
        "/away",
        "/.env",
        "/.git/config",
        "/%2egit/config",
        "/up/",
        "/page.txt/../../secret",
        "/page.txt%00.html",
    ] {
        let answer = site.get(path, "");
        assert!(answer.status >= 400, "{path}: {} {}", answer.status, answer.body);
        assert!(!answer.body.contains("SECRET") && !answer.body.contains("root:"), "{path}");
    }
    site.check("/", "", 200, "home");
}

#[test]
fn a_single_page_application_gets_its_home_page_for_what_is_not_there() {
    let site = Site::new();
    site.start(&["--spa"]);
    site.check("/users/7/edit", "", 200, "home");
    site.check("/deep/below/app.js", "", 200, "plain");
    site.check("/page.txt", "", 200, "0123456789");
    assert!(!site.get("/.env", "").body.contains("SECRET"));
}

/// What anybody on the machine, or whoever may use skep, can see.
fn all_that_is_shown(skep: &Skep) -> String {
    let mut shown: String =
        ["describe site", "env 0", "jlist", "list --json", "describe site --json", "events"]
            .iter()
            .map(|line| skep.ok(line.split(' ')))
            .collect();
    for pid in skep.processes() {
        shown.push_str(&process::command_line(pid));
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        shown.push_str(&String::from_utf8_lossy(&environment));
    }
    shown.push_str(&fs::read_to_string(skep.home().join("state.json")).expect("the state is on the disk"));
    shown
}

/// base64 of `anna:open-sesame` and of `anna:wrong`.
const RIGHT: &str = "Authorization: Basic YW5uYTpvcGVuLXNlc2FtZQ==\r\n";
const WRONG: &str = "Authorization: Basic YW5uYTp3cm9uZw==\r\n";

#[test]
fn a_password_is_asked_for_and_nowhere_to_be_seen() {
    let site = Site::new();
    let mut command = site.skep.command(["serve"]);
    command.arg(&site.root).args(["--port", &site.port.number().to_string(), "--name", "site"]);
    command.args(["--basic-auth-username", "anna"]).env("PM2_SERVE_BASIC_AUTH_PASSWORD", "open-sesame");
    finish(command).ok();
    let refused = site.check("/", "", 401, "401 Unauthorized");
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"Authentication service\""));
    site.check("/page.txt", WRONG, 401, "401 Unauthorized");
    site.check("/none", "", 401, "401 Unauthorized");
    for _ in 0..3 {
        site.check("/", RIGHT, 200, "home");
    }
    assert!(!all_that_is_shown(&site.skep).contains("open-sesame"));
}

#[test]
fn workers_share_the_port_and_are_reloaded_and_killed_without_a_lost_request() {
    let site = Site::new();
    site.start(&["-i", "2"]);
    let think = Think::up_to_ms(10);
    let plan = |mode| {
        let expected = Expect::Exactly(b"0123456789".to_vec());
        let plan = Plan::get(site.address(), mode, 3).path("/page.txt").expect(expected);
        strict::start(plan).expect("the client starts")
    };
    let load = [plan(Mode::KeepAlive(think)), plan(Mode::Short(think))];
    for round in 0..2 {
        for running in &load {
            running.wait_for_more(20, LIMIT);
        }
        let before = site.skep.app("site").pids();
        site.skep.ok(["reload", "site"]);
        let after = site.skep.settled("site", 2).pids();
        assert!(after.iter().all(|pid| !before.contains(pid)), "round {round}");
    }
    site.skep.ok(["scale", "site", "1"]);
    site.skep.settled("site", 1);
    for running in load {
        running.wait_for_more(20, LIMIT);
        let report = running.stop();
        assert_eq!(report.failures(), 0, "{report:?}");
    }
}

#[test]
fn a_file_of_apps_may_serve_by_script_and_by_pm2s_static() {
    let site = Site::new();
    let other = Port::free();
    let text = format!(
        r#"{{ "apps": [{{ "name": "site", "script": "serve", "env": {{ "PM2_SERVE_PATH": "./public", "PM2_SERVE_PORT": {},
             "PM2_SERVE_SPA": "true", "PM2_SERVE_BASIC_AUTH": "true", "PM2_SERVE_BASIC_AUTH_USERNAME": "anna",
             "PM2_SERVE_BASIC_AUTH_PASSWORD": "open-sesame" }} }}],
           "static": [{{ "name": "plain", "path": "public", "port": {} }}] }}"#,
        site.port.number(),
        other.number(),
    );
    fs::write(site.skep.root().join("ecosystem.json"), text).expect("the folder is ours");
    site.skep.ok(["start", "ecosystem.json"]);
    site.check("/no/such/page", RIGHT, 200, "home");
    site.check("/", "", 401, "401 Unauthorized");
    let answer = Deadline::until("the other one serves", || http::get(other.address(), "/").ok());
    assert_eq!(answer.body, "home");
    assert!(!all_that_is_shown(&site.skep).contains("open-sesame"));
    let plan = site.skep.run(["apply", "ecosystem.json", "--dry-run"]);
    assert_eq!(plan.code, Some(0), "an unchanged file changes nothing: {}{}", plan.stdout, plan.stderr);
}

#[test]
fn under_the_name_pm2_it_says_what_pm2_says() {
    let site = Site::new();
    site.skep.ok(["pm2-link", site.skep.root().to_str().expect("text")]);
    let port = site.port.number().to_string();
    let root = site.root.to_str().expect("text");
    let mut command = site.skep.program(site.skep.root().join("pm2"), ["serve", root, &port, "--spa"]);
    command.env("PM2_HOME", site.skep.home());
    let said = finish(command).ok();
    assert!(said.contains(&format!("[PM2] Serving {root} on port {port}")), "{said}");
    assert!(said.contains(&format!("static-page-server-{port}")), "{said}");
    site.check("/anything", "", 200, "home");
}
