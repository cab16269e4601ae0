//! What PM2's conventions add to the protocol: actions of workers, text for their standard input, their log files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// The action, by the name that the app gave it (`axm:action`).
    pub action: String,
    /// What to hand over to it. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
}

/// One worker's answer to an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerReply {
    /// The app's name.
    pub app: String,
    /// The app's namespace.
    pub namespace: String,
    /// The slot's id (PM2's `pm_id`).
    pub slot: u32,
    /// The action.
    pub action: String,
    /// What it answered.
    #[serde(default)]
    pub result: Value,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The body of stdin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendText {
    /// What is written to standard input, as it stands; a line ends with `\n`.
    pub text: String,
}
