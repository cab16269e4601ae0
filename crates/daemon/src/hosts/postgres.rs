//! The store in PostgreSQL: three small tables, made when they are missing. Each question is one statement, so that the
//! token and what it stands for cannot be told apart by whatever happens in between. All times are the server's.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use skep_core::{Now, Span};
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row};

use super::address::postgres_place;
use super::store::{ANSWER_TIMEOUT, Answer, Asker, Lease, LeaseRequest, Question, millis};
use crate::driver::now;

/// Claims that nobody may ask for any more are deleted so often.
const CLEANING: Span = Span::from_secs(3_600);
/// A connection whose other end does not acknowledge for so long is given up.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// Two hosts that come at once must not both make the tables. Any number that nobody else uses.
const TABLES: &str = "BEGIN;
    SELECT pg_advisory_xact_lock(7307186);
    CREATE TABLE IF NOT EXISTS skep_claims (prefix text NOT NULL, name text NOT NULL, host text NOT NULL,
        forget_at timestamptz NOT NULL, PRIMARY KEY (prefix, name));
    CREATE TABLE IF NOT EXISTS skep_leases (prefix text NOT NULL, name text NOT NULL, host text NOT NULL,
        token bigint NOT NULL, ends_at timestamptz NOT NULL, PRIMARY KEY (prefix, name));
    CREATE TABLE IF NOT EXISTS skep_tokens (prefix text PRIMARY KEY, last bigint NOT NULL);
    COMMIT";

const MISSING: &str = "SELECT to_regclass('skep_claims') IS NULL OR to_regclass('skep_leases') IS NULL
    OR to_regclass('skep_tokens') IS NULL";

/// A row that is there already with our name is ours again; the token is above the last one and above $4.
const CLAIM: &str =
    "WITH clock AS (SELECT extract(epoch FROM clock_timestamp()) * 1000 <= $6::int8 AS early),
    mine AS (
        INSERT INTO skep_claims AS c (prefix, name, host, forget_at)
        SELECT $1, $2, $3, clock_timestamp() + $5::int8 * interval '1 millisecond' FROM clock WHERE early
        ON CONFLICT (prefix, name) DO UPDATE SET host = c.host WHERE c.host = EXCLUDED.host
        RETURNING host),
    token AS (
        INSERT INTO skep_tokens AS t (prefix, last) SELECT $1, $4::int8 + 1 FROM mine
        ON CONFLICT (prefix) DO UPDATE SET last = greatest(t.last + 1, EXCLUDED.last)
        RETURNING last)
    SELECT (SELECT last FROM token), (SELECT early FROM clock)";

/// A renewal takes a token too and throws it away: there are enough.
const LEASE: &str = "WITH token AS (
        INSERT INTO skep_tokens AS t (prefix, last) VALUES ($1, 1)
        ON CONFLICT (prefix) DO UPDATE SET last = t.last + 1
        RETURNING last),
    mine AS (
        INSERT INTO skep_leases AS l (prefix, name, host, token, ends_at)
        SELECT $1, $2, $3, last, clock_timestamp() + $4::int8 * interval '1 millisecond' FROM token
        ON CONFLICT (prefix, name) DO UPDATE SET
            token = CASE WHEN l.host = EXCLUDED.host AND l.token = $5::int8 AND l.ends_at > clock_timestamp()
                THEN l.token ELSE EXCLUDED.token END,
            host = EXCLUDED.host, ends_at = EXCLUDED.ends_at
        WHERE l.host = EXCLUDED.host OR l.ends_at <= clock_timestamp()
        RETURNING l.token)
    SELECT (SELECT token FROM mine), (SELECT host FROM skep_leases WHERE prefix = $1 AND name = $2)";

const RELEASE: &str = "DELETE FROM skep_leases WHERE prefix = $1 AND name = $2 AND host = $3 AND token = $4";

const CLEAN: &str = "DELETE FROM skep_claims WHERE prefix = $1 AND forget_at < clock_timestamp()";

/// One connection, made anew after a failure.
pub(crate) struct Postgres {
    config: Config,
    session: RefCell<Option<Rc<Session>>>,
    cleaned: Cell<Option<Now>>,
}

/// A client and the task that carries its bytes; they end together.
struct Session {
    client: Client,
    carrier: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

type Values<'a> = [(&'a (dyn ToSql + Sync), Type)];

impl Postgres {
    pub(super) fn new(mut config: Config) -> Self {
        config.connect_timeout(ANSWER_TIMEOUT).tcp_user_timeout(DEAD_AFTER);
        if config.get_application_name().is_none() {
            config.application_name("skep");
        }
        Self { config, session: RefCell::new(None), cleaned: Cell::new(None) }
    }

    pub(super) async fn ping(&self) -> Result<(), String> {
        self.ask("SELECT 1", &[]).await.map(drop)
    }

    pub(super) async fn claim(&self, asker: &Asker, question: &Question) -> Result<Answer, String> {
        let (above, kept) = (signed(question.above), signed(millis(question.kept)));
        let values: &Values<'_> = &[
            (&asker.prefix, Type::TEXT),
            (&question.name, Type::TEXT),
            (&asker.host, Type::TEXT),
            (&above, Type::INT8),
            (&kept, Type::INT8),
            (&question.until_unix_ms, Type::INT8),
        ];
        let row = self.ask(CLAIM, values).await?;
        self.clean(asker).await;
        let (token, early): (Option<i64>, bool) = (column(&row, 0)?, column(&row, 1)?);
        Ok(match token {
            Some(token) => Answer::Ours { token: token.unsigned_abs() },
            None if early => Answer::Theirs,
            None => Answer::TooLate,
        })
    }

    pub(super) async fn lease(&self, asker: &Asker, request: &LeaseRequest<'_>) -> Result<Lease, String> {
        let (time, renew) = (signed(millis(request.time)), signed(request.renew.unwrap_or(0)));
        let values: &Values<'_> = &[
            (&asker.prefix, Type::TEXT),
            (&request.name, Type::TEXT),
            (&asker.host, Type::TEXT),
            (&time, Type::INT8),
            (&renew, Type::INT8),
        ];
        let row = self.ask(LEASE, values).await?;
        let (token, holder): (Option<i64>, Option<String>) = (column(&row, 0)?, column(&row, 1)?);
        Ok(match token {
            Some(token) => Lease::Ours { token: token.unsigned_abs() },
            // Nobody: it took it in the same moment, which this statement does not see yet.
            None => Lease::Theirs { holder: holder.unwrap_or_else(|| "another host".to_owned()) },
        })
    }

    pub(super) async fn release(&self, asker: &Asker, name: &str, token: u64) -> Result<(), String> {
        let token = signed(token);
        let values: &Values<'_> = &[
            (&asker.prefix, Type::TEXT),
            (&name, Type::TEXT),
            (&asker.host, Type::TEXT),
            (&token, Type::INT8),
        ];
        self.with(async |client| client.query_typed(RELEASE, values).await).await.map(drop)
    }

    /// Now and then. What goes wrong here is done the next time.
    async fn clean(&self, asker: &Asker) {
        if self.cleaned.get().is_some_and(|at| now() < at + CLEANING) {
            return;
        }
        self.cleaned.set(Some(now()));
        let values: &Values<'_> = &[(&asker.prefix, Type::TEXT)];
        drop(self.with(async |client| client.query_typed(CLEAN, values).await).await);
    }

    async fn ask(&self, statement: &str, values: &Values<'_>) -> Result<Row, String> {
        let rows = self.with(async |client| client.query_typed(statement, values).await).await?;
        rows.into_iter().next().ok_or_else(|| "the store answered nothing".to_owned())
    }

    /// Asks with a time limit. Whatever goes wrong, the next question gets a connection of its own.
    async fn with<T>(&self, ask: impl AsyncFnOnce(&Client) -> Result<T, Error>) -> Result<T, String> {
        let asked = async {
            let known = self.session.borrow().clone();
            let session = match known {
                Some(session) if !session.client.is_closed() => session,
                Some(_) | None => self.connect().await?,
            };
            ask(&session.client).await
        };
        let answer = within(asked).await;
        if answer.is_err() {
            self.session.replace(None);
        }
        answer
    }

    async fn connect(&self) -> Result<Rc<Session>, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        let carrier = tokio::task::spawn_local(async move { drop(connection.await) });
        let session = Rc::new(Session { client, carrier });
        if session.client.query_typed_one(MISSING, &[]).await?.try_get(0)? {
            session.client.batch_execute(TABLES).await?;
        }
        self.session.replace(Some(Rc::clone(&session)));
        Ok(session)
    }
}

async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| said(&error)),
        Err(_) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

/// What the server said, or what the system did.
fn said(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_owned();
    }
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, String> {
    row.try_get(at).map_err(|error| said(&error))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("place", &postgres_place(&self.config)).finish_non_exhaustive()
    }
}
