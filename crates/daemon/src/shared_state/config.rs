//! How the store of a home is kept: a small file in the home, written by `skep state config`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use skep_api::{ErrorBody, ErrorCode, StateConfig};
use skep_state::Options;

/// Smallest interval of copies: a copy reads the whole store.
const SAVE_MS_MIN: u64 = 1_000;
/// Smallest maximum that a store can work in.
const MAX_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Shorter ones are guessed; longer ones do not fit what a client may send before it is known.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=512;
/// Of one that is made up.
const PASSWORD_BYTES: usize = 16;

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

/// What is there with what `change` names in place of it; nothing is written yet.
pub(super) fn merged(home: &Path, change: StateConfig) -> Result<StateConfig, ErrorBody> {
    check(&change)?;
    let before = load(home).map_err(|reason| ErrorBody::new(ErrorCode::StorageFailed, reason))?;
    let mut config = StateConfig {
        max_bytes: change.max_bytes.or(before.max_bytes),
        value_bytes_max: change.value_bytes_max.or(before.value_bytes_max),
        save_ms: change.save_ms.or(before.save_ms),
        dir: change.dir.or(before.dir).filter(|dir| !dir.is_empty()),
        redis_port: change.redis_port.or(before.redis_port).filter(|port| *port != 0),
        redis_password: change.redis_password.or(before.redis_password),
    };
    if config.redis_port.is_some() && config.redis_password.is_none() {
        let made = password().map_err(|error| {
            ErrorBody::new(ErrorCode::Internal, format!("redis_password: none can be made up: {error}"))
                .with_hint("give one: redis_password=…")
        })?;
        config.redis_password = Some(made);
    }
    Ok(config)
}

/// Writes it, durably.
pub(super) fn write(home: &Path, config: &StateConfig) -> Result<(), ErrorBody> {
    let text = serde_json::to_vec_pretty(config).expect("numbers and strings");
    skep_sys::durable::replace(&file(home), &text, 0o600).map_err(|error| {
        ErrorBody::new(ErrorCode::StorageFailed, format!("cannot write {}: {error}", file(home).display()))
            .with_hint("nothing was changed; make room on the disk or fix the permissions, then try again")
    })
}

/// A password that nobody guesses.
fn password() -> io::Result<String> {
    let mut bytes = [0; PASSWORD_BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
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
    if let Some(password) = &change.redis_password {
        let length = password.chars().count();
        if !PASSWORD_CHARS.contains(&length) || password.chars().any(char::is_control) {
            // The value is not repeated: it is a secret.
            let message = format!("redis_password: {length} characters, or a control character among them");
            return refuse(message, "8 to 512 printable characters; or leave it out, then one is made up");
        }
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

    fn change(home: &Path, change: StateConfig) -> Result<StateConfig, ErrorBody> {
        let config = merged(home, change)?;
        write(home, &config)?;
        Ok(config)
    }

    #[test]
    fn a_port_has_a_password_and_both_stay() {
        let home = tempfile::tempdir().expect("room for a folder");
        let port = StateConfig { redis_port: Some(6379), ..StateConfig::default() };
        let first = change(home.path(), port.clone()).expect("written");
        let password = first.redis_password.expect("one was made up");
        assert_eq!(password.len(), 32);
        let off = StateConfig { redis_port: Some(0), ..StateConfig::default() };
        assert_eq!(change(home.path(), off).expect("written").redis_port, None);
        assert_eq!(change(home.path(), port).expect("written").redis_password, Some(password));
    }

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
            (
                "redis_password",
                StateConfig { redis_password: Some("short".to_owned()), ..StateConfig::default() },
            ),
        ] {
            let error = change(home.path(), change_to).expect_err(field);
            assert!(error.message.starts_with(field), "{error}");
        }
        assert_eq!(load(home.path()), Ok(StateConfig::default()));
    }
}
