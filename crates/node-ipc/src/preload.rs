//! Getting `npm/skep/preload.cjs` into a worker by `NODE_OPTIONS`.

/// The preload's files, by name; the daemon writes them to a directory that workers can read. The first is the one to
/// require.
pub const PRELOAD_FILES: [(&str, &str); 3] = [
    ("preload.cjs", include_str!("../../../npm/skep/preload.cjs")),
    ("drain.cjs", include_str!("../../../npm/skep/drain.cjs")),
    ("metrics.cjs", include_str!("../../../npm/skep/metrics.cjs")),
];

/// The value of `NODE_OPTIONS` that loads the preload at `path` and then does what the user's own value says.
/// The preload cuts itself out again, so that the app and its children see the user's value byte for byte; therefore an
/// empty value differs from none.
#[must_use]
pub fn inject_preload(path: &str, users_own: Option<&str>) -> String {
    let mut value = String::from("--require=\"");
    for character in path.chars() {
        // Inside quotes Node's parser knows these two escapes (`src/node.cc`, ParseNodeOptionsEnvVar).
        if matches!(character, '"' | '\\') {
            value.push('\\');
        }
        value.push(character);
    }
    value.push('"');
    if let Some(own) = users_own {
        value.push(' ');
        value.push_str(own);
    }
    value
}

/// False when the options forbid a preload: the permission model lets Node read only listed files, so that a
/// `--require` of ours would end the app before it starts.
pub fn preload_allowed<'a>(node_args: impl IntoIterator<Item = &'a str>, users_own: Option<&'a str>) -> bool {
    let own = users_own.unwrap_or_default().split_ascii_whitespace();
    !node_args.into_iter().chain(own).any(|arg| matches!(arg, "--permission" | "--experimental-permission"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_options_follow_ours_byte_for_byte() {
        assert_eq!(inject_preload("/a b/p.cjs", None), r#"--require="/a b/p.cjs""#);
        assert_eq!(inject_preload("/p.cjs", Some("")), r#"--require="/p.cjs" "#);
        let own = "--max-old-space-size=64  --title='x'";
        assert_eq!(inject_preload("/q\"\\.cjs", Some(own)), format!(r#"--require="/q\"\\.cjs" {own}"#));
    }

    #[test]
    fn the_permission_model_excludes_a_preload() {
        assert!(preload_allowed(["--inspect"], Some("--max-old-space-size=64")));
        assert!(!preload_allowed(["--permission"], None));
        assert!(!preload_allowed([], Some("--title=x --experimental-permission")));
    }
}
