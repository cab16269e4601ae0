//! The `data` of a server: the first that any worker sends for a key goes to every worker of the app.
//!
//! For TLS it holds the session ticket keys; sharing them is what makes session resumption work across processes
//! (`cluster/primary.js`: `if (!handle.data) handle.data = message.data`). It must outlive the daemon: a forgotten
//! value would give workers that start later other ticket keys than their siblings have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
/// First-seen `data` by key, of one app.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerData {
    by_key: BTreeMap<String, String>,
}

impl ServerData {
    /// The value (JSON text) to answer with for `key`, keeping `offered` if it is the first. `null` counts as nothing.
    pub fn first_seen(&mut self, key: &str, offered: Option<&str>) -> Option<&str> {
        if !self.by_key.contains_key(key)
            && let Some(value) = offered
            && value != "null"
        {
            self.by_key.insert(key.to_owned(), value.to_owned());
        }
        self.get(key)
    }

    /// What is kept for `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.by_key.get(key).map(String::as_str)
    }

    /// Forgets a key: nobody listens on it any more.
    pub fn forget(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// True when nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_data_of_a_key_goes_to_every_worker_and_survives_a_restart() {
        let mut data = ServerData::default();
        assert!(data.first_seen("k", Some("null")).is_none());
        let first = r#"{"ticketKeys":"aa"}"#;
        assert_eq!(data.first_seen("k", Some(first)), Some(r#"{"ticketKeys":"aa"}"#));
        let later = r#"{"ticketKeys":"bb"}"#;
        assert_eq!(data.first_seen("k", Some(later)), Some(r#"{"ticketKeys":"aa"}"#));
        let stored = serde_json::to_string(&data).expect("plain data");
        let restored: ServerData = serde_json::from_str(&stored).expect("written by us");
        assert_eq!(restored.get("k"), Some(r#"{"ticketKeys":"aa"}"#));
    }
}
