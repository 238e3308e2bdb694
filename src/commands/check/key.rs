//! The key: its properties, and a round trip through it.

use std::time::Duration;

use tokio::time::Instant;

use super::format::rounded;
use super::{KUBE_TIMEOUT, Report};
use crate::diagnosis::Diagnosis;
use crate::keys::{self, KeyError, Plaintext, Settings};
use crate::vault::{CallError, Client, Encrypted, KeyInfo, ToEncrypt, Token, TransitKey};

/// A round trip that takes longer is a warning: it leaves less than half of kube-apiserver's time.
const SLOW: Duration = Duration::from_millis(1500);
/// How long the key may take to be read, and the round trip.
const KEY_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the key, and makes a round trip if that can work. Not otherwise: where `create` is
/// granted, an Encrypt would create a missing key.
pub(super) async fn check(client: &Client, keys: &Settings, token: &Token, report: &mut Report) {
    let key = &keys.key;
    let deadline = Instant::now() + KEY_TIMEOUT;
    let info = match client.read_key(key, token, deadline).await {
        Ok(info) => info,
        Err(error) => return report_failure("key", key, &error, report),
    };
    if let Some(unfit) = info.unfit {
        let text = format!("transit key {key} cannot serve: {}", unfit.cause);
        let remedy = format!("{}, and name it in transit.key", unfit.remedy);
        return report.unavailable("key", text, &remedy);
    }
    describe(key, &info, report);
    check_history(keys, &info, report);
    let began = Instant::now();
    match round_trip(client, key, &info, token).await {
        Ok(true) => report_time(began.elapsed(), report),
        Ok(false) => report.unavailable(
            "round trip",
            "the decrypted value differs from what was encrypted",
            "do not use this key; check what is between here and Vault",
        ),
        Err(error) => report_failure("round trip", key, &error, report),
    }
}

/// Reports a failed call as the daemon would.
fn report_failure(name: &'static str, key: &TransitKey, error: &CallError, report: &mut Report) {
    let KeyError { cause, remedy, .. } = KeyError::of_call(key, error);
    report.unavailable(
        name,
        Diagnosis { cause, remedy },
        "try again once Vault answers; its log may say more",
    );
}

fn describe(key: &TransitKey, info: &KeyInfo, report: &mut Report) {
    const NAME: &str = "key";
    let rotation = match info.auto_rotate_period {
        Duration::ZERO => "no automatic rotation".to_owned(),
        period => format!("a rotation every {}", rounded(period)),
    };
    let text = format!(
        "{key}: {}, latest version {}, decrypts from version {}, encrypts from version {}, {rotation}",
        info.kind,
        info.latest.version.get(),
        info.min_decryption_version.max(1),
        info.min_encryption_version.max(1),
    );
    report.ok(NAME, text);
    let risks = [
        (
            info.deletion_allowed,
            "can be deleted, and every Secret with it: set deletion_allowed=false",
        ),
        (
            info.exportable,
            "can be exported: whoever may do that can read etcd without Vault",
        ),
        (
            info.plaintext_backup_allowed,
            "can be backed up unencrypted: whoever may do that can read etcd without Vault",
        ),
    ];
    for (_, risk) in risks.iter().filter(|(applies, _)| *applies) {
        report.warning(NAME, format!("{key} {risk}"));
    }
}

/// Compares with what was announced here before: a key_id must not return after another one.
fn check_history(keys: &Settings, info: &KeyInfo, report: &mut Report) {
    const NAME: &str = "key_id";
    let announced = keys::announced(&keys.state_file);
    let key_id = keys.key_id(info.latest);
    if let Some(last) = announced.returns_after(&key_id) {
        let text = format!("{key_id} was announced before, and {last} after it");
        let remedy = "set transit.key_id_suffix to a new value, the same on every node: kube-apiserver \
            may otherwise keep what it wrote with the key in between";
        report.error(NAME, text, remedy);
    }
    let mut configured = vec![&keys.key];
    configured.extend(&keys.decrypt_also);
    if let Some(lost) = announced.of_no_key(&configured) {
        let text = format!(
            "{lost} was announced here, and its key is not configured: what it wrote cannot be decrypted, unless it was \
             re-encrypted; add it to transit.decrypt_also"
        );
        report.warning(NAME, text);
    }
    let below = announced.below_minimum(&keys.key, info.min_decryption_version);
    if let Some(below) = below {
        let minimum = info.min_decryption_version;
        let text = format!(
            "min_decryption_version is {minimum}: what {below} wrote cannot be decrypted, unless it was re-encrypted"
        );
        report.warning(NAME, text);
    }
}

/// Whether 32 random bytes are the same after Encrypt and Decrypt.
async fn round_trip(
    client: &Client,
    key: &TransitKey,
    info: &KeyInfo,
    token: &Token,
) -> Result<bool, CallError> {
    let mut bytes = vec![0; 32];
    // Without randomness zeros will do: they are not a secret.
    let _ = getrandom::fill(&mut bytes);
    let plaintext = Plaintext::new(bytes.clone());
    let deadline = Instant::now() + KEY_TIMEOUT;
    let item = ToEncrypt {
        plaintext: &plaintext,
        version: Some(info.latest.version),
        associated_data: None,
    };
    let mut encrypted = client.encrypt(key, &[item], token, deadline).await?;
    let Some(encrypted) = encrypted.pop() else {
        return Ok(false);
    };
    let Encrypted { ciphertext, .. } = encrypted?;
    let mut decrypted = client
        .decrypt(key, &[(&ciphertext).into()], token, deadline)
        .await?;
    let Some(decrypted) = decrypted.pop() else {
        return Ok(false);
    };
    Ok(decrypted?.expose_secret() == bytes)
}

fn report_time(took: Duration, report: &mut Report) {
    let text = format!(
        "32 bytes were encrypted and decrypted in {} ms; kube-apiserver waits {} s for each",
        took.as_millis(),
        KUBE_TIMEOUT.as_secs()
    );
    if took > SLOW {
        report.warning("round trip", text);
    } else {
        report.ok("round trip", text);
    }
}
