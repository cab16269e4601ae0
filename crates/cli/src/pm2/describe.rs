//! `describe`: all about one process, in PM2's tables.

use super::Front;
use super::list::{is_watched, processes, uptime, word};
use super::say::Trouble;
use super::talk::operand;
use crate::table::printable;
use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr;

pub(super) async fn run(front: &Front) -> Result<(), Trouble> {
    let name = operand(front, 0, "describe <name|id>")?;
    let mut client = front.context.connect_or_start().await?;
    let all = processes(&mut client).await?;
    let mut found = all.iter().filter(|process| is_called(process, name)).peekable();
    if found.peek().is_none() {
        return Err(Trouble::Warn(format!("{name} doesn't exist")));
    }
    found.for_each(|process| front.say.line(&one(process)));
    Ok(())
}

/// By its name or its id; a namespace is nothing that PM2 describes.
fn is_called(process: &Value, word: &str) -> bool {
    process["name"] == word || word.parse::<u32>().is_ok_and(|id| process["pm_id"] == id)
}

fn one(process: &Value) -> String {
    let env = &process["pm2_env"];
    let name = word(&process["name"]);
    let mut text = format!(" Describing process with id {} - name {} \n", process["pm_id"], printable(&name));
    text.push_str(&boxed(&facts(process, env)));
    let actions: Vec<(String, String)> = env["axm_actions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|action| (word(&action["action_name"]), String::new()))
        .collect();
    if !actions.is_empty() {
        text.push_str(" Actions available\n");
        text.push_str(&boxed(&actions));
        text.push_str(&format!(" Trigger via: pm2 trigger {} <action_name>\n\n", printable(&name)));
    }
    if let Some(metrics) = env["axm_monitor"].as_object().filter(|metrics| !metrics.is_empty()) {
        text.push_str(" Code metrics value\n");
        text.push_str(&boxed(&metric_rows(metrics)));
    }
    text
}

/// Names of metrics with their values and units.
pub(crate) fn metric_rows(metrics: &Map<String, Value>) -> Vec<(String, String)> {
    let row = |(name, metric): (&String, &Value)| {
        let value = metric.get("value").map_or_else(|| word(metric), word);
        let unit = metric.get("unit").and_then(Value::as_str).unwrap_or_default();
        (name.clone(), format!("{value} {unit}").trim_end().to_owned())
    };
    metrics.iter().map(row).collect()
}

fn facts(process: &Value, env: &Value) -> Vec<(String, String)> {
    let list = |value: &Value| {
        let words: Vec<String> = value.as_array().into_iter().flatten().map(word).collect();
        if words.is_empty() { "N/A".to_owned() } else { words.join(" ") }
    };
    let text = |value: &Value| if value.is_null() { "N/A".to_owned() } else { word(value) };
    let created = env["created_at"].as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let created = created.map(|at| format!("{at:.3}")).unwrap_or_default();
    let mut rows = vec![
        ("status", text(&env["status"])),
        ("name", text(&process["name"])),
        ("namespace", text(&env["namespace"])),
        ("version", text(&env["version"])),
        ("restarts", text(&env["restart_time"])),
        ("uptime", uptime(env)),
        ("script path", text(&env["pm_exec_path"])),
        ("script args", list(&env["args"])),
        ("error log path", text(&env["pm_err_log_path"])),
        ("out log path", text(&env["pm_out_log_path"])),
        ("pid path", text(&env["pm_pid_path"])),
        ("interpreter", text(&env["exec_interpreter"])),
        ("interpreter args", list(&env["node_args"])),
        ("script id", text(&process["pm_id"])),
        ("exec cwd", text(&env["pm_cwd"])),
        ("exec mode", text(&env["exec_mode"])),
        ("node.js version", text(&env["node_version"])),
        ("node env", text(&env["NODE_ENV"])),
        ("watch & reload", if is_watched(env) { "✔" } else { "✘" }.to_owned()),
        ("unstable restarts", text(&env["unstable_restarts"])),
        ("created at", created),
    ];
    if let Some(cron) = env.get("cron_restart").filter(|cron| !cron.is_null()) {
        rows.insert(11, ("cron restart", word(cron)));
    }
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Two columns in a box; one where the second is empty.
fn boxed(rows: &[(String, String)]) -> String {
    let rows: Vec<(String, String)> = rows.iter().map(|(a, b)| (printable(a), printable(b))).collect();
    let left = rows.iter().map(|(name, _)| name.width()).max().unwrap_or_default();
    let right = rows.iter().map(|(_, value)| value.width()).max().unwrap_or_default();
    let pad =
        |text: &str, width: usize| format!(" {text}{} ", " ".repeat(width.saturating_sub(text.width())));
    let bar = |width: usize| "─".repeat(width + 2);
    if right == 0 {
        let lines: String = rows.iter().map(|(name, _)| format!("│{}│\n", pad(name, left))).collect();
        return format!("┌{0}┐\n{lines}└{0}┘\n", bar(left));
    }
    let lines: String =
        rows.iter().map(|(name, value)| format!("│{}│{}│\n", pad(name, left), pad(value, right))).collect();
    format!("┌{0}┬{1}┐\n{lines}└{0}┴{1}┘\n", bar(left), bar(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_process_tells_of_itself_is_shown() {
        let process = json!({
            "name": "web", "pm_id": 3,
            "pm2_env": {
                "status": "online", "pm_exec_path": "/srv/app.js", "created_at": 0,
                "axm_actions": [{ "action_name": "hello" }],
                "axm_monitor": { "Users": { "value": 12, "unit": "users" }, "plain": 3 },
            },
        });
        let text = one(&process);
        assert!(text.starts_with(" Describing process with id 3 - name web \n┌"), "{text}");
        assert!(text.contains("│ status            │ online"), "{text}");
        assert!(text.contains("│ script args       │ N/A"), "{text}");
        assert!(text.contains("1970-01-01T00:00:00.000Z"), "{text}");
        assert!(text.contains("│ hello │\n"), "{text}");
        assert!(text.contains("│ Users │ 12 users │\n│ plain │ 3        │\n"), "{text}");
    }
}
