//! `__docs`: the manual of all verbs in Markdown, written from the command line's own table. docs/cli.md is its
//! output; a test keeps them the same.

use crate::args::{AFTER_HELP, Cli};
use crate::failure::Failure;
use crate::session::Context;
use clap::{Arg, Command, CommandFactory};

/// Prints the manual.
pub(crate) fn run(context: &Context) -> Result<(), Failure> {
    context.output.print(&manual())
}

/// The whole manual.
fn manual() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = String::from(
        "# skep on the command line\n\n\
         <!-- Written by `cargo run -- __docs > docs/cli.md`; do not edit. -->\n\n",
    );
    text.push_str(&format!("{}\n\n", about(&command)));
    text.push_str("## For every verb\n\n");
    let global = ["json", "no_color", "silent", "home"];
    let options = command.get_arguments().filter(|arg| global.contains(&arg.get_id().as_str()));
    text.extend(options.map(option));
    text.push_str(&format!("\n```text\n{AFTER_HELP}\n```\n"));
    for verb in verbs(&command) {
        text.push_str(&section(verb, &global));
    }
    text
}

fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    if about.ends_with('.') { about } else { format!("{about}.") }
}

fn section(verb: &Command, global: &[&str]) -> String {
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let mut text = format!("\n## `skep {}`\n\n{}\n\n```text\n{usage}\n```\n\n", verb.get_name(), about(verb));
    let aliases: Vec<String> = verb.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        text.push_str(&format!("Also: {}.\n\n", aliases.join(", ")));
    }
    let mut heading = None;
    for arg in verb.get_arguments() {
        let id = arg.get_id().as_str();
        if arg.is_hide_set() || global.contains(&id) || id == "help" {
            continue;
        }
        let own = arg.get_help_heading();
        if own != heading {
            heading = own;
            if let Some(title) = own {
                text.push_str(&format!("\n**{title}**\n\n"));
            }
        }
        text.push_str(&option(arg));
    }
    for inner in verbs(verb) {
        text.push_str(&format!("- `{}`: {}\n", inner.get_name(), about(inner)));
    }
    text
}

/// One option's line, like ``- `-i`, `--instances <N>`: How many workers …``.
fn option(arg: &Arg) -> String {
    let value = || {
        let names: Vec<&str> =
            arg.get_value_names().unwrap_or_default().iter().map(clap::builder::Str::as_str).collect();
        if arg.get_action().takes_values() { format!(" <{}>", names.join("> <")) } else { String::new() }
    };
    let mut forms = Vec::new();
    if let Some(short) = arg.get_short() {
        forms.push(format!("`-{short}`"));
    }
    if let Some(long) = arg.get_long() {
        forms.push(format!("`--{long}{}`", value()));
    }
    forms.extend(arg.get_visible_aliases().unwrap_or_default().iter().map(|alias| format!("`--{alias}`")));
    if forms.is_empty() {
        forms.push(format!("`{}`", value().trim()));
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = if arg.get_action().takes_values() && !defaults.is_empty() {
        format!(" [default: {}]", defaults.join(" "))
    } else {
        String::new()
    };
    format!("- {}: {help}{default}\n", forms.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_cli_md_is_what_the_command_line_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        if written != manual() && std::env::var_os("SKEP_WRITE_DOCS").is_some() {
            std::fs::write(path, manual()).unwrap();
        } else {
            assert!(written == manual(), "docs/cli.md is out of date: run this test with SKEP_WRITE_DOCS=1");
        }
    }

    #[test]
    fn every_verb_and_option_is_explained() {
        let mut command = Cli::command();
        command.build();
        for verb in verbs(&command) {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for arg in verb.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", verb.get_name(), arg.get_id());
            }
        }
    }
}
