//! The reason codes: one stable name for each thing that can be wrong, the same in events, `/readyz?verbose`,
//! `status --json`, metrics and docs/reference/reasons.md. Depends on no other module.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $code:literal,)*) => {
        /// Why a call, the session, the key or Status fails.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its code, which does not change between releases.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }
        }
    };
}

reasons! {
    /// No connection to Vault can be made, or it broke.
    VaultUnreachable "vault_unreachable",
    /// Vault did not answer in time.
    VaultTimeout "vault_timeout",
    /// Vault is sealed or not initialised.
    VaultSealed "vault_sealed",
    /// Vault has no active node.
    VaultNoLeader "vault_no_leader",
    /// Each address of Vault has another reason why it cannot serve, or its node never can: a
    /// disaster-recovery secondary, one that is cut off from its cluster or was removed.
    VaultCannotServe "vault_cannot_serve",
    /// Vault answers with an error of its own that may pass.
    VaultError "vault_error",
    /// A rate limit quota of Vault is exhausted.
    VaultThrottled "vault_throttled",
    /// The response is not Vault's.
    VaultUnexpectedResponse "vault_unexpected_response",
    /// Vault has not served a request for a while, and nothing more is known.
    VaultSilent "vault_silent",
    /// The first login has not ended, or Vault answers it with an error that may pass.
    LoginPending "login_pending",
    /// Another process is at work with the wrapped secret_id.
    CredentialInUse "credential_in_use",
    /// Vault denies the path of the login: no auth method is mounted there, or the role is locked out.
    LoginDenied "login_denied",
    /// Vault refuses the login for a reason in its text.
    LoginRefused "login_refused",
    /// The login needs a second factor or an approval.
    LoginIncomplete "login_incomplete",
    /// Vault rejects the credentials.
    CredentialsRejected "credentials_rejected",
    /// A credential file cannot be used.
    CredentialUnusable "credential_unusable",
    /// A wrapping token was used before, or wraps something else.
    WrappingUntrusted "wrapping_untrusted",
    /// The SPIFFE agent gives no JWT.
    SpiffeUnavailable "spiffe_unavailable",
    /// Vault does not know the token, or ends it soon after it was granted.
    TokenRejected "token_rejected",
    /// The policy of the token denies the path, or the key does not exist.
    PolicyDenied "policy_denied",
    /// The namespace does not exist.
    NamespaceMissing "namespace_missing",
    /// No Transit engine is mounted there.
    TransitNotMounted "transit_not_mounted",
    /// The Transit key does not exist.
    KeyMissing "key_missing",
    /// The Transit key exists and can never serve: its type, a missing half, a soft delete.
    KeyUnusable "key_unusable",
    /// The Transit key is another one than the one that encrypted before.
    KeyReplaced "key_replaced",
    /// No version of the key has been proven since the start.
    KeyUnproven "key_unproven",
    /// This server does not know the version of the key: a lagging standby, a restored snapshot.
    KeyVersionUnknown "key_version_unknown",
    /// The version is below a minimum of the key.
    KeyVersionTooOld "key_version_too_old",
    /// No configured key made the ciphertext, or it is damaged.
    CiphertextUnreadable "ciphertext_unreadable",
    /// Vault, or the plugin, cannot use the request.
    RequestInvalid "request_invalid",
    /// The caller's deadline came first.
    DeadlineExceeded "deadline_exceeded",
    /// Too many calls wait, or they take too much memory.
    TooManyCalls "too_many_calls",
    /// A fault of the plugin: report it.
    InternalError "internal_error",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// So that it travels with an error whose text is for people.
impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_code_in_small_letters() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|it| it.code()).collect();
        let is_plain = |code: &&str| code.bytes().all(|it| it == b'_' || it.is_ascii_lowercase());
        assert!(codes.iter().all(is_plain), "{codes:?}");
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }

    #[test]
    fn docs_reference_reasons_names_each_code() {
        let page = include_str!("../docs/reference/reasons.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        let codes: Vec<_> = Reason::ALL.iter().map(|it| it.code()).collect();
        assert_eq!(documented, codes);
    }
}
