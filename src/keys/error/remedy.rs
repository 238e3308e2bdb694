//! What to do about an error that Vault gave.

use super::kind::ErrorKind;
use crate::vault::{ApiErrorKind, TransitKey};

/// Where a key that only decrypts is named.
const ENTRY: &str = ", or its entry in transit.decrypt_also";

/// The kind of an error that Vault gave, and what to do about it.
pub(super) fn of_api_error(key: &TransitKey, api: ApiErrorKind) -> (ErrorKind, Option<String>) {
    let (kind, remedy) = match api {
        ApiErrorKind::PolicyDenied | ApiErrorKind::TokenRefused => (
            ErrorKind::Denied,
            format!(
                "the policy of this token has to grant `update` on {} and {}, and `read` on {}; or \
                 correct transit.key, transit.mount, vault.namespace{ENTRY} (a key that does not \
                 exist is answered in the same way){}",
                key.path("encrypt"),
                key.path("decrypt"),
                key.path("keys"),
                other_namespaces(key)
            ),
        ),
        ApiErrorKind::KeyMissing => (
            ErrorKind::Precondition,
            format!("there is no transit key {key}: restore it, or create it if nothing was ever encrypted with it, or correct transit.key{ENTRY}"),
        ),
        ApiErrorKind::NotMounted => (
            ErrorKind::Precondition,
            format!(
                "no transit engine is mounted at {}: correct transit.mount and vault.namespace{ENTRY}; or enable it if nothing was ever encrypted there",
                key.mount.as_str()
            ),
        ),
        ApiErrorKind::NamespaceMissing => (
            ErrorKind::Precondition,
            format!(
                "there is no namespace {:?}: correct vault.namespace{ENTRY}; or create it if nothing was ever encrypted there",
                key.namespace.as_str()
            ),
        ),
        ApiErrorKind::VersionTooNew => (
            ErrorKind::Unavailable,
            "this server does not know that key version (yet): a standby that lags, or a restored snapshot".to_owned(),
        ),
        ApiErrorKind::VersionTooOld => (
            ErrorKind::Precondition,
            format!("the minimum version of transit key {key} is above it"),
        ),
        ApiErrorKind::BadCiphertext => (
            ErrorKind::Invalid,
            format!("it was not made by transit key {key}, or is damaged"),
        ),
        ApiErrorKind::KeyUnable => (
            ErrorKind::Precondition,
            format!("transit key {key} cannot do this: use one of type aes256-gcm96"),
        ),
        ApiErrorKind::Throttled => (
            ErrorKind::Throttled,
            format!(
                "raise the rate limit quota that covers {}, or lift it for this mount",
                key.mount.as_str()
            ),
        ),
        ApiErrorKind::Other | ApiErrorKind::WrongCredentials | ApiErrorKind::LoginIncomplete => {
            return (ErrorKind::Invalid, None);
        }
        ApiErrorKind::Transient => return (ErrorKind::Unavailable, None),
    };
    (kind, Some(remedy))
}

/// What else may deny a token of another namespace than the key's.
fn other_namespaces(key: &TransitKey) -> String {
    let namespace = key.namespace.as_str();
    if namespace.is_empty() {
        return String::new();
    }
    format!(
        "; a token of a namespace above {namespace:?} needs these paths with the namespace in front, \
         and one of any other namespace has no access"
    )
}
