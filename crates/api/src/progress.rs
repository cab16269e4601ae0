//! What a command tells while it is under way.

use crate::{AppView, ApplyPlan, ErrorBody, Event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line of a command's answer.
///
/// For each app that the command addresses there is one `done` or `failed`; then the body ends. A body that is cut
/// off before its end means that the daemon went away; the command is carried out all the same once it was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Progress {
    /// What is going to be done; the first line of the answer to apply.
    Plan(ApplyPlan),
    /// Something happened on the way.
    Notice(Event),
    /// The goal is reached for one app.
    Done(Done),
    /// The goal cannot be reached for one app.
    Failed(Failed),
}

/// The goal is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// The app's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// In words.
    pub message: String,
    /// How the app is now; only in the answer to a command on one app, which needs not ask again then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<Box<AppView>>,
}

/// The goal cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// What went wrong.
    pub error: ErrorBody,
    /// The app's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The slot's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// The worker at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    /// The end of what the worker wrote to standard error, when it is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_tail: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorCode, EventKind};

    #[test]
    fn a_line_says_what_it_is() {
        let notice = Progress::Notice(Event {
            app: Some("web".into()),
            slot: Some(0),
            ..Event::new(7, 1, EventKind::WorkerReady, "web:0 is ready")
        });
        let json = serde_json::to_string(&notice).unwrap();
        assert_eq!(
            json,
            r#"{"type":"notice","seq":7,"time_unix_ms":1,"kind":"worker_ready","message":"web:0 is ready","app":"web","slot":0}"#
        );
        assert_eq!(serde_json::from_str::<Progress>(&json).unwrap(), notice);
        let failed = Progress::Failed(Failed {
            error: ErrorBody::new(ErrorCode::StartFailed, "web:0 exited with code 1"),
            app: None,
            slot: None,
            worker: Some(3),
            stderr_tail: Some("Error: boom\n".into()),
        });
        let json = serde_json::to_string(&failed).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&json).unwrap(), failed);
    }
}
