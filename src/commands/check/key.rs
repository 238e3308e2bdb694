//! The key: what it is, and that it gives back what it wrapped.

use std::time::Duration;

use tokio::time::Instant;

use super::Report;
use super::words::about;
use crate::keys::{KeyError, Plaintext};
use crate::vault::{CallError, Client, Encrypted, KeyInfo, ToEncrypt, Token, TransitKey};

/// What kube-apiserver waits by default.
pub(super) const KUBE_TIMEOUT: Duration = Duration::from_secs(3);
/// A round trip that leaves less than half of that is told of.
const SLOW: Duration = Duration::from_millis(1500);
const LIMIT: Duration = Duration::from_secs(5);

/// Looks at the key, and makes a round trip where that can work. Not otherwise: where `create` is
/// granted, an Encrypt would make a key that is not there.
pub(super) async fn prove(client: &Client, key: &TransitKey, token: &Token, report: &mut Report) {
    let info = match client.read_key(key, token, Instant::now() + LIMIT).await {
        Ok(info) => info,
        Err(error) => return refuse("key", key, &error, report),
    };
    if let Some(why) = info.unfit {
        let text = KeyError::unfit(key, why).to_string();
        let (cause, remedy) = text.rsplit_once(": ").unwrap_or((&text, ""));
        return report.unavailable(
            "key",
            cause,
            &format!("{remedy}, and name it in transit.key"),
        );
    }
    tell(key, &info, report);
    let began = Instant::now();
    match round_trip(client, key, &info, token).await {
        Ok(true) => time(began.elapsed(), report),
        Ok(false) => {
            let remedy = "look at vault: this must never happen";
            report.unavailable("round trip", "it brought something else back", remedy);
        }
        Err(error) => refuse("round trip", key, &error, report),
    }
}

/// In the daemon's words.
fn refuse(name: &'static str, key: &TransitKey, error: &CallError, report: &mut Report) {
    let cause = format!("vault: {error}");
    let text = KeyError::of_call(key, error).to_string();
    let remedy = text.strip_prefix(&cause).unwrap_or_default();
    let remedy = match remedy.trim_start_matches("; ") {
        "" => "try again once vault answers; its log may say more",
        told => told,
    };
    // Vault has no words for a key that is not there.
    report.unavailable(name, cause.trim_end_matches(": "), remedy);
}

fn tell(key: &TransitKey, info: &KeyInfo, report: &mut Report) {
    const NAME: &str = "key";
    let rotated = match info.auto_rotate_period {
        Duration::ZERO => "no rotation by itself".to_owned(),
        period => format!("a rotation every {}", about(period)),
    };
    let text = format!(
        "{key}: {}, latest version {}, decrypts from version {}, encrypts from version {}, {rotated}",
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
            "can be exported: whoever may do that can read etcd without vault",
        ),
        (
            info.plaintext_backup_allowed,
            "can be backed up unencrypted: whoever may do that can read etcd without vault",
        ),
    ];
    for (_, risk) in risks.iter().filter(|(is_so, _)| *is_so) {
        report.warning(NAME, format!("{key} {risk}"));
    }
}

/// Whether 32 random bytes came back as they were.
async fn round_trip(
    client: &Client,
    key: &TransitKey,
    info: &KeyInfo,
    token: &Token,
) -> Result<bool, CallError> {
    let mut seed = vec![0; 32];
    // Without randomness zeros do: they are nobody's secret.
    let _ = getrandom::fill(&mut seed);
    let plaintext = Plaintext::new(seed.clone());
    let deadline = Instant::now() + LIMIT;
    let item = ToEncrypt {
        plaintext: &plaintext,
        version: Some(info.latest.version),
    };
    let mut encrypted = client.encrypt(key, &[item], token, deadline).await?;
    let Some(encrypted) = encrypted.pop() else {
        return Ok(false);
    };
    let Encrypted { ciphertext, .. } = encrypted?;
    let mut decrypted = client.decrypt(key, &[&ciphertext], token, deadline).await?;
    let Some(decrypted) = decrypted.pop() else {
        return Ok(false);
    };
    Ok(decrypted?.expose_secret() == seed)
}

fn time(took: Duration, report: &mut Report) {
    let text = format!(
        "32 bytes were encrypted and decrypted in {} ms; kube-apiserver waits {} s for each",
        took.as_millis(),
        KUBE_TIMEOUT.as_secs()
    );
    match took > SLOW {
        true => report.warning("round trip", text),
        false => report.ok("round trip", text),
    }
}
