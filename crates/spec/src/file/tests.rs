use super::*;
use crate::{ExecMode, Instances, LogFile, Millis};

fn document(text: &str, syntax: Syntax) -> Result<Document, String> {
    let value = parse(text, syntax, "f").map_err(|error| error.to_string())?;
    read(&value, "f").map_err(|error| error.to_string())
}

fn spec(text: &str, selection: &Selection) -> crate::RawStart {
    document(text, Syntax::Json).unwrap().apps[0].to_raw(selection).unwrap()
}

fn refusal(text: &str) -> String {
    document(text, Syntax::Json).unwrap_err()
}

#[test]
fn the_same_app_is_read_from_every_syntax_and_form() {
    let json = document(
        r#"{ apps: [{ name: 'web', "script": "app.js", /* so many */ instances: 2, }] }"#,
        Syntax::Json,
    );
    let same = [
        document("apps:\n  - name: web\n    script: app.js\n    instances: 2\n", Syntax::Yaml),
        document("[[apps]]\nname = \"web\"\nscript = \"app.js\"\ninstances = 2\n", Syntax::Toml),
        document("[apps.web]\nscript = \"app.js\"\ninstances = 2\n", Syntax::Toml),
        document(r#"[{"name":"web","script":"app.js","instances":2}]"#, Syntax::Json),
        document(r#"{"name":"web","exec":"app.js","instances":"2"}"#, Syntax::Json),
    ];
    let first = json.unwrap().apps[0].to_raw(&Selection::default()).unwrap();
    assert_eq!(first.what, "app.js");
    assert_eq!(first.spec.instances, Instances::Count(2));
    assert!(first.instances_given);
    for other in same {
        assert_eq!(other.unwrap().apps[0].to_raw(&Selection::default()).unwrap(), first);
    }
}

#[test]
fn pm2s_spellings_become_the_specs_fields() {
    let raw = spec(
        r#"{ "script": "app.js", "node_args": "--inspect '--title=a b'", "args": ["-p", 80], "execMode": "cluster_mode",
             "killTimeout": "5s", "min_uptime": 2000, "time": true, "stop_exit_codes": 0, "max_restarts": "3",
             "out": "NULL", "combine_logs": true, "name": 7, "filter_env": true, "autorestart": "false" }"#,
        &Selection::default(),
    );
    let spec = raw.spec;
    assert_eq!(spec.interpreter_args, ["--inspect", "--title=a b"]);
    assert_eq!(spec.args, ["-p", "80"]);
    assert_eq!(spec.exec_mode, Some(ExecMode::Cluster));
    assert_eq!((spec.kill_timeout, spec.min_uptime), (Millis(5_000), Millis(2_000)));
    assert_eq!(spec.log_date_format.as_deref(), Some("YYYY-MM-DDTHH:mm:ss"));
    assert_eq!(spec.stop_exit_codes.iter().copied().collect::<Vec<_>>(), [0]);
    assert_eq!((spec.max_restarts, spec.autorestart, spec.merge_logs), (3, false, true));
    assert_eq!((spec.name.as_str(), spec.out_file.as_deref()), ("7", Some("/dev/null")));
    assert_eq!(spec.filter_env, [""]);
}

#[test]
fn a_log_of_both_streams_is_named_or_the_usual_one() {
    let log = |value: &str| {
        let text = format!(r#"{{ "script": "app.js", "name": "web", {value} }}"#);
        document(&text, Syntax::Json)
            .map(|file| file.apps[0].to_raw(&Selection::default()).unwrap().spec.log_file)
    };
    assert_eq!(log(r#""log_file": true"#).unwrap(), LogFile::Usual(true));
    assert_eq!(log(r#""log": false"#).unwrap(), LogFile::Usual(false));
    // PM2 takes the text for a path.
    assert_eq!(log(r#""log": "true""#).unwrap(), LogFile::Path("true".into()));
    assert_eq!(log(r#""logFile": "NULL""#).unwrap(), LogFile::Path("/dev/null".into()));
    let refused = log(r#""out_file": true"#).unwrap_err().to_string();
    assert!(refused.contains("out_file: true is not accepted"), "{refused}");
}

#[test]
fn variables_are_text_and_an_environment_wins_over_them() {
    let text = r#"{ "script": "a", "name": "web", "append_env_to_name": true,
        "env": { "PORT": 3000, "ON": true, "NONE": null, "LIST": [1, 2], "LINES": "a\nb" },
        "env_production": { "PORT": 80 }, "env_test": { "PORT": 1 } }"#;
    let plain = spec(text, &Selection::default()).spec;
    let pairs: Vec<_> = plain.env.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(pairs, [("LINES", "a\nb"), ("LIST", "[1,2]"), ("ON", "true"), ("PORT", "3000")]);
    assert_eq!(plain.name, "web");
    let selection = Selection {
        environment: Some("production".into()),
        env: [("ON".to_owned(), "no".to_owned())].into(),
        overrides: [("max_restarts".to_owned(), Value::from(1))].into_iter().collect(),
    };
    let chosen = spec(text, &selection).spec;
    assert_eq!((chosen.env["PORT"].as_str(), chosen.env["ON"].as_str()), ("80", "no"));
    assert_eq!((chosen.name.as_str(), chosen.max_restarts), ("web-production", 1));
}

#[test]
fn every_mistake_is_told_with_app_attribute_value_and_remedy() {
    let error = refusal(
        r#"{ "apps": [
            { "name": "web", "script": "a.js", "instances": "banana", "instnaces": 2, "kill_timeout": "soon" },
            { "name": "api", "max_restarts": [1], "autorestart": "maybe", "script": "b.js" },
            { "args": 1, "env": "A=1", "cmd": "x", "script": "y" },
            { "name": "none" },
            3,
            { "name": "odd", "script": true }
        ] }"#,
    );
    let lines: Vec<&str> = error.lines().collect();
    for expected in [
        r#"f: web: instances: "banana" is not a number of instances; write a number up to 1024, max (one a processor), or -1 (one less than processors)"#,
        r#"f: web: instnaces: 2 is no attribute that skep knows; did you mean instances?"#,
        r#"f: web: kill_timeout: "soon" is not accepted; write milliseconds, or a number with ms, s, m, h or d (1600, 1.5s, 2m)"#,
        r#"f: api: max_restarts: [1] is not accepted; write a whole number from 0"#,
        r#"f: api: autorestart: "maybe" is not accepted; write true or false"#,
        r#"f: app 3: env: "A=1" is no table of variables; write names and values: { "PORT": 3000 }"#,
        r#"f: app 3: script: "y" is the same attribute as cmd; keep one of the two"#,
        r#"f: none: script: is missing; say what to run: a script, a program or a command line"#,
        r#"f: odd: script: true cannot be run; name a script, a program or a command line"#,
        r#"f: app 5: 3 is no table of attributes; write { "script": "app.js" }"#,
    ] {
        assert!(lines.contains(&expected), "{expected}\nis not in\n{error}");
    }
}

#[test]
fn a_file_that_is_no_app_file_says_what_to_write() {
    assert!(refusal("3").contains("describes no app"));
    assert!(refusal("{}").contains("describes no app"));
    assert!(refusal(r#"{"app": []}"#).contains("app: is nothing that skep knows"));
    assert!(refusal(r#"{"apps": 3}"#).contains("apps: 3 is no list of apps"));
    assert!(refusal(r#"{"apps": [], "extra": 1}"#).contains("extra: is nothing that skep knows beside apps"));
    assert!(document(r#"{"apps": []}"#, Syntax::Json).unwrap().apps.is_empty());
    let package = document(r#"{"name": "shop", "dependencies": {}, "pm2": [{"script": "a"}]}"#, Syntax::Json);
    assert_eq!(package.unwrap().apps.len(), 1);
}

#[test]
fn deploy_is_kept_and_what_has_no_effect_is_said() {
    let text =
        r#"{ "apps": [{ "script": "a", "name": "web", "vizion": false }], "deploy": { "production": {} } }"#;
    let document = document(text, Syntax::Json).unwrap();
    assert!(document.deploy.is_some());
    assert_eq!(document.notes, ["web: vizion has no effect: skep does not look at version control"]);
}

#[test]
fn damaged_text_is_told_by_line_and_with_what_it_probably_is() {
    let check = |text: &str, syntax| {
        let error = parse(text, syntax, "f").unwrap_err();
        (error.to_string(), error.problems[0].remedy.clone())
    };
    let (error, remedy) = check("{\n  \"apps\": [{ \"script\": \"a\"", Syntax::Json);
    assert!(error.starts_with("f: cannot be read: ") && error.contains("line 2"), "{error}");
    assert!(remedy.contains("ends in the middle"), "{remedy}");
    let (error, remedy) = check("apps:\n\t- script: a\n", Syntax::Yaml);
    assert!(error.contains("line 2"), "{error}");
    assert!(remedy.contains("replace the tabs"), "{remedy}");
    let (error, _) = check("[[apps]]\nscript = \n", Syntax::Toml);
    assert!(error.contains("line 2"), "{error}");
    assert!(check("", Syntax::Json).0.contains("empty"));
}

#[test]
fn a_mistake_in_yaml_is_told_in_one_line() {
    let said = document("apps: [", Syntax::Yaml).unwrap_err().to_string();
    assert!(
        said.contains("line 1 column 7") && said.lines().count() == 1 && !said.contains("error:"),
        "{said}"
    );
}

#[test]
fn yaml_words_stay_words_and_anchors_are_followed() {
    let text = "base: &base\n  autorestart: false\napps:\n  - <<: *base\n    name: no\n    script: a\n";
    // `base` is no part of the format: what is shared stands in the first app.
    assert!(document(text, Syntax::Yaml).unwrap_err().contains("base: is nothing"));
    let text = "- &base\n  name: no\n  script: a\n  autorestart: false\n- <<: *base\n  name: web\n";
    let document = document(text, Syntax::Yaml).unwrap();
    let raw = |n: usize| document.apps[n].to_raw(&Selection::default()).unwrap();
    assert_eq!((raw(0).spec.name.as_str(), raw(1).spec.name.as_str()), ("no", "web"));
    assert!(!raw(1).spec.autorestart);
}

#[test]
fn ten_thousand_apps_are_read_from_every_syntax() {
    let json: Vec<Value> = (0..10_000)
        .map(|n| serde_json::json!({ "name": format!("app-{n}"), "script": "a.js", "env": { "PORT": n } }))
        .collect();
    let yaml: String =
        (0..10_000).map(|n| format!("- name: app-{n}\n  script: a.js\n  env:\n    PORT: {n}\n")).collect();
    assert_eq!(document(&Value::from(json).to_string(), Syntax::Json).unwrap().apps.len(), 10_000);
    assert_eq!(document(&yaml, Syntax::Yaml).unwrap().apps.len(), 10_000);
}
