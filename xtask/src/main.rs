//! Automation of this repository: `cargo xtask help` lists the verbs.
//!
//! It decides nothing about skep. It builds, installs tools, runs the checks in the order in which they
//! fail fastest, and shows the product at work. It must stay quick to compile: it is what a newcomer waits for.

mod apt;
mod bench;
mod cargo_tools;
mod demo;
mod directions;
mod npm;
mod paths;
mod python;
mod sh;
mod suite;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <verb>

  demo [--keep]       build skep, start examples/hello on every core in a home of its own, show its workers,
                      stop it (--keep leaves it running and says how to go on)
  test [step…]        every check and every test; the runner's closing line comes last
                      steps: fmt directions clippy deny doc doctest node test (default: all, in this order)
  ci                  what .ci/run runs: `test` without colours
  tools [group…]      install what tests and benchmarks need into target/skep-tools (SKEP_TOOLS moves it)
                      groups: runtimes fixtures python pm2 forever deny nextest bench (default: all)
  bench [name…]       measure skep beside its peers, raw figures and ratios (--quick, --check; --help lists
                      them; `state` is shared state beside Redis)
  directions          check that the crates depend on each other only downwards
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let outcome = match args.first().map(String::as_str) {
        Some("demo") => demo::run(&rest),
        Some("test") => suite::run(&rest, suite::Colour::AsTerminal),
        Some("ci") => suite::run(&rest, suite::Colour::Never),
        Some("tools") => tools::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("directions") => directions::run(),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(anyhow::anyhow!("there is no verb {other:?}\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
