//! What an error of Vault means. Vault has few codes, so its message decides; it is matched with
//! `contains`, because the same text comes bare or inside `1 error occurred:\n\t* …`.
//! Texts: OpenBao `internal/vault/request_handling.go`, `sdk/helper/keysutil/policy.go`.

use crate::reason::Reason;

/// The meaning of an error that Vault answered in its own JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiErrorKind {
    /// The token is not known (any more): 403 without the text of a policy denial.
    TokenRefused,
    /// A policy denies the path: the token itself is valid.
    PolicyDenied,
    /// No Transit key of that name.
    KeyMissing,
    /// No Transit engine is mounted there.
    NotMounted,
    /// The namespace of the request does not exist.
    NamespaceMissing,
    /// The server does not know this key version yet: a standby that lags, or a restored snapshot.
    VersionTooNew,
    /// The key's `min_encryption_version` or `min_decryption_version` passed this key version.
    VersionTooOld,
    /// The ciphertext was not made by this key, or is not a ciphertext.
    BadCiphertext,
    /// The key cannot do that at all: because of its type, a missing private half, a soft delete.
    KeyUnable,
    /// The credentials of a login are wrong: what Vault counts towards a lockout of their role.
    WrongCredentials,
    /// A login needs what a daemon cannot give: a second factor, or somebody's approval.
    LoginIncomplete,
    /// A rate limit quota is exhausted for now.
    Throttled,
    /// A transient state of the server: sealed, standby, failing.
    Transient,
    /// Anything else.
    Other,
}

const NOT_MOUNTED: [&str; 2] = ["no handler for route", "unsupported path"];
const VERSION_TOO_NEW: [&str; 2] = ["version is too new", "higher than the latest key version"];
const VERSION_TOO_OLD: [&str; 3] = [
    "less than the minimum encryption key version",
    "disallowed by policy (too old)",
    "no such key version",
];
const BAD_CIPHERTEXT: [&str; 3] = [
    "message authentication failed",
    "invalid ciphertext",
    "failed to RSA decrypt the ciphertext",
];
const KEY_UNABLE: [&str; 5] = [
    "does not have a private counterpart",
    "not supported for key type",
    "refusing to use soft-deleted key",
    "missing 'context' for key derivation",
    "for non-AEAD cipher suite",
];

/// OpenBao `internal/builtin/credential/{approle,userpass}/path_login.go`.
const WRONG_CREDENTIALS: [&str; 2] = ["invalid role or secret ID", "invalid username or password"];
/// What a disaster-recovery secondary answers on every path that needs a token, with status 400.
const DR_SECONDARY: &str = "replication DR secondary mode";

/// OpenBao `internal/vault/ha.go`, `http/handler.go`.
const NO_LEADER: &str = "active cluster node not found";

impl ApiErrorKind {
    /// Whether the same call may succeed a moment later with nothing changed by an operator.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled)
    }

    /// Its code; `status` and `message` say more about what is transient.
    #[must_use]
    pub fn reason(self, status: u16, message: &str) -> Reason {
        match self {
            Self::TokenRefused => Reason::TokenRejected,
            Self::PolicyDenied => Reason::PolicyDenied,
            Self::KeyMissing => Reason::KeyMissing,
            Self::NotMounted => Reason::TransitNotMounted,
            Self::NamespaceMissing => Reason::NamespaceMissing,
            Self::VersionTooNew => Reason::KeyVersionUnknown,
            Self::VersionTooOld => Reason::KeyVersionTooOld,
            Self::BadCiphertext => Reason::CiphertextUnreadable,
            Self::KeyUnable => Reason::KeyUnusable,
            Self::WrongCredentials => Reason::CredentialsRejected,
            Self::LoginIncomplete => Reason::LoginIncomplete,
            Self::Throttled => Reason::VaultThrottled,
            Self::Other => Reason::RequestInvalid,
            Self::Transient if message.contains("sealed") => Reason::VaultSealed,
            Self::Transient if message.contains(NO_LEADER) => Reason::VaultNoLeader,
            Self::Transient if message.contains(DR_SECONDARY) => Reason::VaultCannotServe,
            Self::Transient if matches!(status, 472..=474 | 530) => Reason::VaultCannotServe,
            Self::Transient => Reason::VaultError,
        }
    }

    /// Classifies a status code and Vault's own error text.
    #[must_use]
    pub fn read(status: u16, message: &str) -> Self {
        let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
        match status {
            _ if says(&[DR_SECONDARY]) => Self::Transient,
            403 if message.contains("1 error occurred") => Self::PolicyDenied,
            403 => Self::TokenRefused,
            400 if says(&WRONG_CREDENTIALS) => Self::WrongCredentials,
            404 if message.is_empty() => Self::KeyMissing,
            404 if says(&["namespace not found"]) => Self::NamespaceMissing,
            404 if says(&NOT_MOUNTED) => Self::NotMounted,
            _ if says(&["encryption key not found"]) => Self::KeyMissing,
            _ if says(&VERSION_TOO_NEW) => Self::VersionTooNew,
            _ if says(&VERSION_TOO_OLD) => Self::VersionTooOld,
            _ if says(&BAD_CIPHERTEXT) => Self::BadCiphertext,
            _ if says(&KEY_UNABLE) => Self::KeyUnable,
            // The plaintext is too long for RSA, or this server does not take the batch's form: the
            // 500s that the caller causes.
            500 if says(&[
                "failed to RSA encrypt the plaintext",
                "failed to parse batch input",
            ]) =>
            {
                Self::Other
            }
            429 => Self::Throttled,
            412 | 472..=474 | 500.. => Self::Transient,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_of_vault_has_one_meaning() {
        use ApiErrorKind::*;
        let wrapped = "1 error occurred:\n\t* permission denied\n\n";
        let invalid = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
        let newer = "1 error occurred:\n\t* requested version for encryption is higher than the latest key version\n\n";
        let table = [
            (403, wrapped, PolicyDenied),
            (403, invalid, TokenRefused),
            (403, "permission denied", TokenRefused),
            (400, "encryption key not found", KeyMissing),
            (404, "", KeyMissing),
            (
                404,
                "no handler for route \"m/encrypt/k\". route entry not found.",
                NotMounted,
            ),
            (404, "namespace not found", NamespaceMissing),
            (400, "invalid ciphertext: version is too new", VersionTooNew),
            (400, newer, VersionTooNew),
            (
                400,
                "ciphertext or signature version is disallowed by policy (too old)",
                VersionTooOld,
            ),
            (
                400,
                "requested version for encryption is less than the minimum encryption key version",
                VersionTooOld,
            ),
            (400, "no such key version", VersionTooOld),
            (400, "cipher: message authentication failed", BadCiphertext),
            (400, "invalid ciphertext: no prefix", BadCiphertext),
            (400, "invalid ciphertext length", BadCiphertext),
            (
                500,
                "failed to RSA decrypt the ciphertext: x",
                BadCiphertext,
            ),
            (
                500,
                "cannot decrypt ciphertext, key version does not have a private counterpart",
                KeyUnable,
            ),
            (
                400,
                "message encryption not supported for key type ed25519",
                KeyUnable,
            ),
            (400, "refusing to use soft-deleted key", KeyUnable),
            (503, "Vault is sealed", Transient),
            (
                400,
                "path disabled in replication DR secondary mode",
                Transient,
            ),
            (400, "invalid role or secret ID", WrongCredentials),
            (400, "invalid username or password", WrongCredentials),
            (400, "missing secret_id", Other),
            (
                400,
                "source address \"10.0.0.1\" unauthorized through CIDR restrictions on the secret ID",
                Other,
            ),
            (400, "no decryption key available for term 4", Other),
            (
                500,
                "local node not active but active cluster node not found",
                Transient,
            ),
            (
                429,
                "request path \"transit/encrypt/k\": rate limit quota exceeded",
                Throttled,
            ),
            (400, "illegal base64 data at input byte 3", Other),
            (
                500,
                "1 error occurred:\n\t* failed to parse batch input: x\n\n",
                Other,
            ),
            (500, "1 error occurred:\n\t* internal error\n\n", Transient),
        ];
        for (status, message, kind) in table {
            assert_eq!(
                ApiErrorKind::read(status, message),
                kind,
                "{status} {message:?}"
            );
        }
    }

    #[test]
    fn why_vault_cannot_serve_follows_from_its_text_and_status() {
        let table = [
            (503, "Vault is sealed", Reason::VaultSealed),
            (500, NO_LEADER, Reason::VaultNoLeader),
            (400, DR_SECONDARY, Reason::VaultCannotServe),
            (472, "", Reason::VaultCannotServe),
            (473, "", Reason::VaultCannotServe),
            (474, "", Reason::VaultCannotServe),
            (530, "", Reason::VaultCannotServe),
            (412, "", Reason::VaultError),
            (475, "", Reason::VaultError),
            (500, "internal error", Reason::VaultError),
            (531, "", Reason::VaultError),
        ];
        for (status, message, reason) in table {
            let found = ApiErrorKind::Transient.reason(status, message);
            assert_eq!(found, reason, "{status} {message:?}");
        }
        for kind in [
            ApiErrorKind::Throttled,
            ApiErrorKind::Other,
            ApiErrorKind::KeyMissing,
        ] {
            let found = kind.reason(473, "Vault is sealed");
            assert_eq!(found, kind.reason(0, ""), "{kind:?}");
        }
        let elsewhere = ApiErrorKind::read(404, "the role is gone");
        assert_eq!(
            elsewhere,
            ApiErrorKind::Other,
            "not every 404 is of the mount"
        );
    }
}
