//! A session with Vault for one command: the server and keys of the daemon's configuration, and the operator's token or
//! a login of its own. It reads keys and decrypts; nothing is used up.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::output::Problem;
use crate::config::{Config, Source};
use crate::diagnosis::Diagnosis;
use crate::keys::KeyError;
use crate::session::{LOGIN_TIMEOUT, LoginCost};
use crate::telemetry::metrics::Metrics;
use crate::vault::{CallError, Client, KeyInfo, Token, TransitKey};

/// How long one request may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The operator's own token.
const TOKEN_VARIABLE: &str = "VAULT_TOKEN";
/// The age of a token is known in whole seconds.
const ROUNDED_AGE: Duration = Duration::from_secs(1);

/// A session.
pub(super) struct VaultSession {
    /// The configuration of the daemon.
    pub(super) config: Config,
    /// The client.
    pub(super) client: Client,
    /// The token.
    pub(super) token: Token,
    /// Since when the token is that of a login of ours, which is revoked at the end.
    logged_in: Option<Instant>,
}

impl VaultSession {
    /// Reads the configuration as the daemon does, and logs in unless `VAULT_TOKEN` is set.
    ///
    /// # Errors
    /// If the configuration is invalid, the login would use something up, or Vault refuses it.
    pub(super) async fn open(file: Option<PathBuf>) -> Result<Self, Problem> {
        let config = Source::of_process(file).load().map_err(|errors| {
            let remedy = "name the configuration of the daemon with --config, or correct it";
            Problem::wrong_input(Diagnosis::new(errors.to_string()).with_remedy(remedy))
        })?;
        let client = Client::new(&config.vault, Metrics::default()).map_err(|error| {
            Problem::wrong_input(Diagnosis {
                cause: format!("{}: {}", error.key, error.cause),
                remedy: error.remedy,
            })
        })?;
        let (token, logged_in) = match operators_token()? {
            Some(token) => (token, None),
            None => log_in(&config, &client).await?,
        };
        Ok(Self {
            config,
            client,
            token,
            logged_in,
        })
    }

    /// Reads the writing key.
    ///
    /// # Errors
    /// With the daemon's text.
    pub(super) async fn read_key(&self) -> Result<KeyInfo, Problem> {
        let key = &self.config.keys.key;
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let info = self.client.read_key(key, &self.token, deadline).await;
        info.map_err(|error| Problem::unavailable(diagnosis(key, &error)))
    }

    /// Revokes the token of a login of ours. One that is older belongs to somebody else: a caching Vault Agent answers a
    /// login with the token of the running daemon.
    pub(super) async fn close(self) {
        let Some(began) = self.logged_in else {
            return;
        };
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let namespace = &self.config.auth.namespace;
        let info = self.client.describe_self(namespace, &self.token, deadline);
        if let Ok(info) = info.await
            && info
                .age
                .is_none_or(|age| age > began.elapsed() + ROUNDED_AGE)
        {
            return;
        }
        // It expires otherwise.
        let revoked = self.client.revoke_self(namespace, &self.token, deadline);
        let _ = revoked.await;
    }
}

/// What the daemon would say of a failed call about this key.
pub(super) fn diagnosis(key: &TransitKey, error: &CallError) -> Diagnosis {
    let KeyError { cause, remedy, .. } = KeyError::of_call(key, error);
    Diagnosis { cause, remedy }
}

fn operators_token() -> Result<Option<Token>, Problem> {
    match env::var(TOKEN_VARIABLE) {
        Ok(text) if !text.trim().is_empty() => Token::try_new(&text).map(Some).map_err(|error| {
            let cause = format!("{TOKEN_VARIABLE}: {error}");
            Problem::wrong_input(
                Diagnosis::new(cause).with_remedy("set it to a token of Vault, or unset it"),
            )
        }),
        _ => Ok(None),
    }
}

async fn log_in(config: &Config, client: &Client) -> Result<(Token, Option<Instant>), Problem> {
    let cost = match config.auth.login_cost() {
        LoginCost::Nothing => None,
        LoginCost::PerhapsAUse => Some("a use of the secret_id"),
        LoginCost::PerhapsAnAttempt => Some("an attempt before the user is locked out"),
        LoginCost::Wrapping(_) => Some("the wrapped secret_id"),
    };
    if let Some(cost) = cost {
        let cause = format!("a login with the daemon's credential may use up {cost}");
        let remedy = format!(
            "set {TOKEN_VARIABLE} to a token that may read and decrypt with the key: it is used instead"
        );
        return Err(Problem::wrong_input(
            Diagnosis::new(cause).with_remedy(remedy),
        ));
    }
    let began = Instant::now();
    let grant = config.auth.log_in(client, began + LOGIN_TIMEOUT).await;
    let grant = grant.map_err(|error| Problem::unavailable(error.about("login to Vault")))?;
    let owned = config.auth.owns_token().then_some(began);
    Ok((grant.token, owned))
}
