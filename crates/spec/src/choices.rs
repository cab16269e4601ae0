//! The fields that are a choice among names.

use crate::SpecError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Gives an enum of plain names its `as_str`, `ALL`, `Display` and `FromStr`, so that flags, files and tables spell
/// it in the same way.
macro_rules! names {
    ($type:ident, $field:literal, { $($variant:ident => $name:literal $(| $alias:literal)*),+ $(,)? }) => {
        impl $type {
            /// Every value, in the order of the manual.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it is written in flags and files.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = SpecError;

            fn from_str(text: &str) -> Result<Self, SpecError> {
                match text {
                    $($name $(| $alias)* => Ok(Self::$variant),)+
                    other => {
                        let names: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                        Err(SpecError::field($field, other, "is not known", format!("use one of {}", names.join(", "))))
                    }
                }
            }
        }
    };
}

/// How PM2 would call the way in which workers are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecMode {
    /// Each worker is an ordinary process that believes it is alone (`cluster.isPrimary` is true in Node.js).
    #[serde(alias = "fork_mode")]
    Fork,
    /// Each worker is a Node.js cluster worker (`cluster.isWorker` is true).
    #[serde(alias = "cluster_mode")]
    Cluster,
}

names!(ExecMode, "exec_mode", { Fork => "fork" | "fork_mode", Cluster => "cluster" | "cluster_mode" });

/// How workers come to share one listening address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// skep decides by looking at the program: `node` for a Node.js script, otherwise `bindshare`.
    #[default]
    Auto,
    /// Node.js cluster protocol: `server.listen` asks skep for the socket.
    Node,
    /// The sockets of `listen` are opened by skep and handed over as systemd does (`LISTEN_FDS`).
    Fd,
    /// The program binds as it always did; skep answers its `bind` with the worker's share of the address.
    Bindshare,
    /// The program binds by itself and skep does not interfere; a second instance must be able to bind too.
    #[serde(rename = "self")]
    SelfBind,
}

names!(Runtime, "runtime", {
    Auto => "auto", Node => "node", Fd => "fd", Bindshare => "bindshare", SelfBind => "self",
});

/// Which worker gets a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The best that this kernel and these privileges allow.
    #[default]
    Auto,
    /// One after the other.
    Rr,
    /// The worker with the fewest open connections.
    Least,
    /// One after the other, in proportion to `weights`.
    Weighted,
    /// Any.
    Random,
    /// By the connection's addresses and ports, as the kernel hashes them.
    Hash,
    /// By the client's address: the same client gets the same worker.
    Ip,
    /// All workers wait on one queue and the first that is free takes the connection.
    Shared,
    /// skep accepts and passes each connection to a worker, as Node.js's own round robin does.
    Ipc,
}

names!(Balance, "balance", {
    Auto => "auto", Rr => "rr", Least => "least", Weighted => "weighted", Random => "random", Hash => "hash",
    Ip => "ip", Shared => "shared", Ipc => "ipc",
});

/// How an old worker gives up its connections when a new one has taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Drain {
    /// Open idle connections move to the new worker; clients notice nothing (Node.js; others fall back to `signal`).
    #[default]
    Migrate,
    /// Responses say `Connection: close` and clients reconnect (for apps that keep state in the connection).
    Close,
    /// The worker is sent `kill_signal` and closes by itself.
    Signal,
}

names!(Drain, "drain", { Migrate => "migrate", Close => "close", Signal => "signal" });

/// What becomes of the WebSockets of an old worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainWebSockets {
    /// They stay until they end by themselves, or until `kill_timeout`.
    #[default]
    Keep,
    /// Those of the package `ws` (and what is built on it) get a close frame at once: 1012 (service restart) when others of the
    /// app serve on, 1001 (going away) when nobody does. Clients come back to a new worker.
    Close,
}

names!(DrainWebSockets, "drain_websockets", { Keep => "keep", Close => "close" });

/// How log lines are written to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogType {
    /// The bytes that the app wrote.
    #[default]
    Raw,
    /// One JSON object a line: `{"message","timestamp","type","process_id","app_name"}`.
    Json,
    /// `timestamp=… app=… id=… type=out message=…`.
    Pairs,
    /// The instance's id and the app's name in front: `0|web      | …`.
    Named,
}

names!(LogType, "log_type", { Raw => "raw", Json => "json", Pairs => "pairs", Named => "named" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_itself_in_flags_and_in_json() {
        for balance in Balance::ALL {
            assert_eq!(balance.as_str().parse::<Balance>().as_ref(), Ok(balance));
            assert_eq!(serde_json::to_value(balance).unwrap(), balance.as_str());
        }
        for runtime in Runtime::ALL {
            assert_eq!(runtime.as_str().parse::<Runtime>().as_ref(), Ok(runtime));
            assert_eq!(serde_json::to_value(runtime).unwrap(), runtime.as_str());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "round-robin".parse::<Balance>().unwrap_err();
        assert_eq!(error.to_string(), r#"balance: "round-robin" is not known"#);
        assert!(error.remedy().contains("auto, rr, least"));
    }

    #[test]
    fn pm2_spells_its_modes_with_a_suffix() {
        assert_eq!("cluster_mode".parse(), Ok(ExecMode::Cluster));
        assert_eq!(serde_json::from_str::<ExecMode>(r#""fork_mode""#).unwrap(), ExecMode::Fork);
    }
}
