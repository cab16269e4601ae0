//! How the store of a home is kept: a small file in the home, written by `skep state config`.

use std::io;
use std::path::{Path, PathBuf};

use skep_api::{ErrorBody, ErrorCode, StateConfig};
use skep_state::Options;

/// Smallest interval of copies: a copy reads the whole store.
const SAVE_MS_MIN: u64 = 1_000;
/// Smallest maximum that a store can work in.
const MAX_BYTES_MIN: u64 = 4 * 1024 * 1024;

fn file(home: &Path) -> PathBuf {
    home.join("shared.json")
}

/// Where copies go that are written every `save_ms`.
pub(super) fn copy(home: &Path) -> PathBuf {
    home.join("shared.backup")
}

/// Reads it; a missing file is all defaults.
pub(super) fn load(home: &Path) -> Result<StateConfig, String> {
    let path = file(home);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| format!("{} cannot be read ({error}): fix or remove it", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(StateConfig::default()),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// Puts what `change` names in place of what was there, durably; the whole is returned.
pub(super) fn change(home: &Path, change: StateConfig) -> Result<StateConfig, ErrorBody> {
    check(&change)?;
    let before = load(home).map_err(|reason| ErrorBody::new(ErrorCode::StorageFailed, reason))?;
    let config = StateConfig {
        max_bytes: change.max_bytes.or(before.max_bytes),
        value_bytes_max: change.value_bytes_max.or(before.value_bytes_max),
        save_ms: change.save_ms.or(before.save_ms),
        dir: change.dir.or(before.dir).filter(|dir| !dir.is_empty()),
    };
    let text = serde_json::to_vec_pretty(&config).expect("numbers and a string");
    skep_sys::durable::replace(&file(home), &text, 0o600).map_err(|error| {
        ErrorBody::new(ErrorCode::StorageFailed, format!("cannot write {}: {error}", file(home).display()))
            .with_hint("nothing was changed; make room on the disk or fix the permissions, then try again")
    })?;
    Ok(config)
}

fn check(change: &StateConfig) -> Result<(), ErrorBody> {
    let refuse = |message: String, hint: &str| {
        Err(ErrorBody::new(ErrorCode::BadRequest, message).with_hint(hint.to_owned()))
    };
    if let Some(max) = change.max_bytes.filter(|max| *max < MAX_BYTES_MIN) {
        return refuse(format!("max_size: {max} bytes are too few"), "the least is 4M");
    }
    if change.value_bytes_max == Some(0) {
        return refuse("max_value: 0 leaves no value".to_owned(), "for example 16M");
    }
    if let Some(save) = change.save_ms.filter(|save| *save > 0 && *save < SAVE_MS_MIN) {
        return refuse(format!("save: {save} ms is too often"), "1s or more, or off");
    }
    if let Some(dir) = change.dir.as_ref().filter(|dir| !dir.is_empty() && !Path::new(dir).is_absolute()) {
        return refuse(format!("dir: {dir:?} is no absolute path"), "for example /var/lib/app-state");
    }
    Ok(())
}

/// The same in the store's words.
pub(super) fn options(config: &StateConfig) -> Options {
    let usual = Options::default();
    Options {
        data_bytes_max: config.max_bytes.unwrap_or(usual.data_bytes_max),
        value_bytes_max: config.value_bytes_max.unwrap_or(usual.value_bytes_max),
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays_as_it_was() {
        let home = tempfile::tempdir().expect("room for a folder");
        let save = StateConfig { save_ms: Some(30_000), ..StateConfig::default() };
        change(home.path(), save).expect("written");
        let both = change(home.path(), StateConfig { max_bytes: Some(1 << 30), ..StateConfig::default() });
        let both = both.expect("written");
        assert_eq!((both.save_ms, both.max_bytes), (Some(30_000), Some(1 << 30)));
        assert_eq!(load(home.path()), Ok(both));
    }

    #[test]
    fn nonsense_is_refused_with_its_field() {
        let home = tempfile::tempdir().expect("room for a folder");
        for (field, change_to) in [
            ("max_size", StateConfig { max_bytes: Some(1), ..StateConfig::default() }),
            ("max_value", StateConfig { value_bytes_max: Some(0), ..StateConfig::default() }),
            ("save", StateConfig { save_ms: Some(10), ..StateConfig::default() }),
            ("dir", StateConfig { dir: Some("here".to_owned()), ..StateConfig::default() }),
        ] {
            let error = change(home.path(), change_to).expect_err(field);
            assert!(error.message.starts_with(field), "{error}");
        }
        assert_eq!(load(home.path()), Ok(StateConfig::default()));
    }
}
