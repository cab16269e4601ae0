//! What runs a script: what the user says, its `#!` line, its extension, or itself.

use crate::facts::{Entry, Facts, base_name, extension};
use crate::program::NO_INTERPRETER;
use crate::{AppSpec, SpecError};

/// How much of a file is read to see what it is: more than the 256 bytes that Linux reads of a `#!` line.
const HEAD_BYTES: usize = 512;

/// Interpreters by extension, the preferred one first.
const BY_EXTENSION: &[(&[&str], &[&str])] = &[
    (&[".js", ".cjs", ".mjs", ".jsx"], &["node"]),
    (&[".ts", ".tsx", ".mts", ".cts"], &["bun", "node"]),
    (&[".py"], &["python3", "python"]),
    (&[".rb"], &["ruby"]),
    (&[".sh", ".bash"], &["bash", "sh"]),
    (&[".pl"], &["perl"]),
    (&[".php"], &["php"]),
    (&[".coffee"], &["coffee"]),
    (&[".ls"], &["lsc"]),
    (&[".lua"], &["lua"]),
];
/// Extensions that Node.js itself reads only with a flag before 22.18, and with the flag ignored after.
const TYPESCRIPT: &[&str] = &[".ts", ".mts", ".cts"];
const STRIP_TYPES: &str = "--experimental-strip-types";
/// What reads TypeScript for Node.js, by a part of the name that is given to `--import`, `--require` or `--loader`. With one of
/// these the flag is not needed, and Node.js before 22.6 would end with `bad option` because of it.
const LOADERS: &[&str] = &["tsx", "ts-node", "swc", "esbuild", "babel", "jiti", "sucrase", "strip-types"];

/// Whether a program's path or name is Node.js.
pub(crate) fn is_node(program: &str) -> bool {
    matches!(base_name(program), "node" | "nodejs")
}

/// Settles `interpreter` and `interpreter_args` for the file at `script`.
pub(crate) fn settle(spec: &mut AppSpec, script: &str, facts: &dyn Facts) -> Result<(), SpecError> {
    let extension = extension(script);
    match &spec.interpreter {
        Some(name) if name == NO_INTERPRETER => return runs_by_itself(script, facts),
        Some(name) => spec.interpreter = Some(find(name, facts)?),
        None => {
            let (interpreter, args) = choose(script, &extension, facts)?;
            spec.interpreter = Some(interpreter);
            let own = std::mem::take(&mut spec.interpreter_args);
            spec.interpreter_args = args.into_iter().chain(own).collect();
        }
    }
    let node = spec.interpreter.as_deref().is_some_and(is_node);
    if node && TYPESCRIPT.contains(&extension.as_str()) && !reads_types(spec) {
        spec.interpreter_args.insert(0, STRIP_TYPES.to_owned());
    }
    Ok(())
}

/// The user has seen to it.
fn reads_types(spec: &AppSpec) -> bool {
    let own = spec.env.get("NODE_OPTIONS").or_else(|| spec.inherited_env.get("NODE_OPTIONS"));
    let mut words = spec.interpreter_args.iter().chain(own);
    words.any(|word| LOADERS.iter().any(|loader| word.contains(loader)))
}

fn find(name: &str, facts: &dyn Facts) -> Result<String, SpecError> {
    let path = if name.contains('/') { crate::facts::absolute(facts.cwd(), name) } else { name.to_owned() };
    facts.find_program(&path).ok_or_else(|| {
        SpecError::field(
            "interpreter",
            name,
            "is not a program in PATH",
            "install it, give its full path, or use --interpreter none for a program that runs by itself",
        )
    })
}

fn runs_by_itself(script: &str, facts: &dyn Facts) -> Result<(), SpecError> {
    match facts.look(script) {
        Some(Entry::File { executable: false }) => Err(not_executable(script)),
        Some(Entry::File { executable: true } | Entry::Directory | Entry::Other) | None => Ok(()),
    }
}

fn not_executable(script: &str) -> SpecError {
    SpecError::NotRunnable {
        path: script.to_owned(),
        problem: "nobody may execute it and its name does not say what runs it".to_owned(),
        remedy: format!("run `chmod +x {script}`, or name what runs it: --interpreter node"),
    }
}

/// The interpreter and its arguments for a script of which the user said nothing.
fn choose(script: &str, extension: &str, facts: &dyn Facts) -> Result<(String, Vec<String>), SpecError> {
    let head = facts.read(script, HEAD_BYTES).unwrap_or_default();
    let hash_bang = hash_bang(&head);
    // A `#!` line that this machine cannot follow is no error as long as the extension helps.
    if let Some((program, args)) = &hash_bang
        && let Some(found) = facts.find_program(program)
    {
        return Ok((found, args.clone()));
    }
    if let Some((_, candidates)) = BY_EXTENSION.iter().find(|(names, _)| names.contains(&extension)) {
        let found = candidates.iter().find_map(|name| facts.find_program(name));
        return found.map(|program| (program, Vec::new())).ok_or_else(|| SpecError::NotRunnable {
            path: script.to_owned(),
            problem: format!("{} is not in PATH", candidates.join(" or ")),
            remedy: format!("install {}, or name another with --interpreter", candidates[0]),
        });
    }
    if let Some((program, _)) = hash_bang {
        return Err(SpecError::NotRunnable {
            path: script.to_owned(),
            problem: format!("its first line asks for {program}, which is not there"),
            remedy: format!("install {}, or name another with --interpreter", base_name(&program)),
        });
    }
    match facts.look(script) {
        Some(Entry::File { executable: true }) if is_text(&head) => {
            // What every shell does when the kernel says that a file is not a program.
            find("sh", facts).map(|shell| (shell, Vec::new()))
        }
        Some(Entry::File { executable: true }) => Ok((NO_INTERPRETER.to_owned(), Vec::new())),
        Some(Entry::File { executable: false } | Entry::Directory | Entry::Other) | None => {
            Err(not_executable(script))
        }
    }
}

fn is_text(head: &[u8]) -> bool {
    !head.is_empty() && !head.contains(&0)
}

/// The program and its arguments in a `#!` line; `env` is looked through.
fn hash_bang(head: &[u8]) -> Option<(String, Vec<String>)> {
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    // The kernel hands over the rest of the line as one argument; only `env -S` splits it.
    let (program, rest) = match line.split_once([' ', '\t']) {
        Some((program, rest)) => (program, rest.trim()),
        None => (line, ""),
    };
    if base_name(program) != "env" {
        let args = if rest.is_empty() { Vec::new() } else { vec![rest.to_owned()] };
        return (!program.is_empty()).then(|| (program.to_owned(), args));
    }
    let split = rest.strip_prefix("-S").or_else(|| rest.strip_prefix("--split-string="));
    let mut words = match split {
        Some(rest) => shell_words::split(rest).ok()?.into_iter(),
        None => vec![rest.to_owned()].into_iter(),
    };
    let name =
        words.next().filter(|name| !name.is_empty() && !name.contains('=') && !name.starts_with('-'))?;
    Some((name, words.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fake::Machine;

    fn check(machine: Machine, script: &str) -> Result<Vec<String>, SpecError> {
        let mut spec = AppSpec { script: Some(script.into()), ..AppSpec::default() };
        settle(&mut spec, script, &machine)?;
        Ok(spec.argv())
    }

    #[test]
    fn the_extension_names_the_interpreter() {
        let on = |file: &str| check(Machine::usual().file(file, "x"), file).unwrap();
        assert_eq!(on("/srv/app.js"), ["/usr/bin/node", "/srv/app.js"]);
        assert_eq!(on("/srv/app.MJS"), ["/usr/bin/node", "/srv/app.MJS"]);
        assert_eq!(on("/srv/server.py"), ["/usr/bin/python3", "/srv/server.py"]);
        assert_eq!(on("/srv/x.ts"), ["/usr/bin/bun", "/srv/x.ts"]);
    }

    #[test]
    fn typescript_falls_back_to_node_with_types_stripped() {
        let machine = Machine::usual().without("bun").file("/srv/x.ts", "x");
        assert_eq!(check(machine, "/srv/x.ts").unwrap(), ["/usr/bin/node", STRIP_TYPES, "/srv/x.ts"]);
    }

    #[test]
    fn who_has_a_loader_for_typescript_is_not_given_a_flag_that_old_nodes_do_not_know() {
        let check = |change: fn(&mut AppSpec)| {
            let machine = Machine::usual().without("bun").file("/srv/x.ts", "x");
            let mut spec = AppSpec { script: Some("/srv/x.ts".into()), ..AppSpec::default() };
            change(&mut spec);
            settle(&mut spec, "/srv/x.ts", &machine).unwrap();
            spec.interpreter_args
        };
        let by_flag = check(|spec| spec.interpreter_args = vec!["--import".into(), "tsx".into()]);
        assert_eq!(by_flag, ["--import", "tsx"]);
        let by_env = check(|spec| _ = spec.env.insert("NODE_OPTIONS".into(), "-r ts-node/register".into()));
        assert_eq!(by_env, Vec::<String>::new());
        let another = check(|spec| spec.interpreter_args = vec!["--import=./telemetry.mjs".into()]);
        assert_eq!(another, [STRIP_TYPES, "--import=./telemetry.mjs"]);
    }

    #[test]
    fn a_hash_bang_line_knows_better_than_the_extension() {
        let venv = Machine::usual().executable("/srv/venv/bin/python", "\x7fELF\0");
        let machine = venv.file("/srv/a.py", "#!/srv/venv/bin/python -u\nprint()");
        assert_eq!(check(machine, "/srv/a.py").unwrap(), ["/srv/venv/bin/python", "-u", "/srv/a.py"]);
        let machine = Machine::usual().file("/srv/www", "#!/usr/bin/env node\n");
        assert_eq!(check(machine, "/srv/www").unwrap(), ["/usr/bin/node", "/srv/www"]);
        let machine = Machine::usual().file("/srv/w", "#!/usr/bin/env -S node --trace-warnings\n");
        assert_eq!(check(machine, "/srv/w").unwrap(), ["/usr/bin/node", "--trace-warnings", "/srv/w"]);
        let machine = Machine::usual().file("/srv/a.py", "#!/gone/python\n");
        assert_eq!(check(machine, "/srv/a.py").unwrap(), ["/usr/bin/python3", "/srv/a.py"]);
    }

    #[test]
    fn a_program_runs_by_itself_and_a_shell_runs_what_has_no_hash_bang() {
        let machine = Machine::usual().executable("/srv/server", "\x7fELF\0\0");
        assert_eq!(check(machine, "/srv/server").unwrap(), ["/srv/server"]);
        let machine = Machine::usual().executable("/srv/go", "echo hi");
        assert_eq!(check(machine, "/srv/go").unwrap(), ["/usr/bin/sh", "/srv/go"]);
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_a_remedy() {
        let error = check(Machine::usual().file("/srv/data", "x"), "/srv/data").unwrap_err();
        assert!(error.remedy().contains("chmod +x /srv/data"), "{error}");
        let error = check(Machine::usual().without("ruby").file("/a.rb", ""), "/a.rb").unwrap_err();
        assert_eq!(error.to_string(), "/a.rb cannot be run: ruby is not in PATH");
        let error = check(Machine::usual().file("/w", "#!/opt/x\n"), "/w").unwrap_err();
        assert!(error.to_string().contains("asks for /opt/x"), "{error}");
    }
}
