//! What Vault answers and what kube-apiserver gets: each error has its gRPC code, names the Vault
//! path, repeats Vault's words and says how to fix it. The texts are those of Vault and OpenBao;
//! a proxy says them, because most cannot be had from a real server on request.

use std::time::Duration;

use tonic::{Code, Status};

use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::{LIMIT, ready_daemon_behind_proxy};

const SEED: [u8; 32] = [11; 32];
/// Passing faults are repeated until shortly before the deadline, so it is a short one; the longer
/// one is for a machine that is too busy for it.
const TIMEOUTS: [Duration; 2] = [Duration::from_millis(400), Duration::from_secs(4)];

/// Vault's status and words, the code of the answer, and a part of the remedy in its text.
type Row = (u16, &'static str, Code, &'static str);

const WRAPPED_DENIED: &str = "1 error occurred:\n\t* permission denied\n\n";
const INVALID_TOKEN: &str = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
const GRANT: &str = "has to grant `update`";
const CREATE: &str = "or create it if nothing was ever encrypted with it, or correct transit.key";
const MOUNT: &str = "correct transit.mount and vault.namespace, or its entry in transit.decrypt_also; or enable it if nothing was ever encrypted there";
const NAMESPACE: &str = "correct vault.namespace, or its entry in transit.decrypt_also; or create it if nothing was ever encrypted there";
const LAG: &str = "a standby that lags, or a restored snapshot";
const TOO_OLD_TO_WRITE: &str = "the minimum version of transit key";
const TOO_OLD_TO_READ: &str = "below the key's min_decryption_version";
const OTHER_KEY: &str = "was not made by transit key";
const UNABLE: &str = "use one of type aes256-gcm96";
const QUOTA: &str = "raise the rate limit quota";
const NO_REMEDY: &str = "";

/// Vault's answers to any call: section 0 of its API.
const ANY_CALL: [Row; 21] = {
    use Code::*;
    [
        (403, "permission denied", PermissionDenied, GRANT),
        (403, INVALID_TOKEN, PermissionDenied, GRANT),
        (403, WRAPPED_DENIED, PermissionDenied, GRANT),
        (400, "encryption key not found", FailedPrecondition, CREATE),
        (
            404,
            "no handler for route \"m/encrypt/k\". route entry not found.",
            FailedPrecondition,
            MOUNT,
        ),
        (
            404,
            "1 error occurred:\n\t* unsupported path\n\n",
            FailedPrecondition,
            MOUNT,
        ),
        (404, "namespace not found", FailedPrecondition, NAMESPACE),
        (503, "Vault is sealed", Unavailable, NO_REMEDY),
        (503, "namespace is sealed", Unavailable, NO_REMEDY),
        (
            503,
            "API access to this namespace has been locked by an administrator - \"ns/\" must be unlocked to gain access.",
            Unavailable,
            NO_REMEDY,
        ),
        (
            500,
            "local node not active but active cluster node not found",
            Unavailable,
            NO_REMEDY,
        ),
        (
            503,
            "no active Vault instance found",
            Unavailable,
            NO_REMEDY,
        ),
        (503, "node is not active", Unavailable, NO_REMEDY),
        (
            500,
            "active context canceled after getting state lock",
            Unavailable,
            NO_REMEDY,
        ),
        (
            500,
            "1 error occurred:\n\t* internal error\n\n",
            Unavailable,
            NO_REMEDY,
        ),
        (
            429,
            "request path \"m/encrypt/k\": rate limit quota exceeded",
            ResourceExhausted,
            QUOTA,
        ),
        (502, "upstream rate limited", Unavailable, NO_REMEDY),
        (
            412,
            "required index state not present",
            Unavailable,
            NO_REMEDY,
        ),
        (
            413,
            "http: request body too large",
            InvalidArgument,
            NO_REMEDY,
        ),
        (
            400,
            "refused JSON input due to high complexity: exceeded maximum number of strings",
            InvalidArgument,
            NO_REMEDY,
        ),
        (
            400,
            "failed to decode JSON input: unexpected EOF",
            InvalidArgument,
            NO_REMEDY,
        ),
    ]
};

/// Transit's refusals of an Encrypt.
const ENCRYPT: [Row; 8] = {
    use Code::*;
    [
        (
            400,
            "requested version for encryption is higher than the latest key version",
            Unavailable,
            LAG,
        ),
        (
            400,
            "requested version for encryption is less than the minimum encryption key version",
            FailedPrecondition,
            TOO_OLD_TO_WRITE,
        ),
        (
            400,
            "1 error occurred:\n\t* no such key version\n\n",
            FailedPrecondition,
            TOO_OLD_TO_WRITE,
        ),
        (
            400,
            "message encryption not supported for key type ed25519",
            FailedPrecondition,
            UNABLE,
        ),
        (
            400,
            "refusing to use soft-deleted key",
            FailedPrecondition,
            UNABLE,
        ),
        (
            400,
            "missing 'context' for key derivation; the key was created using a derived key",
            FailedPrecondition,
            UNABLE,
        ),
        (
            500,
            "failed to RSA encrypt the plaintext: message too long",
            InvalidArgument,
            NO_REMEDY,
        ),
        (
            400,
            "missing plaintext to encrypt",
            InvalidArgument,
            NO_REMEDY,
        ),
    ]
};

/// Transit's refusals of a Decrypt.
const DECRYPT: [Row; 15] = {
    use Code::*;
    [
        (400, "encryption key not found", FailedPrecondition, CREATE),
        (
            400,
            "missing ciphertext to decrypt",
            InvalidArgument,
            NO_REMEDY,
        ),
        (
            400,
            "invalid ciphertext: no prefix",
            InvalidArgument,
            OTHER_KEY,
        ),
        (
            400,
            "invalid ciphertext: wrong number of fields",
            InvalidArgument,
            OTHER_KEY,
        ),
        (
            400,
            "invalid ciphertext: version number could not be decoded",
            InvalidArgument,
            OTHER_KEY,
        ),
        (
            400,
            "invalid ciphertext: could not decode base64",
            InvalidArgument,
            OTHER_KEY,
        ),
        (400, "invalid ciphertext length", InvalidArgument, OTHER_KEY),
        (
            400,
            "cipher: message authentication failed",
            InvalidArgument,
            OTHER_KEY,
        ),
        (
            400,
            "chacha20poly1305: message authentication failed",
            InvalidArgument,
            OTHER_KEY,
        ),
        (
            500,
            "1 error occurred:\n\t* failed to RSA decrypt the ciphertext: crypto/rsa: decryption error\n\n",
            InvalidArgument,
            OTHER_KEY,
        ),
        (
            400,
            "invalid ciphertext: version is too new",
            Unavailable,
            LAG,
        ),
        (
            400,
            "ciphertext or signature version is disallowed by policy (too old)",
            FailedPrecondition,
            TOO_OLD_TO_READ,
        ),
        (
            400,
            "message decryption not supported for key type hmac",
            FailedPrecondition,
            UNABLE,
        ),
        (
            400,
            "refusing to use soft-deleted key",
            FailedPrecondition,
            UNABLE,
        ),
        (
            500,
            "cannot decrypt ciphertext, key version does not have a private counterpart",
            FailedPrecondition,
            UNABLE,
        ),
    ]
};

async fn every_refusal_of_vaults_has_its_code_and_its_remedy() {
    let (fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    let path = |operation: &str| format!("{}/{operation}/{}", fixture.mount, fixture.key);
    for row in ANY_CALL.iter().chain(&ENCRYPT) {
        say_at(&proxy, "/encrypt/", row);
        let error = refused(&client, async |client| client.encrypt(&SEED).await).await;
        assert_described(&error, row, &path("encrypt"));
    }
    for row in &ENCRYPT {
        say_at(&proxy, "/encrypt/", row);
        let error = refused(&client, async |client| client.encrypt_v1(&SEED).await).await;
        assert_described(&error, row, &path("encrypt"));
    }
    for row in ANY_CALL.iter().chain(&DECRYPT) {
        say_at(&proxy, "/decrypt/", row);
        let decrypt = async |client: KmsClient| client.decrypt(&ciphertext, &key_id).await;
        let error = refused(&client, decrypt).await;
        assert_described(&error, row, &path("decrypt"));
    }
    proxy.clear();
    // The key's own canary may have been refused, too: the next refresh shows that it works.
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap();
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
}

/// The error of a call that cannot succeed.
async fn refused<T: std::fmt::Debug>(
    client: &KmsClient,
    call: impl AsyncFn(KmsClient) -> Result<T, Status>,
) -> Status {
    let mut error = Status::unknown("not called");
    for timeout in TIMEOUTS {
        error = call(client.with_timeout(timeout)).await.unwrap_err();
        // On a busy machine not even the first attempt may have its answer.
        if error.code() != Code::DeadlineExceeded {
            break;
        }
    }
    error
}

/// Nothing but this is said there from now on.
fn say_at(proxy: &Proxy, path: &str, row: &Row) {
    proxy.clear();
    proxy.fault(path, Fault::error(row.0, row.1));
}

fn assert_described(error: &Status, (status, words, code, remedy): &Row, path: &str) {
    let text = error.message();
    assert_eq!(error.code(), *code, "{status} {words:?}: {text}");
    let bare = words.rsplit("* ").next().unwrap_or_default().trim();
    for part in [path, bare, remedy] {
        assert!(
            text.contains(part),
            "{status} {words:?}: no {part:?} in {text:?}"
        );
    }
}

async fn what_is_no_answer_of_vaults_has_its_code() {
    let (fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let answer = |status, body: &str| Fault::Answer {
        status,
        body: body.to_owned(),
        content_type: "application/json".to_owned(),
    };
    let encrypted = |text: &str| {
        let data = serde_json::json!({ "ciphertext": text, "key_version": 1 });
        answer(200, &serde_json::json!({ "data": data }).to_string())
    };
    let table = [
        (Fault::Refuse, Code::Unavailable),
        (Fault::Hang, Code::DeadlineExceeded),
        (answer(502, "<html>Bad Gateway</html>"), Code::Unavailable),
        (answer(403, "<html>Forbidden</html>"), Code::Unavailable),
        (answer(404, "<html>Not Found</html>"), Code::Unavailable),
        (answer(200, "<html>Welcome</html>"), Code::Internal),
        (answer(200, "{\"data\":null}"), Code::Internal),
        (answer(204, ""), Code::Internal),
        (encrypted("vault:v2:AAAA"), Code::Internal),
        (encrypted("no ciphertext"), Code::Internal),
    ];
    for (fault, code) in table {
        proxy.clear();
        proxy.fault("/encrypt/", fault.clone());
        let error = refused(&client, async |client| client.encrypt(&SEED).await).await;
        assert_eq!(error.code(), code, "{fault:?}: {error}");
        let path = format!("{}/encrypt/{}", fixture.mount, fixture.key);
        assert!(error.message().contains(&path), "{fault:?}: {error}");
    }
}

tests! {
    single every_refusal_of_vaults_has_its_code_and_its_remedy [Vault];
    single what_is_no_answer_of_vaults_has_its_code [Vault];
}
