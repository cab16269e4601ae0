//! `state config`: how the shared state is kept.

use skep_api::client::Client;
use skep_api::{ErrorCode, Route, StateConfig, StateStats};
use skep_spec::{Bytes, Millis, SpecError};

use super::args::ConfigArgs;
use crate::failure::Failure;
use crate::human;
use crate::session::Context;

/// Changes what is named, then shows all.
pub(super) async fn run(args: &ConfigArgs, client: &mut Client, context: &Context) -> Result<(), Failure> {
    let config: StateConfig = if args.settings.is_empty() {
        client.read(Route::ShowStateConfig, "", &()).await?
    } else {
        let change = change(&args.settings)?;
        let left = if change.dir.is_some() { left(client).await? } else { None };
        let config: StateConfig = client.ask(Route::ConfigureState, &change).await?;
        for line in left.iter().flat_map(|left| left.words(&config)) {
            if !context.output.quiet {
                context.output.complain(&line);
            }
        }
        config
    };
    if context.output.json {
        return context.output.print_json(&config);
    }
    let size =
        |bytes: Option<u64>, otherwise: &str| bytes.map_or_else(|| otherwise.to_owned(), human::memory);
    let save = match config.save_ms {
        None | Some(0) => "off".to_owned(),
        Some(ms) => format!("{ms} ms"),
    };
    let mut text = format!(
        "max_size        {}\nmax_value       {}\nsave            {save}\ndir             {}\n",
        size(config.max_bytes, "1.0G (default)"),
        size(config.value_bytes_max, "16.0M (default)"),
        config.dir.as_deref().unwrap_or("shared memory (default)"),
    );
    match (config.redis_port, &config.redis_password) {
        (Some(port), Some(password)) => {
            text.push_str(&format!("redis_port      {port} (127.0.0.1)\nredis_password  {password}\n"));
        }
        _ => text.push_str("redis_port      off (default)\n"),
    }
    context.output.print(&text)
}

/// A store with data in it that is not taken along when another place is chosen.
struct Left {
    /// Where it lies.
    store: String,
    /// The setting so far.
    dir: Option<String>,
    /// Workers run, which have it open.
    in_use: bool,
}

/// The store so far; none: nothing is in it, or there is none that could be read.
async fn left(client: &mut Client) -> Result<Option<Left>, Failure> {
    let before: StateConfig = client.read(Route::ShowStateConfig, "", &()).await?;
    let Ok(stats) = client.read::<StateStats>(Route::StateStats, "", &()).await else { return Ok(None) };
    let in_use = client.daemon().await?.workers > 0;
    let holds = stats.rows > 0 || stats.counters > 0;
    Ok(holds.then_some(Left { store: stats.dir, dir: before.dir, in_use }))
}

impl Left {
    fn words(&self, config: &StateConfig) -> Vec<String> {
        if config.dir == self.dir {
            return Vec::new();
        }
        let store = &self.store;
        let dir = |dir: &Option<String>| dir.clone().unwrap_or_default();
        let (old, new) = (dir(&self.dir), dir(&config.dir));
        if self.in_use {
            return vec![
                format!(
                    "workers go on with the store in {store}; the new place is used once none of them runs, without its data"
                ),
                "  to take the data along: `skep state backup FILE` before, `skep state restore FILE` after"
                    .to_owned(),
            ];
        }
        vec![
            format!(
                "the store so far stays behind in {store} with its data; the new place has a store of its own"
            ),
            format!(
                "  to take the data along: `skep state config dir={old}`, `skep state backup FILE`, `skep state config dir={new}`, `skep state restore FILE`"
            ),
        ]
    }
}

fn change(settings: &[String]) -> Result<StateConfig, Failure> {
    let mut config = StateConfig::default();
    for setting in settings {
        let unknown = || {
            Failure::new(
                ErrorCode::BadRequest,
                format!("{setting:?} is no setting"),
                "use max_size=2G, max_value=64M, save=30s or save=off, dir=/path or dir=, redis_port=6379 or redis_port=off, redis_password=…",
            )
        };
        let (name, value) = setting.split_once('=').ok_or_else(unknown)?;
        match name {
            "max_size" => config.max_bytes = Some(bytes(name, value)?),
            "max_value" => config.value_bytes_max = Some(bytes(name, value)?),
            "save" if matches!(value, "off" | "0") => config.save_ms = Some(0),
            "save" => config.save_ms = Some(value.parse::<Millis>().map_err(|e| bad(name, &e))?.0),
            "redis_port" if value == "off" => config.redis_port = Some(0),
            "redis_port" => config.redis_port = Some(port(value)?),
            "redis_password" => config.redis_password = Some(value.to_owned()),
            "dir" => config.dir = Some(value.to_owned()),
            _ => return Err(unknown()),
        }
    }
    Ok(config)
}

fn port(value: &str) -> Result<u16, Failure> {
    value.parse().map_err(|_| {
        let message = format!("redis_port: {value:?} is no port");
        Failure::new(ErrorCode::BadRequest, message, "a number from 1 to 65535, or off")
    })
}

fn bytes(name: &str, value: &str) -> Result<u64, Failure> {
    Ok(value.parse::<Bytes>().map_err(|error| bad(name, &error))?.0)
}

fn bad(name: &str, error: &SpecError) -> Failure {
    Failure::new(ErrorCode::BadRequest, format!("{name}: {error}"), error.remedy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &[&str]) -> Result<StateConfig, Failure> {
        change(&settings.iter().map(|setting| (*setting).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn settings_are_read_with_their_units() {
        let config = of(&["max_size=2G", "save=30s", "dir=/x"]).expect("sensible");
        assert_eq!((config.max_bytes, config.save_ms), (Some(2 << 30), Some(30_000)));
        assert_eq!(config.dir.as_deref(), Some("/x"));
        assert_eq!(of(&["save=off"]).expect("sensible").save_ms, Some(0));
        assert_eq!(of(&["redis_port=6380"]).expect("sensible").redis_port, Some(6380));
        assert_eq!(of(&["redis_port=off"]).expect("sensible").redis_port, Some(0));
    }

    #[test]
    fn a_store_that_stays_behind_is_told_with_the_way_to_take_it_along() {
        let left = |in_use| Left { store: "/dev/shm/skep-0-1".into(), dir: None, in_use };
        let moved = StateConfig { dir: Some("/x".into()), ..StateConfig::default() };
        assert_eq!(left(false).words(&StateConfig::default()), Vec::<String>::new());
        let idle = left(false).words(&moved).join("\n");
        assert!(idle.contains("/dev/shm/skep-0-1 with its data") && idle.contains("config dir=`"), "{idle}");
        let busy = left(true).words(&moved).join("\n");
        assert!(busy.contains("workers go on") && busy.contains("`skep state backup FILE` before"), "{busy}");
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for setting in
            ["max_size", "max=1", "max_size=much", "save=often", "redis_port=high", "redis_port=70000"]
        {
            assert_eq!(of(&[setting]).expect_err(setting).exit_code(), 1);
        }
    }
}
