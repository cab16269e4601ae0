//! `pm2 COMMAND --help`: the usage line and the options as PM2 prints them. What each is for is said in skep's own words.

use super::left_out;

/// One command.
struct Usage {
    /// Its names, as PM2 writes them: `delete|del`.
    names: &'static str,
    /// What it is given.
    args: &'static str,
    about: &'static str,
    /// The options that only it has.
    options: Vec<(&'static str, &'static str)>,
}

/// What every command has.
const HELP: (&str, &str) = ("-h, --help", "output usage information");

/// A line a command (names and what it is given, then what it is for), and the options that only it has below it.
const USAGES: &str = include_str!("usage.txt");

/// What stands on the left, and behind two spaces or more on the right.
fn columns_of(line: &'static str) -> (&'static str, &'static str) {
    let (left, right) = line.trim_start().split_once("  ").expect("each line says what it is for");
    (left, right.trim_start())
}

fn usages() -> Vec<Usage> {
    let mut all: Vec<Usage> = Vec::new();
    for line in USAGES.lines() {
        let (left, about) = columns_of(line);
        match all.last_mut().filter(|_| line.starts_with(' ')) {
            Some(usage) => usage.options.push((left, about)),
            None => {
                let (names, args) = left.split_once(' ').unwrap_or((left, ""));
                all.push(Usage { names, args, about, options: Vec::new() });
            }
        }
    }
    all
}

/// The help of a command.
pub(super) fn of(word: &str) -> Option<String> {
    // PM2's other name for it is not told there.
    let name = if word == "log" { "logs" } else { word };
    if let Some(usage) = usages().iter().find(|usage| usage.names.split('|').any(|known| known == name)) {
        return Some(usage.text());
    }
    let instead = left_out::instead_of(word)?;
    Some(text(word, "", &format!("not part of skep: {instead}"), &[]))
}

/// All commands, a line each.
pub(super) fn overview() -> String {
    let line = |usage: &Usage| {
        let options = if usage.options.is_empty() { "" } else { " [options]" };
        let args = if usage.args.is_empty() { String::new() } else { format!(" {}", usage.args) };
        (format!("{}{options}{args}", usage.names), usage.about)
    };
    let lines: Vec<(String, &str)> = usages().iter().map(line).collect();
    columns(lines.iter().map(|(usage, about)| (usage.as_str(), *about)))
}

impl Usage {
    fn text(&self) -> String {
        text(self.names, self.args, self.about, &self.options)
    }
}

fn text(names: &str, args: &str, about: &str, options: &[(&str, &str)]) -> String {
    let args = if args.is_empty() { String::new() } else { format!(" {args}") };
    let options = columns(options.iter().copied().chain([HELP]));
    format!("\n  Usage: {names} [options]{args}\n\n  {about}\n\n  Options:\n\n{options}")
}

fn columns<'a>(lines: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> String {
    let width = lines.clone().map(|(left, _)| left.len()).max().unwrap_or_default();
    lines.map(|(left, right)| format!("    {left:width$}  {right}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    #[test]
    fn every_command_has_a_usage_and_every_usage_a_command() {
        for name in command::names() {
            assert!(of(name).is_some(), "{name}");
        }
        for usage in usages() {
            for name in usage.names.split('|') {
                assert!(command::find(name).is_some(), "{name}");
            }
        }
        assert!(of("plus").is_some_and(|text| text.contains("not part of skep")));
        assert_eq!(of("nosuch"), None);
    }

    #[test]
    fn it_is_laid_out_as_pm2_does_it() {
        let expected = "\n  Usage: stop [options] <id|name|namespace|all|json|stdin...>\n\n  \
                        stop processes and keep them in the list\n\n  Options:\n\n    \
                        --watch     watch its files no longer\n    -h, --help  output usage information\n";
        assert_eq!(of("stop").as_deref(), Some(expected));
        assert_eq!(of("log"), of("logs"));
        assert_eq!(of("ls"), of("list"));
    }
}
