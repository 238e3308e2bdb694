//! Which wrapping token is tried, and which secret_ids are replaced. No test asks Vault.

use std::path::Path;

use tempfile::TempDir;
use tokio::time::{advance, pause};

use super::*;
use crate::session::secret_id_store::SecretIdRecord;
use crate::vault::ApiErrorKind;

const OURS: &str = "auth/approle/role/plugin/secret-id";

fn wrapped(dir: &Path) -> Wrapped {
    let mount = MountPath::try_new("approle").expect("a mount");
    let file = Credential::file("auth.wrapping_token_file", dir.join("wrapping-token"));
    Wrapped::new(
        file,
        &mount,
        "plugin".to_owned(),
        dir.join("kms.secret-id.json"),
    )
}

fn stored(secret_id: &str, wrapping_token: &str, creation_path: &str) -> StoredSecretIds {
    StoredSecretIds {
        current: SecretIdRecord {
            secret_id: secret_id.to_owned(),
            wrapping_token: wrapping_token.to_owned(),
            creation_path: creation_path.to_owned(),
        },
        previous: None,
    }
}

async fn store(wrapped: &Wrapped, stored: StoredSecretIds) {
    let reserved = secret_id_store::reserve(wrapped.store.clone()).await;
    let saved = secret_id_store::save(reserved.expect("reserved"), stored).await;
    saved.expect("saved");
}

fn token(text: &str) -> Token {
    Token::try_new(text).expect("a token")
}

fn api(kind: ApiErrorKind, message: &str) -> CallError {
    CallError::Api {
        path: "sys/wrapping/lookup".to_owned(),
        status: 400,
        message: message.to_owned(),
        kind,
        retry_after: None,
    }
}

#[tokio::test]
async fn a_new_wrapping_token_is_pending_once_an_earlier_one_was_stored() {
    let dir = TempDir::new().expect("a directory");
    let wrapped = wrapped(dir.path());
    assert_eq!(wrapped.pending_token().await, PendingToken::None, "no file");
    std::fs::write(dir.path().join("wrapping-token"), "second").expect("written");
    assert_eq!(
        wrapped.pending_token().await,
        PendingToken::Deferred,
        "the first login"
    );
    store(
        &wrapped,
        stored("s", "first", "auth/approle/role/another/secret-id"),
    )
    .await;
    assert_eq!(
        wrapped.pending_token().await,
        PendingToken::Deferred,
        "of another role"
    );
    store(&wrapped, stored("s", "first", OURS)).await;
    assert_eq!(wrapped.pending_token().await, PendingToken::Ready);
    store(&wrapped, stored("s", "second", OURS)).await;
    assert_eq!(
        wrapped.pending_token().await,
        PendingToken::None,
        "it is spent"
    );
}

#[tokio::test]
async fn a_token_that_failed_is_tried_again_later_or_never_and_another_one_at_once() {
    let dir = TempDir::new().expect("a directory");
    let wrapped = wrapped(dir.path());
    std::fs::write(dir.path().join("wrapping-token"), "second").expect("written");
    store(&wrapped, stored("s", "first", OURS)).await;
    let later = wrapped.unusable(&api(ApiErrorKind::Transient, "internal error"));
    assert!(!wrapped.is_deferred(&token("second")));
    wrapped.defer(token("second"), &later);
    assert!(wrapped.is_deferred(&token("second")) && !wrapped.is_deferred(&token("third")));
    assert_eq!(wrapped.pending_token().await, PendingToken::Deferred);
    pause();
    advance(DEFER_FOR - Duration::from_secs(5)).await;
    assert!(wrapped.is_deferred(&token("second")));
    advance(Duration::from_secs(5)).await;
    assert!(!wrapped.is_deferred(&token("second")), "it is tried again");
    let spent = wrapped.unusable(&api(
        ApiErrorKind::Other,
        "wrapping token is not valid or does not exist",
    ));
    assert_eq!(
        spent.class(),
        super::super::error::LoginErrorClass::UntrustedWrapping
    );
    wrapped.defer(token("second"), &spent);
    advance(100 * DEFER_FOR).await;
    assert!(
        wrapped.is_deferred(&token("second")),
        "only another one can help"
    );
    tokio::time::resume();
    assert_eq!(wrapped.pending_token().await, PendingToken::None);
    std::fs::write(dir.path().join("wrapping-token"), "third").expect("written");
    assert_eq!(wrapped.pending_token().await, PendingToken::Ready);
}

#[tokio::test]
async fn stored_secret_ids_are_those_of_the_role_and_a_damaged_file_holds_none() {
    let dir = TempDir::new().expect("a directory");
    let wrapped = wrapped(dir.path());
    let load = || async {
        wrapped
            .load()
            .await
            .map(|it| it.map(|it| it.current.secret_id.clone()))
    };
    assert_eq!(load().await.expect("no file"), None);
    store(&wrapped, stored("s", "first", OURS)).await;
    assert_eq!(load().await.expect("a file").as_deref(), Some("s"));
    store(
        &wrapped,
        stored("s", "first", "auth/other/role/plugin/secret-id"),
    )
    .await;
    assert_eq!(load().await.expect("of another mount"), None);
    std::fs::write(&wrapped.store, "{").expect("written");
    assert_eq!(load().await.expect("damaged"), None);
    std::fs::remove_file(&wrapped.store).expect("removed");
    std::fs::create_dir(&wrapped.store).expect("a directory in its place");
    assert!(load().await.is_err());
}

#[tokio::test]
async fn secret_ids_are_replaced_unless_another_process_has_done_that() {
    let dir = TempDir::new().expect("a directory");
    let wrapped = wrapped(dir.path());
    let current = || async {
        let stored = wrapped.load().await.expect("it can be read");
        stored.map(|it| it.current.secret_id.clone())
    };
    wrapped.replace("first", stored("a", "first", OURS)).await;
    assert_eq!(current().await.as_deref(), Some("a"), "there was none");
    wrapped.replace("first", stored("b", "first", OURS)).await;
    assert_eq!(current().await.as_deref(), Some("b"), "it is the same");
    wrapped
        .replace("another", stored("c", "another", OURS))
        .await;
    assert_eq!(
        current().await.as_deref(),
        Some("b"),
        "another process was first"
    );
    let soon = Instant::now() + Duration::from_secs(5);
    let held = wrapped.lock(soon).await.expect("a lock");
    wrapped.replace("first", stored("d", "first", OURS)).await;
    assert_eq!(
        current().await.as_deref(),
        Some("b"),
        "another process is at work"
    );
    drop(held);
    assert!(!wrapped.is_unwrapping());
    wrapped.set_unwrapping(true);
    assert!(wrapped.is_unwrapping());
}
