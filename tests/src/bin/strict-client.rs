//! The strict client as a program: loads one URL and counts every request that was not answered completely and
//! correctly. Exits with 1 if there was one, or none was answered.
//!
//! It sends to this machine only: it is a measuring device for skep's own tests, not a load generator for others.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use skep_tests::strict::{self, Mode, Plan, Target, Think};

#[derive(Debug, Parser)]
#[command(about = "Counts every request that was not answered completely and correctly.")]
struct Args {
    /// Port on 127.0.0.1, address of this machine with port, or path of a Unix socket
    target: String,
    /// How connections are used
    #[arg(long, value_enum, default_value_t = Use::KeepAlive)]
    mode: Use,
    /// What is asked
    #[arg(long, value_enum, default_value_t = What::Get)]
    what: What,
    /// Path and query for `--what get`
    #[arg(long, default_value = "/")]
    path: String,
    /// Bytes of an upload, download or stream
    #[arg(long, default_value_t = 1_000_000)]
    bytes: usize,
    /// Clients side by side
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// How long
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Keep-alive: longest think time between requests, in milliseconds
    #[arg(long, default_value_t = 20)]
    think_ms: u64,
    /// Pipelined: requests written at once
    #[arg(long, default_value_t = 8)]
    depth: usize,
    /// TLS, trusting this PEM certificate for `localhost`
    #[arg(long)]
    tls: Option<PathBuf>,
    /// A request not answered after this long has failed, in seconds
    #[arg(long, default_value_t = 10.0)]
    timeout: f64,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Use {
    Short,
    KeepAlive,
    Pipelined,
    Dribble,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Get,
    Slow,
    Upload,
    Download,
    Stream,
}

/// Pause between the pieces of a dribbled request.
const DRIBBLE_PAUSE: Duration = Duration::from_millis(10);
/// What `--what slow` asks the fixture apps to wait.
const SLOW_MS: u64 = 30;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let running = strict::start(plan(&args)?)?;
    running.wait(Duration::from_secs_f64(args.seconds), |_| false);
    let report = running.stop();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if report.failures() == 0 && report.ok > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(args: &Args) -> Result<Plan> {
    let mode = match args.mode {
        Use::Short => Mode::Short(Think::NONE),
        Use::KeepAlive => Mode::KeepAlive(Think::up_to_ms(args.think_ms)),
        Use::Pipelined => Mode::Pipelined(args.depth),
        Use::Dribble => Mode::Dribble(DRIBBLE_PAUSE),
    };
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let plan = Plan::get(nowhere, mode, args.clients);
    let plan = Plan { timeout: Duration::from_secs_f64(args.timeout), ..plan };
    let plan = plan.to(target(args)?);
    Ok(match args.what {
        What::Get => plan.path(&args.path),
        What::Slow => plan.slow(SLOW_MS),
        What::Upload => plan.upload(args.bytes),
        What::Download => plan.download(args.bytes),
        What::Stream => plan.stream(args.bytes),
    })
}

fn target(args: &Args) -> Result<Target> {
    if args.target.starts_with('/') {
        return Ok(Target::Unix(PathBuf::from(&args.target)));
    }
    let address = match args.target.parse::<u16>() {
        Ok(port) => SocketAddr::from(([127, 0, 0, 1], port)),
        Err(_) => args.target.parse().with_context(|| {
            format!("{:?} is neither a port, an address with a port nor a path", args.target)
        })?,
    };
    let is_here = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified(),
    };
    if !is_here {
        bail!("{address} is not on the loopback interface: the strict client loads this machine only");
    }
    Ok(match &args.tls {
        Some(certificate) => Target::Tls(address, certificate.clone()),
        None => Target::Tcp(address),
    })
}
