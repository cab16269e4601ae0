//! The command line against what people type.

use super::*;
use clap::CommandFactory;

fn parse(line: &str) -> Result<Verb, String> {
    let words = line.split(' ').map(str::to_owned);
    Cli::try_parse_from(std::iter::once("skep".to_owned()).chain(words))
        .map(|cli| cli.verb)
        .map_err(|error| error.to_string())
}

#[test]
fn the_table_of_verbs_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_forms_of_the_manual_are_understood() {
    for line in [
        "start app.js",
        "start app.js -i max",
        "start app.js -i -1 --name web",
        "start server.py -i 2 -- --port 80",
        "start a.js b.js --no-wait",
        "start npm -- run dev",
        "start app.js --env A=1 --env B=2=3 -e err.log -o out.log",
        "start web --json",
        "--json list",
        "ls --sort memory:desc",
        "l",
        "ps",
        "status",
        "show web",
        "desc 0 1",
        "del all",
        "reload /^web/ --timeout 30s",
        "scale web +2",
        "scale web -1",
        "scale web max",
        "logs -f --lines 50",
        "logs web --err -n 5",
        "sendSignal SIGUSR2 web",
        "signal HUP all",
        "pid",
        "id web",
        "daemon status",
        "daemon stop",
        "kill",
        "run app.js -i 2",
        "completions zsh",
        "resurrect --no-wait",
        "update",
        "upgrade ./skep",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn a_wrong_value_is_answered_with_the_remedy() {
    let error = parse("start app.js --kill-timeout soon").unwrap_err();
    assert!(error.contains("is not a duration") && error.contains("1.5s"), "{error}");
    let error = parse("start app.js -i many").unwrap_err();
    assert!(error.contains("max (one a processor)"), "{error}");
    let error = parse("start app.js --balance fair").unwrap_err();
    assert!(error.contains("auto, rr, least"), "{error}");
}

#[test]
fn slips_of_the_finger_are_met_with_a_suggestion() {
    assert!(parse("relaod web").unwrap_err().contains("'reload'"));
    assert!(parse("start app.js --kil-timeout 1s").unwrap_err().contains("--kill-timeout"));
    assert!(parse("stop").unwrap_err().contains("<TARGET>"));
}

#[test]
fn arguments_after_two_dashes_belong_to_the_script() {
    let Ok(Verb::Start(start)) = parse("start a.py -i 2 -- --port 80 -i 9") else { panic!("not a start") };
    assert_eq!(start.what, ["a.py"]);
    assert_eq!(start.args, ["--port", "80", "-i", "9"]);
}
