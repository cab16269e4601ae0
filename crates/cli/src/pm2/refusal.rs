//! What is refused, in the words that scripts know from PM2, and skep's own reason below.

use super::say::Trouble;
use skep_spec::SpecError;

/// A value of an option that `skep start` does not take, by what clap says of it.
pub(super) fn of_option(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("invalid value '")?;
    let (value, rest) = rest.split_once("' for '--")?;
    let option = rest.split([' ', '\'']).next()?;
    let words = match option {
        "cron-restart" => format!("Cron pattern error: CronPattern: {value:?} is no pattern"),
        "max-memory-restart" => {
            "Verify \"max_memory_restart\" with regex failed, it should be a NUMBER - byte, \
             \"[NUMBER]G\"(Gigabyte), \"[NUMBER]M\"(Megabyte) or \"[NUMBER]K\"(Kilobyte)"
                .to_owned()
        }
        "kill-timeout"
        | "listen-timeout"
        | "restart-delay"
        | "exp-backoff-restart-delay"
        | "max-restarts" => {
            let name = option.replace('-', "_");
            format!("Expect \"{name}\" to be a typeof [object Number], but now is [object String]")
        }
        _ => return None,
    };
    Some(format!("{words}\n  {text}"))
}

/// An app that could not work.
pub(super) fn of_spec(error: &SpecError) -> Trouble {
    let words = match error {
        SpecError::ScriptNotFound { path, .. } => return Trouble::Error(format!("Script not found: {path}")),
        SpecError::Field { field, value, .. } => match field.as_str() {
            "uid" => Some(format!(" User {value} cannot be found")),
            "gid" => Some(format!(" Group {value} cannot be found")),
            "interpreter" => Some(format!(
                "Interpreter {value} is NOT AVAILABLE in PATH. (type 'which {value}' to double check.)"
            )),
            _ => None,
        },
        SpecError::NotRunnable { .. } | SpecError::NameTaken { .. } => None,
    };
    Trouble::Error(match words {
        Some(words) => format!("{words}\n  {error}; {}", error.remedy()),
        None => format!("{error}; {}", error.remedy()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scripts_look_for_comes_first_and_the_reason_below() {
        let text = "invalid value '10X' for '--max-memory-restart <SIZE>': size: \"10X\" is not a size";
        let said = of_option(text).unwrap();
        assert!(said.starts_with("Verify \"max_memory_restart\" with regex failed, it should be"), "{said}");
        assert!(said.ends_with(&format!("\n  {text}")), "{said}");
        let said = of_option("invalid value 'abc' for '--kill-timeout <TIME>': no duration").unwrap();
        assert!(said.starts_with("Expect \"kill_timeout\" to be a typeof [object Number]"), "{said}");
        assert_eq!(of_option("invalid value 'x' for '--log-type <TYPE>': not known"), None);
        assert_eq!(of_option("something else"), None);
    }
}
