//! The way to the daemon: find its home, connect, start it where a verb wants that.

use crate::args::Global;
use crate::failure::Failure;
use crate::output::Output;
use skep_api::client::{Client, ClientError};
use skep_api::{ErrorBody, ErrorCode};
use skep_keeper::home::{Home, HomeError};
use std::path::PathBuf;

/// What every verb is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// How to speak.
    pub(crate) output: Output,
    /// `--home`, where it was given.
    home: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let output = Output::detect(global.json, global.no_color, global.silent);
        Self { output, home: global.home.filter(|home| !home.as_os_str().is_empty()) }
    }

    /// The same, of another home.
    pub(crate) fn with_home(&self, home: PathBuf) -> Self {
        Self { output: self.output, home: Some(home) }
    }

    /// Whether somebody said where skep lives.
    pub(crate) fn names_home(&self) -> bool {
        self.home.is_some() || std::env::var_os("SKEP_HOME").is_some_and(|home| !home.is_empty())
    }

    /// Where skep lives.
    pub(crate) fn home(&self) -> Result<Home, Failure> {
        match &self.home {
            Some(path) => Ok(Home::at(path)),
            None => Home::resolve().map_err(unusable),
        }
    }

    /// A connection, if skep is running; or if it was killed, keeper and daemon both: then it is started again, ends what
    /// was left behind, and runs what ran.
    pub(crate) async fn connect_if_running(&self) -> Result<Option<Client>, Failure> {
        let running = self.look().await?;
        if running.is_none() && skep_daemon::was_killed(self.home()?.path()) {
            self.output.say("skep had been killed; it is started again, with what ran before");
            return self.connect_or_start().await.map(Some);
        }
        Ok(running)
    }

    /// A connection, if skep is running at this moment. Starts nothing in any case.
    pub(crate) async fn look(&self) -> Result<Option<Client>, Failure> {
        match self.home()?.connect().map_err(unusable)? {
            Some(stream) => Ok(Some(Client::over(stream).await?)),
            None => Ok(None),
        }
    }

    /// A connection; skep must be running.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        self.connect_if_running().await?.ok_or_else(Failure::not_running)
    }

    /// What `ask` asks for; once more, should the daemon be restarted at this very moment. Only for questions, and for
    /// commands that may be given twice.
    pub(crate) async fn ask<T>(
        &self,
        client: &mut Client,
        ask: impl AsyncFn(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, Failure> {
        match ask(client).await {
            Err(ClientError::Lost(_)) => {
                *client = self.connect().await?;
                Ok(ask(client).await?)
            }
            other => Ok(other?),
        }
    }

    /// A connection; skep is started if need be.
    pub(crate) async fn connect_or_start(&self) -> Result<Client, Failure> {
        let stream = self.home()?.connect_or_start().map_err(unusable)?;
        Ok(Client::over(stream).await?)
    }
}

/// The home's own errors say what to do.
pub(crate) fn unusable(error: HomeError) -> Failure {
    Failure::Unreachable(ErrorBody::new(ErrorCode::Unavailable, error.to_string()))
}
