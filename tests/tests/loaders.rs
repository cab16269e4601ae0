//! The preload lives with whatever else is loaded into Node, and is seen by nobody: loaders of TypeScript, hooks of ES
//! modules, the user's own NODE_OPTIONS, children and threads of the app.

use serde_json::{Value, json};
use skep_tests::strict::{self, Mode, Plan, Think};
use skep_tests::{LIMIT, Node, Port, Skep, Start, fixture, fixtures, http};

skep_tests::on_each_node! {
    the_users_own_options_and_hooks_are_theirs_and_the_app_migrates => check_family;
    typescript_by_tsx_loses_nothing => check_tsx;
}

/// Open connections migrate: the preload is there, and works.
#[track_caller]
fn check_reload(skep: &Skep, port: &Port) {
    const CLIENTS: usize = 4;
    let mode = Mode::KeepAlive(Think::up_to_ms(10));
    let load = strict::start(Plan::get(port.address(), mode, CLIENTS)).expect("the client starts");
    load.wait_for_more(40, LIMIT);
    skep.ok(["reload", "app"]);
    load.wait_for_more(40, LIMIT);
    let report = load.stop();
    assert_eq!((report.failures(), report.reconnects(CLIENTS)), (0, 0), "{report}");
    assert!(report.pids.len() >= 2, "two generations answered: {report}");
}

fn check_family(node: &Node) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    let own = "--max-old-space-size=300 --title=\"a b\"";
    let hook = format!("--import={}", fixture("telemetry.mjs").display());
    let start = Start::fixture("app", "family.mjs").port(port.number()).env("NODE_OPTIONS", own);
    skep.start(&start.flags(["--interpreter-args", &hook]));
    let seen = http::get(port.address(), "/family").expect("the app answers");
    assert_eq!(seen.status, 200, "{}", seen.body);
    let seen = seen.json();
    let nothing = |options: &str| json!({"options": options, "preloads": [], "cached": [], "channel": false});
    assert_eq!(seen["own"], json!({"options": own, "args": [hook], "telemetry": true}));
    assert_eq!(seen["child"], nothing(own));
    assert_eq!(seen["forked"], json!([nothing(own)]), "one message, its own");
    let thread = &seen["thread"];
    assert_eq!((&thread["options"], &thread["cached"]), (&Value::from(own), &json!([])), "{thread}");
    check_reload(&skep, &port);
}

/// By an argument of Node's, or by the user's own NODE_OPTIONS.
fn check_tsx(node: &Node) {
    let (skep, port) = (Skep::with_node(node), Port::free());
    let start = Start::fixture("app", "typescript.ts").port(port.number());
    let start = start.flags(["--interpreter", "node", "--cwd", &fixtures().display().to_string()]);
    skep.start(&match node.major {
        20 | 24 => start.env("NODE_OPTIONS", "--import tsx"),
        _ => start.flags(["--interpreter-args", "--import tsx"]),
    });
    check_reload(&skep, &port);
}
