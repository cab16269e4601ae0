//! Settings of the home (`skep set`): `module_conf.json`, as PM2 keeps it. Those of pm2-logrotate are the defaults for
//! apps that say nothing of rotation themselves.

use std::path::Path;

use serde_json::{Map, Value};
use skep_spec::{Bytes, Compress, Rotation};

/// The file in the home.
const FILE: &str = "module_conf.json";
/// A file larger than this is no settings.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What pm2-logrotate's users write for "keep everything".
const RETAIN_ALL: &str = "all";

/// The defaults for rotation that the home's settings say; the usual ones where there is no file, or none that can be
/// read: a broken setting is no reason not to log.
pub(crate) fn rotation(home: &Path) -> Rotation {
    let path = home.join(FILE);
    let small = std::fs::metadata(&path).is_ok_and(|seen| seen.len() <= FILE_BYTES_MAX);
    let text = if small { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
    match serde_json::from_slice::<Map<String, Value>>(&text) {
        Ok(all) => read(&all),
        Err(error) => {
            if !text.is_empty() {
                crate::diary::note(format_args!("{} cannot be read: {error}", path.display()));
            }
            Rotation::default()
        }
    }
}

fn read(all: &Map<String, Value>) -> Rotation {
    let mut rotation = Rotation::default();
    let Some(Value::Object(asked)) = all.get("pm2-logrotate") else { return rotation };
    for (name, value) in asked {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let Err(remedy) = set(&mut rotation, name, text.trim()) {
            crate::diary::note(format_args!("pm2-logrotate:{name} {text:?} is passed over: {remedy}"));
        }
    }
    rotation
}

/// What a setting of pm2-logrotate does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogrotateSetting {
    /// What it says.
    Understood,
    /// Nothing, for this reason.
    WithoutEffect(&'static str),
}

/// What `pm2-logrotate:<name>` with this value does here.
///
/// # Errors
/// What to write instead, when the name or the value makes no sense.
pub fn logrotate_setting(name: &str, text: &str) -> Result<LogrotateSetting, &'static str> {
    set(&mut Rotation::default(), name, text.trim())
}

/// One of pm2-logrotate's settings.
fn set(rotation: &mut Rotation, name: &str, text: &str) -> Result<LogrotateSetting, &'static str> {
    match name {
        "max_size" => rotation.max_size = text.parse().map_err(|_| "write a size: 10M, 1G, 500K")?,
        "total_size" => rotation.total_size = text.parse().map_err(|_| "write a size: 100M, 1G")?,
        "retain" if text == RETAIN_ALL => {
            rotation.retain = u32::MAX;
            rotation.total_size = Bytes(u64::MAX);
        }
        "retain" => rotation.retain = text.parse().map_err(|_| "write a number of files, or all")?,
        "compress" => {
            rotation.compress = text.parse::<Compress>().map_err(|_| "write true, false, gzip or zstd")?;
        }
        "rotateInterval" => {
            let seconds = interval_seconds(text);
            rotation.every_seconds = Some(seconds.ok_or(
                "write a cron pattern that fires evenly through the day: `0 0 * * *` (at midnight), `0 * * * *` (each \
                 hour), `*/30 * * * *`",
            )?);
        }
        "workerInterval" => {
            return Ok(LogrotateSetting::WithoutEffect(
                "sizes are looked at with each line, not now and then",
            ));
        }
        "rotateModule" => {
            return Ok(LogrotateSetting::WithoutEffect("there are no modules whose logs could be rotated"));
        }
        "dateFormat" => {
            return Ok(LogrotateSetting::WithoutEffect(
                "old files are named by pm2-logrotate's usual YYYY-MM-DD_HH-mm-ss",
            ));
        }
        "TZ" => return Ok(LogrotateSetting::WithoutEffect("the machine's time zone counts")),
        _ => {
            return Err("known are max_size, retain, total_size, compress and rotateInterval");
        }
    }
    Ok(LogrotateSetting::Understood)
}

/// The interval of a cron pattern that fires evenly through the day: each minute, every so many minutes, each hour,
/// every so many hours, each day at midnight.
fn interval_seconds(pattern: &str) -> Option<u32> {
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    // pm2-logrotate takes patterns with seconds too.
    let [minute, hour, "*", "*", "*"] = fields[fields.len().checked_sub(5)?..] else { return None };
    if fields.len() == 6 && fields[0] != "0" {
        return None;
    }
    let step = |field: &str, of: u32| -> Option<u32> {
        let step: u32 = field.strip_prefix("*/")?.parse().ok()?;
        (step > 0 && of.is_multiple_of(step)).then_some(step)
    };
    match (minute, hour) {
        ("*", "*") => Some(60),
        ("0", "*") => Some(3_600),
        ("0", "0") => Some(86_400),
        (minute, "*") => step(minute, 60).map(|step| step * 60),
        ("0", hour) => step(hour, 24).map(|step| step * 3_600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(settings: Value) -> Rotation {
        read(json!({ "pm2-logrotate": settings }).as_object().expect("an object"))
    }

    #[test]
    fn pm2_logrotates_settings_are_the_defaults() {
        let asked = json!({
            "max_size": "1K", "retain": "7", "compress": "false", "rotateInterval": "0 0 * * *",
            "workerInterval": "30", "dateFormat": "YYYY",
        });
        let expected = Rotation {
            max_size: Bytes(1024),
            retain: 7,
            compress: Compress::Switch(false),
            every_seconds: Some(86_400),
            ..Rotation::default()
        };
        assert_eq!(check(asked), expected);
        assert_eq!(check(json!({ "retain": "all" })).retain, u32::MAX);
        assert_eq!(check(json!({ "compress": "zstd" })).compress, Compress::By(skep_spec::Compressor::Zstd));
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let asked = json!({ "max_size": "banana", "retain": "-1", "compress": "maybe", "frobs": "1" });
        assert_eq!(check(asked), Rotation::default());
        assert_eq!(read(&Map::new()), Rotation::default());
        assert_eq!(logrotate_setting("max_size", "1G"), Ok(LogrotateSetting::Understood));
        assert!(matches!(logrotate_setting("workerInterval", "30"), Ok(LogrotateSetting::WithoutEffect(_))));
        assert!(logrotate_setting("max_size", "banana").is_err_and(|remedy| remedy.contains("10M")));
    }

    #[test]
    fn even_cron_patterns_are_intervals() {
        for (pattern, seconds) in [
            ("0 0 * * *", Some(86_400)),
            ("0 0 0 * * *", Some(86_400)),
            ("0 * * * *", Some(3_600)),
            ("*/15 * * * *", Some(900)),
            ("0 */6 * * *", Some(21_600)),
            ("* * * * *", Some(60)),
            ("*/7 * * * *", None),
            ("0 3 * * 1", None),
            ("banana", None),
        ] {
            assert_eq!(interval_seconds(pattern), seconds, "{pattern}");
        }
    }
}
