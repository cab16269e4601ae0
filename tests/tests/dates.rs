//! `log_date_format` against day.js itself, which is what PM2 prints dates with: its tokens and those of its AdvancedFormat
//! plugin that skep knows.

use std::process::Command;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use skep_logs::DateFormat;
use skep_tests::{node, tool};

/// Every token of the manual alone, tokens side by side, and what is no token.
const FORMATS: &[&str] = &[
    "YY",
    "YYYY",
    "M",
    "MM",
    "MMM",
    "MMMM",
    "D",
    "DD",
    "d",
    "dd",
    "ddd",
    "dddd",
    "H",
    "HH",
    "h",
    "hh",
    "m",
    "mm",
    "s",
    "ss",
    "SSS",
    "Z",
    "ZZ",
    "A",
    "a",
    "Q",
    "Do",
    "X",
    "x",
    "YYYY-MM-DDTHH:mm:ss",
    "YYYY-MM-DD HH:mm:ss.SSS Z",
    "DD/MM/YYYY hh:mm:ss A",
    "dddd, MMMM Do YYYY, h:mm:ss a",
    "YYYYMMDDHHmmssSSS",
    "YYYY-MM-DD_HH-mm-ss",
    "[at] HH[h]mm",
    "[YYYY] YYYY [a[b]",
    "[]",
    "[",
    "]",
    "[YYYY",
    "été YYYY",
    "S",
    "SS",
    "SSSS",
    "ZZZ",
    "MMMMM",
    "DDD",
    "ddddd",
    "HHH",
    "hhh",
    "mmm",
    "sss",
    "aA",
    "T",
    "e E",
    "",
];

/// Midnight, noon, the first and the last of months, a year's end, a leap day, another century.
const INSTANTS_MS: &[i64] = &[
    0,
    951_782_399_999,
    1_709_164_800_000,
    1_767_225_599_999,
    1_767_225_600_000,
    1_767_268_800_006,
    1_769_861_523_045,
    1_772_323_200_000,
    1_774_746_000_000,
    1_792_889_999_001,
    4_102_444_800_000,
];

const ZONES: &[&str] = &["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Auckland"];

/// What day.js makes of every format at every instant.
fn dayjs(zone: &str) -> Vec<Vec<String>> {
    let script = "const dayjs = require(process.argv[1]), [formats, instants] = JSON.parse(process.argv[2]);\
        dayjs.extend(require(process.argv[1] + '/plugin/advancedFormat'));\
        console.log(JSON.stringify(instants.map(at => formats.map(format => format && dayjs(at).format(format)))))";
    let asked = serde_json::to_string(&(FORMATS, INSTANTS_MS)).expect("plain data");
    let output = Command::new(node(22).bin.join("node"))
        .args(["-e", script])
        .arg(tool("pm2/node_modules/dayjs"))
        .arg(asked)
        .env("TZ", zone)
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("texts")
}

#[test]
fn every_token_prints_what_day_js_prints() {
    for zone in ZONES {
        let expected = dayjs(zone);
        let place = TimeZone::get(zone).expect("the machine knows it");
        for (at, row) in INSTANTS_MS.iter().zip(expected) {
            let when = Timestamp::from_millisecond(*at).expect("in range").to_zoned_datetime(place.clone());
            for (format, expected) in FORMATS.iter().zip(row) {
                let mut text = Vec::new();
                DateFormat::new(format).write(&when, &mut text);
                assert_eq!(String::from_utf8_lossy(&text), expected, "{format:?} of {at} in {zone}");
            }
        }
    }
}
