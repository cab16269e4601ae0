//! Several hosts that share jobs and singletons through a store: how this one takes part.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A change of how this host takes part; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HostsChange {
    /// Where the store is that hosts share: `redis://[user:password@]host[:6379][/0]`, `redis+unix:///path`, or
    /// `postgres://user:password@host/database`. Empty: this host is on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// What names in the store begin with: hosts of one cluster have the same. Default: `skep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What this host is called. Empty: the machine's name, the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A singleton whose lease cannot be renewed is stopped after so long, in milliseconds. Default (0): 15000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

/// How this host takes part in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostsView {
    /// The store, without its password; absent: this host is on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// What names in the store begin with.
    pub prefix: String,
    /// What this host is called in the store: its name and a number that no other home has.
    pub host: String,
    /// Whether the store answered when it was asked for this view; absent without a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// A singleton whose lease cannot be renewed is stopped after so long, in milliseconds.
    pub lease_ms: u64,
    /// Apps that run on one host only.
    pub singletons: Vec<SingletonView>,
}

/// An app that runs on one host only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SingletonView {
    /// The app.
    pub app: String,
    /// It is wanted to run, or something of it still does.
    pub needed: bool,
    /// It is this host's.
    pub ours: bool,
    /// Whose it is, as far as this host knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The fencing token that its worker has, if it is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}

impl std::fmt::Display for SingletonView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.ours, &self.holder, self.token) {
            (true, _, Some(token)) => write!(f, "runs here, token {token}"),
            (true, _, None) => f.write_str("runs here"),
            (false, _, _) if !self.needed => f.write_str("is not wanted here"),
            (false, Some(holder), _) => write!(f, "runs on {holder}"),
            (false, None, _) => f.write_str("waits: it is not known who has it"),
        }
    }
}
