//! PM2's table of processes.

use super::Front;
use super::say::Trouble;
use crate::human;
use crate::table::{paint, printable};
use crate::verbs::list::status_style;
use anstyle::{AnsiColor, Style};
use serde_json::Value;
use skep_api::client::Client;
use skep_api::{Route, Status};
use std::cmp::Ordering;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// `pm2 list`.
pub(super) async fn run(front: &Front) -> Result<(), Trouble> {
    if !front.line.has("watch") {
        return show(front).await;
    }
    loop {
        front.say.always(WATCH_CLEARS);
        show(front).await?;
        tokio::time::sleep(WATCH_PERIOD).await;
    }
}

/// How often `list --watch` shows the table anew, as in PM2.
const WATCH_PERIOD: Duration = Duration::from_millis(900);
/// Clears the screen and goes to its corner.
const WATCH_CLEARS: &str = "\u{1b}[2J\u{1b}[H";

/// Every process as `jlist` has it.
pub(super) async fn processes(client: &mut Client) -> Result<Vec<Value>, Trouble> {
    Ok(client.read(Route::Pm2Processes, "", &()).await?)
}

/// The table, as it stands after a command.
pub(super) async fn show(front: &Front) -> Result<(), Trouble> {
    let mut client = front.context.connect_or_start().await?;
    let mut all = processes(&mut client).await?;
    let sort = front.line.value("sort").unwrap_or("name");
    sort_by(&mut all, sort)?;
    if front.line.has("mini-list") {
        for process in &all {
            front.say.line(&mini(process));
        }
        return Ok(());
    }
    front.say.line(table(&all, front.output().color).trim_end());
    Ok(())
}

/// Where the values are that a list can be sorted by.
const SORTABLE: &[(&str, &str)] = &[
    ("name", "/name"),
    ("namespace", "/pm2_env/namespace"),
    ("status", "/pm2_env/status"),
    ("pid", "/pid"),
    ("id", "/pm_id"),
    ("cpu", "/monit/cpu"),
    ("memory", "/monit/memory"),
    ("uptime", "/pm2_env/pm_uptime"),
];

fn sort_by(all: &mut [Value], wanted: &str) -> Result<(), Trouble> {
    let (field, order) = wanted.split_once(':').unwrap_or((wanted, "asc"));
    let Some((_, place)) = SORTABLE.iter().find(|(name, _)| *name == field) else {
        let names: Vec<&str> = SORTABLE.iter().map(|(name, _)| *name).collect();
        return Err(Trouble::Error(format!("{field} is no column; sort by {}", names.join(", "))));
    };
    all.sort_by(|a, b| {
        let order_of = compare(a.pointer(place), b.pointer(place));
        if order == "desc" { order_of.reverse() } else { order_of }
    });
    Ok(())
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    let text = |value: Option<&Value>| value.map(word).unwrap_or_default().to_lowercase();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => text(a).cmp(&text(b)),
    }
}

/// Titles and the widths that PM2 gives its columns at least.
const COLUMNS: &[(&str, usize)] = &[
    ("id", 2),
    ("name", 6),
    ("namespace", 11),
    ("version", 7),
    ("mode", 7),
    ("pid", 8),
    ("uptime", 6),
    ("↺", 4),
    ("status", 9),
    ("cpu", 8),
    ("mem", 8),
    ("user", 8),
    ("watching", 8),
];

fn table(all: &[Value], color: bool) -> String {
    let rows: Vec<Vec<(String, Style)>> = all.iter().map(row).collect();
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].0.width());
        cells.chain([COLUMNS[at].1, COLUMNS[at].0.width()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", bars.join(middle))
    };
    let line = |cells: &[(String, Style)]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|((text, style), width)| {
                format!(" {}{} ", paint(text, *style, color), " ".repeat(width.saturating_sub(text.width())))
            })
            .collect();
        format!("│{}│\n", cells.join("│"))
    };
    let bold = AnsiColor::Cyan.on_default().bold();
    let titles: Vec<(String, Style)> = COLUMNS.iter().map(|(title, _)| ((*title).to_owned(), bold)).collect();
    let mut text = rule("┌", "┬", "┐") + &line(&titles);
    if !rows.is_empty() {
        text.push_str(&rule("├", "┼", "┤"));
    }
    text.extend(rows.iter().map(|row| line(row)));
    text + &rule("└", "┴", "┘")
}

fn row(process: &Value) -> Vec<(String, Style)> {
    let env = &process["pm2_env"];
    let plain = |text: String| (printable(&text), Style::new());
    let status = env["status"].as_str().unwrap_or_default();
    let style = serde_json::from_value::<Status>(env["status"].clone()).map(status_style).unwrap_or_default();
    vec![
        (process["pm_id"].to_string(), AnsiColor::Cyan.on_default().bold()),
        plain(word(&process["name"])),
        plain(word(&env["namespace"])),
        plain(env["version"].as_str().unwrap_or("N/A").to_owned()),
        plain(mode(env)),
        plain(process["pid"].to_string()),
        plain(uptime(env)),
        plain(env["restart_time"].to_string()),
        (status.to_owned(), style),
        plain(format!("{}%", process["monit"]["cpu"])),
        plain(memory(process)),
        plain(word(&env["username"])),
        plain(if is_watched(env) { "enabled" } else { "disabled" }.to_owned()),
    ]
}

pub(super) fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn is_watched(env: &Value) -> bool {
    !matches!(env["watch"], Value::Bool(false) | Value::Null)
}

pub(super) fn mode(env: &Value) -> String {
    word(&env["exec_mode"]).trim_end_matches("_mode").to_owned()
}

/// How long it has been running; 0 when it does not.
pub(super) fn uptime(env: &Value) -> String {
    let started = env["pm_uptime"].as_u64().unwrap_or_default();
    if env["status"] != "online" {
        return "0".to_owned();
    }
    let now = skep_sys::clock::wall_ns() / 1_000_000;
    let ms = now.saturating_sub(started);
    if ms < 1_000 { "0s".to_owned() } else { human::uptime(ms) }
}

/// `35.5mb`, as PM2 writes it.
pub(super) fn memory(process: &Value) -> String {
    let bytes = process["monit"]["memory"].as_f64().unwrap_or_default();
    let units = [("gb", 1_073_741_824.0), ("mb", 1_048_576.0), ("kb", 1_024.0)];
    match units.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.1}{unit}", bytes / size),
        None => format!("{bytes}b"),
    }
}

fn mini(process: &Value) -> String {
    let env = &process["pm2_env"];
    format!(
        "+--- {name}\nnamespace : {namespace}\nversion : {version}\npid : {pid}\npm2 id : {id}\nstatus : {status}\n\
         mode : {mode}\nrestarted : {restarts}\nuptime : {uptime}\nmemory usage : {memory}\nerror log : {err}\n\
         watching : {watching}\nPID file : {pid_file}\n",
        name = printable(&word(&process["name"])),
        namespace = printable(&word(&env["namespace"])),
        version = env["version"].as_str().unwrap_or("N/A"),
        pid = process["pid"],
        id = process["pm_id"],
        status = word(&env["status"]),
        mode = mode(env),
        restarts = env["restart_time"],
        uptime = uptime(env),
        memory = memory(process),
        err = word(&env["pm_err_log_path"]),
        watching = if is_watched(env) { "yes" } else { "no" },
        pid_file = word(&env["pm_pid_path"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn process(id: u32, name: &str) -> Value {
        json!({
            "pid": 4200 + id, "name": name, "pm_id": id, "monit": { "memory": 37_224_448, "cpu": 0 },
            "pm2_env": {
                "status": "online", "namespace": "default", "exec_mode": "fork_mode", "restart_time": 0,
                "pm_uptime": 0, "username": "alice", "watch": false, "version": "3.2.1",
            },
        })
    }

    #[test]
    fn the_table_has_pm2s_columns() {
        let text = table(&[process(0, "web")], false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with(
            "│ id │ name   │ namespace   │ version │ mode    │ pid      │ uptime │ ↺    │ status"
        ));
        assert!(
            lines[3].contains("│ 0  │ web    │ default     │ 3.2.1   │ fork    │ 4200     │"),
            "{}",
            lines[3]
        );
        assert!(
            lines[3].contains("│ online    │ 0%       │ 35.5mb   │ alice    │ disabled │"),
            "{}",
            lines[3]
        );
    }

    #[test]
    fn rows_are_sorted_as_asked() {
        let mut all = vec![process(0, "b"), process(1, "a")];
        sort_by(&mut all, "name").unwrap();
        assert_eq!(all[0]["name"], "a");
        sort_by(&mut all, "id:desc").unwrap();
        assert_eq!(all[0]["pm_id"], 1);
        assert!(sort_by(&mut all, "colour").is_err());
    }
}
