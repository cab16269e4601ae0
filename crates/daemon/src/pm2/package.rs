//! The version of an app, from the `package.json` that lies nearest to its script.

use std::path::Path;

/// More than any hand-written `package.json` has.
const PACKAGE_BYTES_MAX: u64 = 1 << 20;

/// The `version` of the first `package.json` from the script's directory upwards that has one.
pub(crate) fn version_near(script: &Path) -> Option<String> {
    script.ancestors().skip(1).find_map(|directory| {
        let path = directory.join("package.json");
        if std::fs::metadata(&path).ok()?.len() > PACKAGE_BYTES_MAX {
            return None;
        }
        let package: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        Some(package.get("version")?.as_str()?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_package_with_a_version_counts() {
        let root = tempfile::tempdir().expect("dir");
        let deep = root.path().join("dist/server");
        std::fs::create_dir_all(&deep).expect("made");
        std::fs::write(root.path().join("package.json"), r#"{"version":"3.2.1"}"#).expect("written");
        std::fs::write(root.path().join("dist/package.json"), r#"{"type":"module"}"#).expect("written");
        assert_eq!(version_near(&deep.join("app.js")).as_deref(), Some("3.2.1"));
        std::fs::write(root.path().join("package.json"), "{").expect("written");
        assert_eq!(version_near(&deep.join("app.js")), None);
    }
}
