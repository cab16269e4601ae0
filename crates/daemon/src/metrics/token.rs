//! The token that a client of metrics over TCP must show. It lies in the home in a file that only its owner can read.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use skep_api::{ErrorBody, ErrorCode};
use subtle::ConstantTimeEq;

/// Random bytes of a token: as many as nobody can guess.
const RANDOM_BYTES: usize = 32;
/// A shorter text in the file is no secret; half of the random bytes, as base64.
const CHARS_MIN: usize = 22;
/// A larger file is no token.
const FILE_BYTES_MAX: u64 = 4096;

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The file of the token.
pub(crate) fn file(home: &Path) -> PathBuf {
    home.join("metrics.token")
}

impl Token {
    /// The token of this home; a new one when there is none yet.
    pub(crate) fn of(home: &Path) -> Result<Self, ErrorBody> {
        let path = file(home);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::renew(home),
            Ok(seen) if seen.len() > FILE_BYTES_MAX => {
                return Err(unusable(&path, "it is too large for a token"));
            }
            _ => {}
        }
        let text = std::fs::read_to_string(&path).map_err(|error| unusable(&path, &error.to_string()))?;
        let text = text.trim();
        if text.len() < CHARS_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unusable(&path, "its text is no token"));
        }
        Ok(Self(text.to_owned()))
    }

    /// A new one in place of whatever there was, durably.
    pub(crate) fn renew(home: &Path) -> Result<Self, ErrorBody> {
        let path = file(home);
        let mut random = [0_u8; RANDOM_BYTES];
        let mut got = 0;
        while got < random.len() {
            got += rustix::rand::getrandom(&mut random[got..], rustix::rand::GetRandomFlags::empty())
                .map_err(|errno| unusable(&path, &format!("the kernel gives no random bytes: {errno}")))?;
        }
        let token = URL_SAFE_NO_PAD.encode(random);
        skep_sys::durable::replace(&path, format!("{token}\n").as_bytes(), 0o600)
            .map_err(|error| unusable(&path, &error.to_string()))?;
        Ok(Self(token))
    }

    /// Whether this is what `Authorization` must say. How long it takes tells nothing of where they differ.
    pub(crate) fn is_shown_by(&self, authorization: &[u8]) -> bool {
        let Some((scheme, shown)) = authorization.split_at_checked(b"Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(shown.trim_ascii().ct_eq(self.0.as_bytes()))
    }
}

fn unusable(path: &Path, why: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::StorageFailed, format!("the token in {} cannot be used: {why}", path.display()))
        .with_hint("`skep metrics token --new` puts a new one in its place")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_can_read_it() {
        let home = tempfile::tempdir().expect("room for a folder");
        let token = Token::of(home.path()).expect("made");
        assert_eq!(Token::of(home.path()), Ok(token.clone()));
        let mode = std::fs::metadata(file(home.path())).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(Token::renew(home.path()).expect("made"), token);
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let home = tempfile::tempdir().expect("room for a folder");
        let token = Token::of(home.path()).expect("made");
        let shown = |text: &str| token.is_shown_by(text.as_bytes());
        assert!(shown(&format!("Bearer {}", token.0)) && shown(&format!("bearer  {} ", token.0)));
        for wrong in ["", "Bearer", "Bearer ", "Bearer x", &token.0, &format!("Basic {}", token.0)] {
            assert!(!shown(wrong), "{wrong}");
        }
        assert!(!shown(&format!("Bearer {}x", token.0)));
        assert!(!shown(&format!("Bearer {}", &token.0[1..])));
    }

    #[test]
    fn a_file_that_holds_no_secret_is_refused_with_a_remedy() {
        let home = tempfile::tempdir().expect("room for a folder");
        for nonsense in ["", "short", "two words that are long enough for it"] {
            std::fs::write(file(home.path()), nonsense).expect("written");
            let error = Token::of(home.path()).expect_err(nonsense);
            assert!(error.hint.is_some_and(|hint| hint.contains("--new")), "{nonsense}");
        }
    }
}
