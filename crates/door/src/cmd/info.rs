//! What the door says of itself.

use skep_state::{Space, keys};

use crate::call::{Call, is};
use crate::cmd::connection::{REDIS_VERSION, subcommand, subcommand_arity};
use crate::fault::{Done, SYNTAX, text};
use crate::limits::DATABASES;

const SECTIONS: [&str; 9] =
    ["server", "clients", "memory", "persistence", "stats", "replication", "cpu", "cluster", "keyspace"];

/// A database of more keys than this is told of by this number at least: INFO is asked for at every connection, and
/// counting walks over all keys.
const COUNTED_KEYS_MAX: usize = 10_000;

fn section(c: &Call<'_, '_>, name: &str) -> Result<String, crate::fault::Fault> {
    let door = &c.door;
    let uptime = skep_sys::clock::boottime_ns().saturating_sub(door.started_ns) / 1_000_000_000;
    let clients = door.row.iter().flatten().count() + 1;
    let blocked = door.row.iter().flatten().filter(|other| other.client.blocked.is_some()).count();
    let stats = door.store.stats();
    Ok(match name {
        "server" => format!(
            "# Server\r\nredis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nserver_name:skep\r\nskep_version:{}\r\n\
             os:Linux\r\narch_bits:64\r\nprocess_id:{}\r\nrun_id:{:040x}\r\ntcp_port:0\r\nuptime_in_seconds:{uptime}\r\n\
             uptime_in_days:{}\r\n",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            door.started_ns,
            uptime / 86_400,
        ),
        "clients" => format!(
            "# Clients\r\nconnected_clients:{clients}\r\nmaxclients:{}\r\nblocked_clients:{blocked}\r\n",
            crate::limits::CLIENTS_MAX,
        ),
        "memory" => format!(
            "# Memory\r\nused_memory:{}\r\nused_memory_rss:{}\r\nused_memory_peak:{}\r\nmaxmemory:{}\r\n\
             maxmemory_policy:noeviction\r\nmem_allocator:lmdb\r\n",
            stats.used_bytes, stats.data_bytes, stats.used_bytes, stats.data_bytes_max,
        ),
        "persistence" => "# Persistence\r\nloading:0\r\nasync_loading:0\r\nrdb_changes_since_last_save:0\r\n\
             rdb_bgsave_in_progress:0\r\nrdb_last_bgsave_status:ok\r\naof_enabled:0\r\n"
            .to_owned(),
        "stats" => format!(
            "# Stats\r\ntotal_connections_received:{}\r\ntotal_commands_processed:{}\r\nrejected_connections:{}\r\n\
             expired_keys:0\r\nevicted_keys:0\r\npubsub_channels:{}\r\npubsub_patterns:{}\r\npubsubshard_channels:{}\r\n",
            door.totals.connections,
            door.totals.commands,
            door.totals.rejected,
            door.pubsub.channels.len(),
            door.pubsub.patterns.len(),
            door.pubsub.shards.len(),
        ),
        "replication" => {
            "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_repl_offset:0\r\n".to_owned()
        }
        "cpu" => {
            let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            format!(
                "# CPU\r\nused_cpu_sys:0.000000\r\nused_cpu_user:{}.{:06}\r\n",
                usage.tv_sec,
                usage.tv_nsec / 1000
            )
        }
        "cluster" => "# Cluster\r\ncluster_enabled:0\r\n".to_owned(),
        _ => keyspace(c)?,
    })
}

fn keyspace(c: &Call<'_, '_>) -> Result<String, crate::fault::Fault> {
    let view = c.access.view();
    let mut out = "# Keyspace\r\n".to_owned();
    for number in 0..DATABASES {
        let space = Space::database(number);
        let count = keys::scan(&view, space, &[], COUNTED_KEYS_MAX)?.keys.len();
        if count > 0 {
            out.push_str(&format!("db{number}:keys={count},expires=0,avg_ttl=0\r\n"));
        }
    }
    Ok(out)
}

pub(crate) fn info(c: &mut Call<'_, '_>) -> Done {
    let all = ["all", "default", "everything"];
    let wanted: Vec<String> =
        c.args[1..].iter().map(|word| String::from_utf8_lossy(word).to_lowercase()).collect();
    let whole = wanted.is_empty() || wanted.iter().any(|word| all.contains(&word.as_str()));
    let mut texts = Vec::new();
    for name in SECTIONS {
        if whole || wanted.iter().any(|word| word == name) {
            texts.push(section(c, name)?);
        }
    }
    c.out.verbatim(&texts.join("\r\n"));
    Ok(())
}

pub(crate) fn time(c: &mut Call<'_, '_>) -> Done {
    let us = skep_sys::clock::wall_ns() / 1000;
    c.out.array(2);
    c.out.text(&(us / 1_000_000).to_string());
    c.out.text(&(us % 1_000_000).to_string());
    Ok(())
}

pub(crate) fn lastsave(c: &mut Call<'_, '_>) -> Done {
    let seconds = c.now_ms() / 1000;
    c.out.size(seconds);
    Ok(())
}

pub(crate) fn role(c: &mut Call<'_, '_>) -> Done {
    c.out.array(3);
    c.out.text("master");
    c.out.integer(0);
    c.out.array(0);
    Ok(())
}

/// There are no replicas: as many as asked for is none.
pub(crate) fn wait(c: &mut Call<'_, '_>) -> Done {
    c.integer(1)?;
    if crate::call::integer(c.args[2]).map_err(|_| text("ERR timeout is not an integer or out of range"))? < 0
    {
        return Err(text("ERR timeout is negative"));
    }
    c.out.integer(0);
    Ok(())
}

pub(crate) fn cluster(_: &mut Call<'_, '_>) -> Done {
    Err(text("ERR This instance has cluster support disabled"))
}

pub(crate) fn lolwut(c: &mut Call<'_, '_>) -> Done {
    c.out.verbatim(&format!("skep, in the words of Redis ver. {REDIS_VERSION}\n"));
    Ok(())
}

/// Elements that MEMORY USAGE looks at; Redis samples 5 and extrapolates, rows are cheap to look at.
const SAMPLES: usize = 100_000;

pub(crate) fn memory(c: &mut Call<'_, '_>) -> Done {
    let word = c.args[1];
    match (word, c.args.len()) {
        (word, 3 | 5) if is(word, "usage") => {
            if c.args.len() == 5 && !is(c.args[3], "samples") {
                return Err(SYNTAX);
            }
            match keys::bytes(&c.access.view(), c.space, c.args[2], SAMPLES)? {
                Some(bytes) => c.out.size(bytes),
                None => c.out.null(),
            }
        }
        (word, 2) if is(word, "purge") => c.out.ok(),
        (word, 2) if is(word, "doctor") => c.out.verbatim("See `skep state stats`.\n"),
        (word, 2) if is(word, "malloc-stats") => c.out.verbatim("The store is LMDB's.\n"),
        (word, 2) if is(word, "stats") => {
            let stats = c.door.store.stats();
            c.out.map(2);
            c.out.text("peak.allocated");
            c.out.size(stats.used_bytes);
            c.out.text("total.allocated");
            c.out.size(stats.used_bytes);
        }
        (word, _)
            if ["usage", "purge", "doctor", "malloc-stats", "stats"].iter().any(|known| is(word, known)) =>
        {
            return Err(subcommand_arity(c));
        }
        _ => return Err(subcommand(c)),
    }
    Ok(())
}
