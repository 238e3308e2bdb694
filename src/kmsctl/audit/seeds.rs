//! Unwraps seeds through Vault: each distinct one once, many in a request, and forgets what it need not keep.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::seed_keys::{SeedKey, SeedKeys, Wanted, WrappedSeed};
use super::tally::SeedHash;
use crate::diagnosis::Diagnosis;
use crate::kmsctl::output::Problem;
use crate::kmsctl::vault_session::{REQUEST_TIMEOUT, VaultSession, diagnosis};
use crate::vault::{
    ApiErrorKind, CallError, Ciphertext, Outcomes, Plaintext, ToDecrypt, TransitKey,
};

/// As many as the daemon sends at a time.
const BATCH: usize = 128;
/// How many outcomes are kept. Under KMS v2 there are as many seeds as kube-apiservers were started and keys rotated;
/// under v1 as many as objects, of which none is met twice.
const MAX_KEPT: usize = 20_000;
/// How long a Vault that fails transiently is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The outcome for a seed.
pub(super) type Unwrapped = Result<Plaintext, SeedError>;

/// Why a seed cannot be unwrapped: what Vault said, and what that means for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeedError {
    /// What it is about, as a group of objects with the same remedy.
    pub(super) cause: String,
    /// What makes the objects readable again.
    pub(super) remedy: String,
}

/// The seeds that were unwrapped.
pub(super) struct Seeds {
    session: VaultSession,
    keys: SeedKeys,
    known: HashMap<SeedHash, Unwrapped>,
    /// How many requests for distinct seeds were made.
    pub(super) unwrapped: u64,
}

impl Seeds {
    /// None yet.
    pub(super) fn new(session: VaultSession) -> Self {
        Self {
            keys: SeedKeys::of(&session.config.keys),
            session,
            known: HashMap::new(),
            unwrapped: 0,
        }
    }

    /// The outcome for a seed that [`Self::unwrap`] was asked for with the same page.
    pub(super) fn get(&self, wanted: &Wanted<'_>) -> Option<&Unwrapped> {
        self.known.get(&wanted.hash())
    }

    /// Ends the session.
    pub(super) async fn close(self) {
        self.session.close().await;
    }

    /// Unwraps those that are not known yet.
    ///
    /// # Errors
    /// If Vault cannot be asked at all: unreachable, sealed, the token invalid, the policy denies it.
    pub(super) async fn unwrap(&mut self, wanted: &[Wanted<'_>]) -> Result<(), Problem> {
        let mut fresh = self.fresh(wanted);
        if self.known.len() + fresh.len() > MAX_KEPT {
            self.known.clear();
            fresh = self.fresh(wanted);
        }
        let mut by_order: BTreeMap<Vec<usize>, Vec<(SeedHash, WrappedSeed)>> = BTreeMap::new();
        for (hash, one) in fresh {
            let seed = Ciphertext::try_new(one.wrapped.to_vec())
                .map_err(|error| foreign(&error.to_string()))
                .and_then(|ciphertext| self.keys.order(&one, ciphertext).map_err(unbound));
            match seed {
                Err(error) => {
                    self.known.insert(hash, Err(error));
                }
                Ok((order, seed)) => by_order.entry(order).or_default().push((hash, seed)),
            }
        }
        for (order, all) in by_order {
            for batch in all.chunks(BATCH) {
                self.unwrap_batch(&order, batch).await?;
            }
        }
        Ok(())
    }

    /// Those that are not known yet, each once.
    fn fresh<'a>(&self, wanted: &[Wanted<'a>]) -> HashMap<SeedHash, Wanted<'a>> {
        let hashed = wanted.iter().map(|one| (one.hash(), *one));
        hashed
            .filter(|(hash, _)| !self.known.contains_key(hash))
            .collect()
    }

    /// Tries the likeliest key with all of them, and the other keys with those that it did not decrypt.
    async fn unwrap_batch(
        &mut self,
        order: &[usize],
        batch: &[(SeedHash, WrappedSeed)],
    ) -> Result<(), Problem> {
        let mut left: Vec<&(SeedHash, WrappedSeed)> = batch.iter().collect();
        self.unwrapped += batch.len() as u64;
        for index in order {
            let Some(key) = self.keys.get(*index) else {
                continue;
            };
            let seeds: Vec<_> = left.iter().map(|(_, seed)| seed).collect();
            let outcomes = self.decrypt(key, &seeds).await?;
            let mut failed = Vec::new();
            for (one, outcome) in left.into_iter().zip(outcomes) {
                let is_known = matches!(self.known.get(&one.0), Some(Err(_)));
                match outcome {
                    Ok(unwrapped) => {
                        let seed = one.1.seed(unwrapped).map_err(unbound);
                        self.known.insert(one.0, seed);
                    }
                    // What the likeliest key says is what matters.
                    Err(error) => {
                        if !is_known {
                            self.known.insert(one.0, Err(error));
                        }
                        failed.push(one);
                    }
                }
            }
            left = failed;
            if left.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// One request; where it fails as a whole because of what is in it, its halves.
    async fn decrypt(
        &self,
        by: &SeedKey,
        seeds: &[&WrappedSeed],
    ) -> Result<Vec<Unwrapped>, Problem> {
        let key = &by.key;
        let mut outcomes = Vec::with_capacity(seeds.len());
        let mut parts = vec![seeds];
        while let Some(part) = parts.pop() {
            match self.request(by, part).await? {
                Ok(all) => {
                    for one in all {
                        outcomes.push(seed(by, one)?);
                    }
                }
                Err(error) if is_about_the_key(&error) => {
                    let text = diagnosis(key, &error);
                    outcomes.extend(part.iter().map(|_| Err(lost(key, &text))));
                }
                Err(error) if !is_about_the_seed(&error) => {
                    return Err(Problem::unavailable(diagnosis(key, &error)));
                }
                Err(error) if part.len() == 1 => outcomes.push(Err(rejected(by, &error))),
                Err(_) => {
                    // The first half is next, so that the order stays.
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(outcomes)
    }

    /// One request, repeated while Vault fails transiently.
    async fn request(
        &self,
        by: &SeedKey,
        seeds: &[&WrappedSeed],
    ) -> Result<Result<Outcomes<Plaintext>, CallError>, Problem> {
        let give_up = Instant::now() + PATIENCE;
        let (client, token) = (&self.session.client, &self.session.token);
        let data: Vec<_> = seeds.iter().map(|seed| by.associated_data(seed)).collect();
        let items = seeds.iter().zip(&data).map(|(seed, data)| ToDecrypt {
            ciphertext: &seed.ciphertext,
            associated_data: data.as_ref(),
        });
        let items: Vec<_> = items.collect();
        loop {
            let deadline = Instant::now() + REQUEST_TIMEOUT;
            let outcome = client.decrypt(&by.key, &items, token, deadline).await;
            let transient = match &outcome {
                Ok(all) => all
                    .iter()
                    .find_map(|one| one.as_ref().err().filter(|it| it.is_transient())),
                Err(error) => Some(error).filter(|error| error.is_transient()),
            };
            let Some(error) = transient else {
                return Ok(outcome);
            };
            if Instant::now() > give_up {
                return Err(Problem::unavailable(diagnosis(&by.key, error)));
            }
            sleep(error.retry_after().unwrap_or(RETRY_AFTER).min(PATIENCE)).await;
        }
    }
}

/// Whether no value of this key can be decrypted, as opposed to this token, or this moment.
fn is_about_the_key(error: &CallError) -> bool {
    matches!(
        error.api_error(),
        Some(
            ApiErrorKind::KeyMissing
                | ApiErrorKind::NotMounted
                | ApiErrorKind::NamespaceMissing
                | ApiErrorKind::KeyUnable
        )
    )
}

/// Whether this value cannot be decrypted. A request with one value fails with it as a whole.
fn is_about_the_seed(error: &CallError) -> bool {
    matches!(
        error.api_error(),
        Some(
            ApiErrorKind::VersionTooOld | ApiErrorKind::VersionTooNew | ApiErrorKind::BadCiphertext
        )
    )
}

fn seed(by: &SeedKey, outcome: Result<Plaintext, CallError>) -> Result<Unwrapped, Problem> {
    let key = &by.key;
    match outcome {
        Ok(plaintext) => Ok(Ok(plaintext)),
        Err(error) if is_about_the_key(&error) => Ok(Err(lost(key, &diagnosis(key, &error)))),
        Err(error) if is_about_the_seed(&error) => Ok(Err(rejected(by, &error))),
        Err(error) => Err(Problem::unavailable(diagnosis(key, &error))),
    }
}

/// A seed that Vault rejects by itself.
fn rejected(by: &SeedKey, error: &CallError) -> SeedError {
    let key = &by.key;
    let cause = diagnosis(key, error).cause;
    let remedy = match error.api_error() {
        Some(ApiErrorKind::VersionTooOld) => format!(
            "make the version usable again: lower min_decryption_version of {key}, or restore the key from a backup if \
             it was trimmed"
        ),
        Some(ApiErrorKind::VersionTooNew) => format!(
            "the server does not have this version of {key}: ask the leader of the cluster, or restore the key from a \
             newer backup"
        ),
        _ if by.is_bound() => format!(
            "correct provider_name, cluster_id and instance_id of the entry of {key} in transit.decrypt_also; or restore \
             the key, as it was when it encrypted this, from a backup of the key or of Vault"
        ),
        _ => format!(
            "restore {key}, as it was when it encrypted this, from a backup of the key or of Vault"
        ),
    };
    SeedError { cause, remedy }
}

/// A key that cannot decrypt anything.
fn lost(key: &TransitKey, text: &Diagnosis) -> SeedError {
    SeedError {
        cause: text.cause.clone(),
        remedy: format!(
            "restore {key} from a backup of the key or of Vault, or correct the configuration if it is another one"
        ),
    }
}

/// A seed that is bound to labels which cannot be rebuilt.
fn unbound(Diagnosis { cause, remedy }: Diagnosis) -> SeedError {
    SeedError {
        cause,
        remedy: remedy.unwrap_or_default(),
    }
}

/// A seed that another plugin wrapped, or that is damaged.
fn foreign(cause: &str) -> SeedError {
    SeedError {
        cause: format!("its wrapped seed: {cause}"),
        remedy: "if another plugin wrote it, use that plugin to read it; otherwise restore the object from a backup of etcd".to_owned(),
    }
}
