//! The Transit key of the daemon's configuration, with the token of an operator.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::diagnosis::Diagnosis;
use crate::keys::KeyId;
use crate::kmsctl::output::Problem;
use crate::system::Exit;
use crate::telemetry::metrics::Metrics;
use crate::vault::{ApiErrorKind, CallError, Client, KeyVersions, Token};

/// How long a call to Vault may take.
const TIMEOUT: Duration = Duration::from_secs(30);
const TOKEN_VARIABLE: &str = "VAULT_TOKEN";

/// The key.
#[derive(Debug)]
pub(super) struct Key<'a> {
    config: &'a Config,
    client: Client,
    token: Token,
}

impl<'a> Key<'a> {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// If there is no token, or a certificate cannot be used.
    pub(super) fn new(config: &'a Config, token_file: Option<&Path>) -> Result<Self, Problem> {
        let token = token(token_file).map_err(|cause| Problem::new(cause, Exit::Config))?;
        let client = Client::new(&config.vault, Metrics::default()).map_err(|error| {
            let cause = Diagnosis {
                cause: format!("{}: {}", error.key, error.cause),
                remedy: error.remedy,
            };
            Problem::new(cause, Exit::Config)
        })?;
        Ok(Self {
            config,
            client,
            token,
        })
    }

    /// Its versions.
    pub(super) async fn versions(&self) -> Result<KeyVersions, Problem> {
        let (key, deadline) = (&self.config.keys.key, Instant::now() + TIMEOUT);
        let versions = self.client.key_versions(key, &self.token, deadline).await;
        versions.map_err(|error| self.problem("read", &error))
    }

    /// Adds a version.
    pub(super) async fn rotate(&self) -> Result<(), Problem> {
        let (key, deadline) = (&self.config.keys.key, Instant::now() + TIMEOUT);
        let rotated = self.client.rotate_key(key, &self.token, deadline).await;
        rotated.map_err(|error| self.problem("rotate", &error))
    }

    /// The key_id of the version that encrypts.
    pub(super) fn key_id(&self, versions: &KeyVersions) -> KeyId {
        self.config.keys.key_id(versions.latest)
    }

    /// What each hash of a key_id is of, for an operator.
    pub(super) fn names(&self, versions: &KeyVersions) -> HashMap<String, String> {
        let all = versions.all.iter();
        all.map(|stamp| {
            let key_id = self.config.keys.key_id(*stamp);
            (
                key_id.hash(),
                format!("version {} ({key_id})", stamp.version.get()),
            )
        })
        .collect()
    }

    fn problem(&self, verb: &str, error: &CallError) -> Problem {
        let key = &self.config.keys.key;
        let mut cause = error
            .diagnosis()
            .about(format!("cannot {verb} the key {key}"));
        let is_denied = matches!(
            error,
            CallError::Api {
                kind: ApiErrorKind::PolicyDenied,
                ..
            }
        );
        if is_denied {
            let path = key.path("keys");
            cause = cause.with_remedy(format!(
                "use a token whose policy has read on {path} and update on {path}/rotate"
            ));
        }
        Problem::new(cause, Exit::Unavailable)
    }
}

fn token(file: Option<&Path>) -> Result<Token, Diagnosis> {
    let (name, text) = match file {
        Some(file) => {
            let name = format!("--token-file {}", file.display());
            let text = std::fs::read_to_string(file);
            let text =
                text.map_err(|error| Diagnosis::new(format!("{name}: cannot be read: {error}")))?;
            (name, Zeroizing::new(text))
        }
        None => {
            let text = std::env::var(TOKEN_VARIABLE).map_err(|_| {
                Diagnosis::new(format!("{TOKEN_VARIABLE} is not set")).with_remedy(
                    "set it to a token that may rotate the key, or name a file with --token-file",
                )
            })?;
            (TOKEN_VARIABLE.to_owned(), Zeroizing::new(text))
        }
    };
    Token::try_new(&text).map_err(|error| Diagnosis::new(format!("{name}: {error}")))
}
