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
            rotation.cron = Some(text.parse().map_err(|_| {
                "write a cron pattern: `0 0 * * *` (at midnight), `*/30 * * * *`, `0 3 * * 1` (Mondays at three)"
            })?);
        }
        "dateFormat" => {
            let asked = Rotation { date_format: Some(text.to_owned()), ..Rotation::default() };
            asked.check().map_err(|_| {
                "write the year, the month and the day in day.js tokens, without / and __: YYYY-MM-DD_HH-mm-ss"
            })?;
            rotation.date_format = asked.date_format;
        }
        "TZ" => {
            rotation.time_zone = Some(text.parse().map_err(
                |_| "write a time zone's name (Europe/Berlin, UTC), or unset it for the machine's own",
            )?);
        }
        "workerInterval" => {
            return Ok(LogrotateSetting::WithoutEffect(
                "sizes are looked at with each line, not now and then; `max_size` says when a file is put aside",
            ));
        }
        "rotateModule" => {
            return Ok(LogrotateSetting::WithoutEffect(
                "there are no modules; what runs as an app has its logs rotated as an app's",
            ));
        }
        _ => {
            return Err(
                "known are max_size, retain, total_size, compress, dateFormat, rotateInterval and TZ",
            );
        }
    }
    Ok(LogrotateSetting::Understood)
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
            "workerInterval": "30", "dateFormat": "YYYY-MM-DD", "TZ": "Europe/Berlin", "rotateModule": "true",
        });
        let expected = Rotation {
            max_size: Bytes(1024),
            retain: 7,
            compress: Compress::Switch(false),
            cron: Some("0 0 * * *".parse().expect("a pattern")),
            date_format: Some("YYYY-MM-DD".to_owned()),
            time_zone: Some("Europe/Berlin".parse().expect("a zone")),
            ..Rotation::default()
        };
        assert_eq!(check(asked), expected);
        assert_eq!(check(json!({ "retain": "all" })).retain, u32::MAX);
        assert_eq!(check(json!({ "compress": "zstd" })).compress, Compress::By(skep_spec::Compressor::Zstd));
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let asked = json!({
            "max_size": "banana", "retain": "-1", "compress": "maybe", "frobs": "1", "dateFormat": "HH-mm",
            "TZ": "Mars/Olympus", "rotateInterval": "often",
        });
        assert_eq!(check(asked), Rotation::default());
        assert_eq!(read(&Map::new()), Rotation::default());
        assert_eq!(logrotate_setting("max_size", "1G"), Ok(LogrotateSetting::Understood));
        assert!(matches!(logrotate_setting("workerInterval", "30"), Ok(LogrotateSetting::WithoutEffect(_))));
        assert!(logrotate_setting("max_size", "banana").is_err_and(|remedy| remedy.contains("10M")));
    }
}
