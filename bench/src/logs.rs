//! What programs print: a million lines, one line of 10 MB, a torrent of bytes. Seconds until all of it is in the file,
//! processor time of who carries it, and bytes that never arrive.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use skep_sys::clock::boottime_ns;
use skep_tests::{Skep, Start, process, root};

use crate::Effort;
use crate::journal;
use crate::peers::Pm2;
use crate::report::{Report, Series};
use crate::subject::{cpu_seconds, usual};

/// Lines, and bytes of each.
const TORRENTS: [(&str, u64, u64); 3] = [
    ("1,000,000 lines of 100 bytes", 1_000_000, 100),
    ("one line of 10 MB", 1, 10_000_000),
    ("400 MB in lines of 64 KB", 6_400, 62_500),
];

const CARRIERS: [&str; 3] = ["skep", "pm2", "cat"];

/// A file that does not grow for so long is all that will come.
const QUIET: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(2);

#[derive(Debug, Default)]
struct Figures {
    seconds: Series,
    cpu: Series,
    lost: Series,
}

impl Figures {
    fn push(&mut self, journal::Carried { seconds, cpu, lost }: journal::Carried) {
        self.seconds.push(seconds);
        self.cpu.push(cpu);
        self.lost.push(lost);
    }
}

/// Who carries lines into a file, with its processes.
enum Carrier {
    Skep(Skep),
    Pm2(Pm2),
    Cat(Child, tempfile::TempDir),
}

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let mut lost = 0.0;
    let mut notes = Vec::new();
    let journald = match journal::journald() {
        Ok(pid) => Some(pid),
        Err(why) => {
            println!("systemd-cat is not measured: {why}");
            None
        }
    };
    for (what, count, length) in TORRENTS {
        let mut figures: [Figures; 3] = Default::default();
        let mut journal = Figures::default();
        for _ in 0..effort.runs {
            for (name, figures) in CARRIERS.iter().zip(&mut figures) {
                one(name, count, length, figures)?;
            }
            if let Some(journald) = journald {
                journal.push(journal::carry(journald, count, length)?);
            }
        }
        let all = CARRIERS.iter().zip(&figures).chain(journald.map(|_| (&"systemd-cat", &journal)));
        for (name, figures) in all {
            report.series(&format!("{what}, {name}"), "s", &figures.seconds);
            report.series(&format!("{what}, {name}, CPU of who carries"), "s", &figures.cpu);
            report.series(&format!("{what}, {name}, lost"), "bytes", &figures.lost);
        }
        let [ours, pm2, cat] = &figures;
        lost += ours.lost.values.iter().sum::<f64>();
        let seconds = [ours, pm2, cat].map(|figures| format!("{:.2}", figures.seconds.median()));
        notes.push(format!("{what}: {} s beside {} and {}", seconds[0], seconds[1], seconds[2]));
    }
    report.promise("logs.lost", lost, notes.join("; "));
    Ok(())
}

fn one(name: &str, count: u64, length: u64, figures: &mut Figures) -> Result<()> {
    let expected = count * length;
    let begin = boottime_ns();
    let carrier = Carrier::start(name, count, length)?;
    let (got, last) = all_that_comes(&carrier.file(), expected);
    let seconds = (last - begin) as f64 / 1e9;
    let cpu = carrier.processes()?.into_iter().map(cpu_seconds).sum();
    figures.push(journal::Carried { seconds, cpu, lost: expected.saturating_sub(got) as f64 });
    Ok(())
}

impl Carrier {
    fn start(name: &str, count: u64, length: u64) -> Result<Carrier> {
        let app = root().join("bench/apps/lines.js");
        let (count, length) = (count.to_string(), length.to_string());
        Ok(match name {
            "skep" => {
                let skep = Skep::with_node(&usual());
                // In one file, as the others do it.
                let flags = ["--no-wait", "--log-max-size", "0", "--runtime", "self"];
                skep.start(
                    &Start::program("lines", app).env("COUNT", count).env("LENGTH", length).flags(flags),
                );
                Carrier::Skep(skep)
            }
            "pm2" => {
                let pm2 = Pm2::new()?;
                pm2.command(&["start", &app.display().to_string(), "--name", "lines"])
                    .env("COUNT", count)
                    .env("LENGTH", length)
                    .status()?;
                Carrier::Pm2(pm2)
            }
            _ => {
                let folder = tempfile::tempdir()?;
                let shell = Command::new("sh")
                    .args(["-c", r#""$1" "$2" | exec cat > "$3""#, "sh"])
                    .arg(usual().bin.join("node"))
                    .arg(app)
                    .arg(folder.path().join("out"))
                    .envs([("COUNT", count), ("LENGTH", length)])
                    .stderr(Stdio::null())
                    .spawn()?;
                Carrier::Cat(shell, folder)
            }
        })
    }

    fn file(&self) -> PathBuf {
        match self {
            Carrier::Skep(skep) => skep.home().join("logs/lines-out.log"),
            Carrier::Pm2(pm2) => pm2.log("lines"),
            Carrier::Cat(_, folder) => folder.path().join("out"),
        }
    }

    fn processes(&self) -> Result<Vec<u32>> {
        Ok(match self {
            Carrier::Skep(skep) => vec![skep.daemon().pid, skep.daemon().keeper_pid],
            Carrier::Pm2(pm2) => vec![pm2.daemon().context("PM2's daemon runs")?],
            Carrier::Cat(shell, _) => {
                let children = process::children(shell.id()).into_iter();
                children.filter(|pid| process::command_line(*pid) == "cat").collect()
            }
        })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Carrier::Cat(shell, _) = self {
            process::children(shell.id()).into_iter().for_each(process::kill);
            drop(shell.wait());
        }
    }
}

/// Bytes in the file once it holds what is expected, or has not grown for a while; and when it last grew.
fn all_that_comes(file: &Path, expected: u64) -> (u64, u64) {
    let (mut size, mut grew) = (0, boottime_ns());
    while size < expected && boottime_ns() - grew < QUIET.as_nanos() as u64 {
        let now = std::fs::metadata(file).map_or(0, |file| file.len());
        if now > size {
            (size, grew) = (now, boottime_ns());
        }
        std::thread::park_timeout(LOOK);
    }
    (size, grew)
}
