//! Whether metrics are served over TCP, and where: a small file in the home, and the task that listens.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skep_api::{ConfigureMetrics, ErrorBody, ErrorCode, METRICS_LISTEN_DEFAULT, MetricsServer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::token::{self, Token};
use crate::driver::{Driver, Shared};

/// An address that could not be had is tried again after this, doubled each time.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    serve: bool,
    listen: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { serve: false, listen: METRICS_LISTEN_DEFAULT.to_owned() }
    }
}

/// The server as the daemon knows it.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    task: Option<JoinHandle<()>>,
    /// What clients must show.
    pub(crate) token: Option<Rc<Token>>,
    /// Why nobody listens although somebody should.
    trouble: Option<String>,
}

fn file(home: &Path) -> PathBuf {
    home.join("metrics.json")
}

fn load(home: &Path) -> Result<Config, ErrorBody> {
    let path = file(home);
    let unreadable = |why: String| {
        ErrorBody::new(ErrorCode::StorageFailed, format!("{} cannot be read: {why}", path.display()))
            .with_hint("fix or remove it; without it metrics are not served over TCP")
    };
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn save(home: &Path, config: &Config) -> Result<(), ErrorBody> {
    let text = serde_json::to_vec_pretty(config).expect("a truth value and a string");
    skep_sys::durable::replace(&file(home), &text, 0o600).map_err(|error| {
        ErrorBody::new(ErrorCode::StorageFailed, format!("cannot write {}: {error}", file(home).display()))
            .with_hint("nothing was changed; make room on the disk or fix the permissions, then try again")
    })
}

/// An address of this machine only. Figures of a fleet are nobody else's business, and a token over plain HTTP is no
/// secret on a network.
fn loopback(text: &str) -> Result<SocketAddr, ErrorBody> {
    let refuse = |message: String, hint: &str| {
        Err(ErrorBody::new(ErrorCode::BadRequest, message).with_hint(hint.to_owned()))
    };
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let Ok(address) = numeric.as_deref().unwrap_or(text).parse::<SocketAddr>() else {
        return refuse(
            format!("listen: {text:?} is not an address with a port"),
            "write it like 127.0.0.1:9209 or [::1]:9209",
        );
    };
    if !address.ip().is_loopback() {
        return refuse(
            format!("listen: {address} can be reached from other machines, and metrics go over plain HTTP"),
            "use 127.0.0.1 and let a reverse proxy with TLS, an ssh tunnel or a Prometheus agent on this machine carry \
             them on",
        );
    }
    if address.port() == 0 {
        return refuse(
            "listen: port 0 would be another port after each restart".to_owned(),
            "name one, for example 127.0.0.1:9209",
        );
    }
    Ok(address)
}

/// Must be called within the runtime.
fn bind(address: SocketAddr) -> Result<TcpListener, ErrorBody> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|error: io::Error| {
        ErrorBody::new(ErrorCode::Conflict, format!("listen: {address} cannot be listened on: {error}"))
            .with_hint("`ss -ltnp` shows who has the port; `skep metrics serve --listen 127.0.0.1:PORT` takes another")
    })
}

impl Driver {
    /// How metrics are served over TCP.
    pub(crate) fn metrics_server(&self) -> Result<MetricsServer, ErrorBody> {
        let config = load(&self.site.home)?;
        Ok(MetricsServer {
            serve: config.serve,
            listen: config.listen,
            token_file: token::file(&self.site.home).display().to_string(),
            trouble: self.listening.trouble.clone(),
        })
    }

    /// Changes it: either all of the change is made, or nothing. A server that is to end has ended when its task has.
    pub(crate) fn configure_metrics(
        &mut self,
        change: &ConfigureMetrics,
    ) -> Result<(MetricsServer, Option<JoinHandle<()>>), ErrorBody> {
        let home = self.site.home.clone();
        let before = load(&home)?;
        let listen = change.listen.clone().unwrap_or_else(|| before.listen.clone());
        let config = Config { serve: change.serve.unwrap_or(before.serve), listen };
        let address = loopback(&config.listen)?;
        let same = self.is_listening() && config.listen == before.listen;
        let listener = if config.serve && !same { Some(bind(address)?) } else { None };
        // An old token that cannot be used is no obstacle to a new one.
        let old = if change.new_token { None } else { Some(Token::of(&home)?) };
        if config != before {
            save(&home, &config)?;
        }
        let token = old.map_or_else(|| Token::renew(&home), Ok)?;
        self.listening.token = Some(Rc::new(token));
        let mut ended = None;
        if listener.is_some() || !config.serve {
            self.listening.trouble = None;
            ended = self.listening.task.take();
        }
        if let Some(task) = &ended {
            task.abort();
        }
        if let (Some(listener), Some(driver)) = (listener, self.me.upgrade()) {
            let serving = crate::server::metrics_over_tcp(driver, listener);
            self.listening.task = Some(tokio::task::spawn_local(serving));
        }
        Ok((self.metrics_server()?, ended))
    }

    fn is_listening(&self) -> bool {
        self.listening.trouble.is_none()
            && self.listening.task.as_ref().is_some_and(|task| !task.is_finished())
    }
}

/// At the daemon's start: listens again where it was listened before, as soon as the address is free.
pub(crate) fn begin(driver: &Shared) {
    let home = driver.borrow().site.home.clone();
    let trouble = |error: &ErrorBody| {
        crate::diary::note(format_args!("metrics are not served: {error}"));
        driver.borrow_mut().listening.trouble = Some(error.message.clone());
    };
    let config = match load(&home) {
        Ok(config) if !config.serve => return,
        Ok(config) => config,
        Err(error) => return trouble(&error),
    };
    let ready = loopback(&config.listen).and_then(|address| Ok((address, Token::of(&home)?)));
    match ready {
        Ok((address, token)) => {
            driver.borrow_mut().listening.token = Some(Rc::new(token));
            let again = tokio::task::spawn_local(keep_trying(Rc::clone(driver), address));
            driver.borrow_mut().listening.task = Some(again);
        }
        Err(error) => trouble(&error),
    }
}

async fn keep_trying(driver: Shared, address: SocketAddr) {
    let mut pause = RETRY_MIN;
    loop {
        match bind(address) {
            Ok(listener) => {
                driver.borrow_mut().listening.trouble = None;
                return crate::server::metrics_over_tcp(driver, listener).await;
            }
            Err(error) => {
                if driver.borrow().listening.trouble.is_none() {
                    let message = format!("metrics are not served for now: {error}");
                    crate::diary::note(format_args!("{message}"));
                    driver.borrow_mut().tell(skep_api::EventKind::Other, None, message);
                }
                driver.borrow_mut().listening.trouble = Some(error.message);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_listened_on() {
        for fine in ["127.0.0.1:9209", "127.8.0.1:1", "[::1]:9209", "localhost:9209"] {
            assert!(loopback(fine).is_ok(), "{fine}");
        }
        for wrong in
            ["0.0.0.0:9209", "192.168.1.2:9209", "[::]:9209", "9209", "127.0.0.1", "127.0.0.1:0", "a:b"]
        {
            let error = loopback(wrong).expect_err(wrong);
            assert!(error.message.starts_with("listen: ") && error.hint.is_some(), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_broken_file_is_told_of_and_a_missing_one_means_off() {
        let home = tempfile::tempdir().expect("room for a folder");
        assert_eq!(load(home.path()), Ok(Config::default()));
        let on = Config { serve: true, listen: "127.0.0.1:1".to_owned() };
        save(home.path(), &on).expect("written");
        assert_eq!(load(home.path()), Ok(on));
        std::fs::write(file(home.path()), "{\"serve\":").expect("written");
        assert!(load(home.path()).expect_err("cut in half").message.contains("metrics.json"));
    }
}
