//! Metrics over TCP, as the API shows and changes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where metrics are served when nobody says.
pub const METRICS_LISTEN_DEFAULT: &str = "127.0.0.1:9209";

/// How metrics are served over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsServer {
    /// Whether they shall be served.
    pub serve: bool,
    /// The address, of this machine only.
    pub listen: String,
    /// The file (mode 0600) that holds the token which a client must show: `Authorization: Bearer …`.
    pub token_file: String,
    /// Why nobody listens although somebody should; it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Changes how metrics are served over TCP. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigureMetrics {
    /// Serve them, or stop it. Default: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serve: Option<bool>,
    /// The address, of this machine only: `127.0.0.1:9209`. Default: as it is, 127.0.0.1:9209 at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Put a new token in place of the old one, which is refused from then on. Default: false.
    pub new_token: bool,
}
