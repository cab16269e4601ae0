//! The lines that hosts are given. They are read by the account's own shell, so they keep to what every descendant of
//! the Bourne shell understands, and each value in them is quoted.

use super::target::Target;
use std::path::Path;

fn quote(text: &str) -> String {
    shell_words::quote(text).into_owned()
}

/// A place below the target's folder; `~/` is the host's.
fn place(target: &Target, below: &str) -> String {
    match target.path.strip_prefix("~/") {
        Some(rest) => format!("\"$HOME\"/{}", quote(&format!("{rest}{below}"))),
        None => quote(&format!("{}{below}", target.path)),
    }
}

pub(super) fn folders(target: &Target) -> String {
    let at = |below| place(target, below);
    format!("mkdir -p {} {} {}", at("/shared/logs"), at("/shared/pids"), at("/source"))
}

/// What `git clone --branch` takes: the name without the remote's.
fn branch(reference: &str) -> &str {
    ["refs/remotes/origin/", "origin/", "refs/heads/", "refs/tags/", "tags/"]
        .iter()
        .find_map(|prefix| reference.strip_prefix(prefix))
        .unwrap_or(reference)
}

pub(super) fn clone(target: &Target) -> String {
    let depth = if target.is_shallow { "--depth=5 " } else { "" };
    let (branch, repo) = (quote(branch(&target.reference)), quote(&target.repo));
    format!("git clone {depth}--branch {branch} -- {repo} {}", place(target, "/source"))
}

pub(super) fn link(target: &Target) -> String {
    format!("ln -sfn {} {}", place(target, "/source"), place(target, "/current"))
}

pub(super) fn is_set_up(target: &Target) -> String {
    format!("test -d {}", place(target, "/source/.git"))
}

pub(super) fn fetch(target: &Target) -> String {
    let depth = if target.is_shallow { "--depth=5 " } else { "" };
    format!("cd {} && git fetch {depth}--all --tags", place(target, "/source"))
}

/// A branch is meant as the remote has it now, not as it was when it was cloned.
pub(super) fn reset(target: &Target, reference: &str) -> String {
    let remote = quote(&format!("refs/remotes/origin/{reference}"));
    let commit = quote(&format!("{reference}^{{commit}}"));
    format!(
        "cd {} && {{ git rev-parse --verify --quiet {remote} || git rev-parse --verify --quiet {commit}; }} > /dev/null \
         || {{ echo {unknown} >&2; exit 1; }}\n\
         if git rev-parse --verify --quiet {remote} > /dev/null; then git reset --hard {remote}; \
         else git reset --hard {commit}; fi",
        place(target, "/source"),
        unknown = quote(&format!("{reference} is neither a branch, nor a tag, nor a commit of it")),
    )
}

/// The commit goes to the list of deployments.
pub(super) fn note(target: &Target) -> String {
    format!("cd {} && git rev-parse HEAD >> {}", place(target, "/source"), place(target, "/.deploys"))
}

pub(super) fn current(target: &Target) -> String {
    format!("cd {} && git rev-parse --short HEAD", place(target, "/source"))
}

/// The commit of so many deployments ago.
pub(super) fn nth(target: &Target, ago: u32) -> String {
    let list = place(target, "/.deploys");
    let line = ago.saturating_add(1);
    format!(
        "test \"$(wc -l < {list})\" -ge {line} || {{ echo 'there were not so many deployments' >&2; exit 1; }}\n\
         tail -n {line} {list} | head -n 1 | cut -d ' ' -f 1"
    )
}

pub(super) fn list(target: &Target) -> String {
    format!("tac {} | awk '{{printf \"%d\\t%s\\n\", NR-1, $0}}'", place(target, "/.deploys"))
}

/// A hook, in the folder of the release, with what it may want to know.
pub(super) fn hook(target: &Target, line: &str) -> String {
    let variables: String =
        target.env.iter().map(|(name, value)| format!("export {name}={}\n", quote(value))).collect();
    format!(
        "cd {} || exit 1\nexport SHARED={}\n{variables}{line}",
        place(target, "/current"),
        place(target, "/shared")
    )
}

pub(super) fn exec(target: &Target, line: &str) -> String {
    format!("cd {} || exit 1\n{line}", place(target, "/current"))
}

/// Whether a hook's first word is a script that lies here.
pub(super) fn is_file(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| Path::new(word).is_file())
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target;
    use super::*;
    use serde_json::json;
    use std::process::Command;

    #[test]
    fn whatever_signs_a_value_has_it_is_one_word_and_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let trap = folder.path().join("trapped");
        let evil = format!("$(touch {0});`touch {0}`'\"&&touch {0} #", trap.display());
        let path = format!("{}/{evil}", folder.path().display());
        let target = target(
            json!({ "path": path, "repo": evil, "env": { "A": evil }, "ref": "origin/$(touch${IFS}x)" }),
        )
        .unwrap();
        for line in [
            folders(&target),
            clone(&target),
            link(&target),
            fetch(&target),
            reset(&target, &target.reference),
            note(&target),
            nth(&target, 1),
            list(&target),
            hook(&target, "test \"$A\" = \"$SHARED\""),
        ] {
            let output = Command::new("sh").arg("-c").arg(&line).current_dir(folder.path()).output().unwrap();
            assert!(!trap.exists() && !folder.path().join("x").exists(), "{line}\n{output:?}");
        }
        assert!(Path::new(&format!("{}/shared/logs", target.path)).is_dir(), "and yet it is a folder's name");
    }

    #[test]
    fn the_home_of_the_host_is_meant_by_a_tilde() {
        let target = target(json!({ "path": "~/my app" })).unwrap();
        assert_eq!(is_set_up(&target), "test -d \"$HOME\"/'my app/source/.git'");
    }

    #[test]
    fn branches_are_cloned_by_their_own_names() {
        for (reference, name) in [
            ("origin/main", "main"),
            ("origin/feature/x", "feature/x"),
            ("v1", "v1"),
            ("tags/v1", "v1"),
            ("feature/x", "feature/x"),
        ] {
            assert_eq!(branch(reference), name);
        }
    }
}
