//! Basic authentication (RFC 7617), by a name and by what is left of a password.
//!
//! The password itself is in no process's environment, no file and no listing: only its PBKDF2 hash is, in a text
//! `pbkdf2-sha256$ROUNDS$SALT$HASH`. A header that was found right once is known again by its digest, so that the price
//! of hashing is paid once a worker.

use std::cell::Cell;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// How often the hash is applied: some milliseconds. More would let wrong guesses keep a worker busy; the text that it
/// protects is readable by the apps' own user alone.
const ROUNDS: u32 = 10_000;
/// More than this is a mistake or an attack.
const ROUNDS_MAX: u32 = 1_000_000;
const SCHEME: &str = "pbkdf2-sha256";
const SALT_BYTES: usize = 16;
/// The longest header that is looked at, in bytes.
const HEADER_BYTES_MAX: usize = 1024;

/// Who may come in.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    rounds: u32,
    salt: Vec<u8>,
    hash: [u8; 32],
    /// The digest of the last header that was right.
    known: Cell<Option<[u8; 32]>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a text is no hash of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsError;

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is no text of the form {SCHEME}$ROUNDS$SALT$HASH; `skep serve` makes it from a password")
    }
}

impl std::error::Error for CredentialsError {}

impl Credentials {
    /// What is kept of a password. `place` is what makes it differ from the same password elsewhere; the same password at
    /// the same place always gives the same text, so that an unchanged file of apps is seen to be unchanged.
    #[must_use]
    pub fn hash(password: &str, place: &str) -> String {
        let digest = Sha256::digest(place);
        let salt = &digest[..SALT_BYTES];
        let hash = derive(password.as_bytes(), salt, ROUNDS);
        format!("{SCHEME}${ROUNDS}${}${}", STANDARD.encode(salt), STANDARD.encode(hash))
    }

    /// A name and the text that [`Credentials::hash`] gave.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn new(user: &str, text: &str) -> Result<Self, CredentialsError> {
        let mut parts = text.split('$');
        let (scheme, rounds, salt, hash) = (parts.next(), parts.next(), parts.next(), parts.next());
        let rounds = rounds.and_then(|text| text.parse().ok());
        let decode = |text: Option<&str>| text.and_then(|text| STANDARD.decode(text).ok());
        let hash = decode(hash).and_then(|bytes| bytes.try_into().ok());
        match (scheme, rounds, decode(salt), hash, parts.next()) {
            (Some(SCHEME), Some(rounds @ 1..=ROUNDS_MAX), Some(salt), Some(hash), None) => {
                Ok(Self { user: user.to_owned(), rounds, salt, hash, known: Cell::new(None) })
            }
            _ => Err(CredentialsError),
        }
    }

    /// Whether the value of a header `Authorization` is right.
    pub(crate) fn admits(&self, header: Option<&[u8]>) -> bool {
        let Some(header) = header.filter(|header| header.len() <= HEADER_BYTES_MAX) else { return false };
        let digest: [u8; 32] = Sha256::digest(header).into();
        if self.known.get().is_some_and(|known| same(&known, &digest)) {
            return true;
        }
        let Some((user, password)) = read(header) else { return false };
        let hash = derive(&password, &self.salt, self.rounds);
        // Both are looked at, so that the time tells nothing of the name.
        let right = same(&Sha256::digest(user).into(), &Sha256::digest(self.user.as_bytes()).into())
            & same(&hash, &self.hash);
        if right {
            self.known.set(Some(digest));
        }
        right
    }
}

/// Name and password of `Basic …`.
fn read(header: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let plain = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = plain.iter().position(|byte| *byte == b':')?;
    Some((plain[..colon].to_vec(), plain[colon + 1..].to_vec()))
}

fn derive(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, rounds)
}

/// Compares in a time that does not depend on where they differ.
fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.iter().zip(right).fold(0, |differences, (left, right)| differences | (left ^ right)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(plain: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(plain)).into_bytes()
    }

    #[test]
    fn only_the_right_name_with_the_right_password_comes_in_again_and_again() {
        let text = Credentials::hash("p:ss", "here");
        assert!(!text.contains("p:ss"));
        let credentials = Credentials::new("anna", &text).unwrap();
        for _ in 0..2 {
            assert!(credentials.admits(Some(&header("anna:p:ss"))), "a password may have colons");
            for wrong in ["anna:p", "bert:p:ss", "anna", "", ":", "anna:p:ss "] {
                assert!(!credentials.admits(Some(&header(wrong))), "{wrong}");
            }
        }
        assert!(!credentials.admits(None));
        assert!(!credentials.admits(Some(b"Bearer abc")) && !credentials.admits(Some(b"Basic ***")));
        assert!(!credentials.admits(Some(&header(&"x".repeat(5_000)))));
        assert!(!format!("{credentials:?}").contains("hash"));
    }

    #[test]
    fn a_text_that_is_no_hash_is_refused() {
        for text in ["", "secret", "pbkdf2-sha256$0$AA==$AA==", "pbkdf2-sha256$1$AA==$AA==", "a$b$c$d"] {
            assert_eq!(Credentials::new("anna", text).unwrap_err(), CredentialsError, "{text}");
        }
    }
}
