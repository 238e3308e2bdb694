//! Every log event at INFO or above: a type each, with its level, its text and its fields.
//! docs/events.md says what to do about them.
//!
//! INFO: an operator did it or has to know it. WARN: recovers on its own, or is caused by another party.
//! ERROR: an operator must act. Depends on no other module.

/// How a kind of event appears in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// `INFO`, `WARN` or `ERROR`.
    pub level: &'static str,
    /// Its constant text.
    pub text: &'static str,
    /// The names of its fields.
    pub fields: &'static [&'static str],
}

macro_rules! events {
    ($($target:literal {
        $($level:ident $name:ident $text:literal { $($field:ident: $type:ty),* $(,)? })*
    })*) => {
        $($(
            #[doc = concat!("`", stringify!($level), "`: ", $text, ".")]
            #[derive(Debug, Clone)]
            #[allow(missing_docs, reason = "docs/events.md says what each field is")]
            pub struct $name { $(pub $field: $type),* }

            impl $name {
                /// Logs it.
                pub fn emit(self) {
                    let Self { $($field),* } = self;
                    tracing::event!(target: $target, tracing::Level::$level, $($field,)* $text);
                }
            }
        )*)*

        /// Every kind of event.
        pub const ALL: &[Kind] = &[$($(Kind {
            level: stringify!($level),
            text: $text,
            fields: &[$(stringify!($field)),*],
        }),*),*];
    };
}

events! {
    "vault_kms_plugin::log" {
        WARN LinesDropped "log lines were dropped" { count: u64 }
    }
    "vault_kms_plugin::system" {
        WARN MemoryNotLocked "memory cannot be locked: disable or encrypt swap" { error: String }
        ERROR FatalError "fatal error" { error: String }
        INFO StaleSocket "replacing a stale socket" { path: String }
        WARN SocketNotRemoved "cannot remove the socket" { path: String, error: String }
    }
    "vault_kms_plugin::spans" {
        INFO SpansExported "exporting spans" { endpoint: String }
        WARN SpansNotExported "spans are not exported" { error: String }
        WARN SpanExportFailed "span export failed, dropping spans until it recovers" { error: String }
        INFO SpanExportRecovered "span export recovered" {}
        WARN SpansLost "last spans not exported before shutdown" {}
    }
    "vault_kms_plugin::supervisor" {
        INFO SettingsTranslated "settings of another plugin translated" {
            plugin: String,
            settings: String,
        }
        WARN ConfigurationWarning "configuration warning" { warning: String }
        INFO ConfigurationReloaded "configuration reloaded" { level: String, changes: String }
        ERROR ReloadRefused "configuration rejected, keeping the running one" { error: String }
        WARN SocketFromSystemd "socket passed by systemd: its path and mode come from the socket unit" {}
        ERROR SocketUnchanged "socket mode and owner not changed" { error: String }
        ERROR LogUnchanged "log settings not changed" { error: String }
        INFO Stopping "stopping" {}
        WARN DrainTimedOut "connections did not end in time" { connections: usize }
        WARN StoppingNow "second signal, stopping now" { connections: usize }
        INFO Stopped "stopped" {}
        WARN ActorFailed "actor failed, restarting it" {
            actor: &'static str,
            reason: String,
            wait_ms: u64,
        }
        ERROR ActorKeepsFailing
            "actor keeps failing, exiting so that systemd or kubelet restarts the process" {
            actor: &'static str,
            reason: String,
        }
        ERROR ActorUnresponsive "actor unresponsive, restarting it" { actor: &'static str }
        WARN ActorLate "actor did not stop in time" { actor: &'static str }
        WARN ActorNotStarted "actor failed to start" { actor: &'static str, reason: String }
    }
    "vault_kms_plugin::admin" {
        INFO AdminListening "admin server listening" { address: String }
        INFO ReplacedListening "serving the endpoints of the replaced plugin" {
            plugin: &'static str,
            address: String,
        }
        WARN NotListening "cannot listen, trying again until the address is free" {
            error: String,
            suppressed: u64,
        }
    }
    "vault_kms_plugin::grpc" {
        WARN AcceptFailed "cannot accept connections" { error: String, suppressed: u64 }
        INFO PeersDisconnected "closed connections of peers that are no longer allowed" { count: usize }
        INFO Listening "listening" { socket: String, passed: bool }
        WARN CallFailed "call failed" {
            operation: &'static str,
            kms: &'static str,
            uid: Option<String>,
            key_id: Option<String>,
            code: &'static str,
            reason_code: Option<&'static str>,
            error: String,
            vault_path: Option<String>,
            suppressed: u64,
        }
        INFO CallsRecovered "calls recovered" {
            operation: &'static str,
            failed: u32,
            lasted: String,
        }
        WARN PeerRejected "rejected a connection: see socket.allow_uids" {
            pid: Option<u32>,
            uid: Option<u32>,
            gid: Option<u32>,
            suppressed: u64,
        }
        WARN TooManyConnections "too many connections, closed the newest" {
            limit: usize,
            pid: Option<u32>,
            uid: u32,
            gid: u32,
            suppressed: u64,
        }
        WARN ConnectionEvicted "too many connections, closed one of the process with the most" {
            limit: usize,
            pid: Option<u32>,
            uid: u32,
            gid: u32,
            suppressed: u64,
        }
    }
    "vault_kms_plugin::session" {
        INFO LoggedIn "logged in to Vault" {
            generation: u64,
            ttl_seconds: Option<u64>,
            renewable: bool,
            failed: Option<u32>,
            lasted: Option<String>,
            candidate: Option<bool>,
        }
        WARN LoginFailed "login to Vault failed" {
            reason_code: &'static str,
            error: String,
            candidate: Option<bool>,
        }
        INFO LoginWarning "Vault remarked about the login" { warning: String }
        WARN RenewalFailed "token renewal failed" { reason_code: &'static str, error: String }
        WARN TokenRejected "Vault rejected the token as invalid or expired, logging in again" {}
        WARN LoginsSuspended
            "Vault rejected the credentials: no further login until the credential file changes, SIGHUP is received or wait_minutes have passed, because Vault locks a role out after repeated failures" {
            wait_minutes: Option<u64>,
        }
        WARN CredentialReadable
            "credential file is world-readable: chmod o-r" {
            key: &'static str,
            file: String,
        }
        INFO SecretIdUnwrapped "unwrapped and stored a secret_id" { file: String }
        INFO SecretIdWorks "new secret_id works, previous one discarded" {}
        ERROR SecretIdRefused
            "new secret_id rejected, using the previous one: write another wrapping token to the file" {
            error: String,
        }
        WARN StoredSecretIdUsed "continuing with the stored secret_id" { error: String }
        ERROR WrappingNotTrusted "wrapping token cannot be trusted" {
            role: String,
            error: String,
        }
        ERROR StoredSecretIdInvalid "stored secret_id cannot be used, continuing without it" {
            file: String,
            error: String,
        }
        WARN StoredSecretIdNotWritten "secret_id file cannot be written" {
            file: String,
            error: String,
        }
        ERROR SecretIdNotStored
            "unwrapped secret_id cannot be stored: the next start needs a new wrapping token" {
            file: String,
            error: String,
        }
    }
    "vault_kms_plugin::keys" {
        INFO VersionVerified "key version verified" { key_id: String }
        INFO VersionAnnounced "key version announced" { key_id: String }
        WARN KeyRefreshFailed "transit key refresh failed" {
            reason_code: &'static str,
            error: String,
        }
        INFO KeyRecovered "transit key recovered" {
            ended: String,
            failed: Option<u32>,
            lasted: Option<String>,
        }
        ERROR KeyUnusable "transit key unusable until an operator acts" {
            reason_code: &'static str,
            error: String,
        }
        ERROR LatestUnusable "latest key version does not work, still encrypting with the previous one" {
            reason_code: &'static str,
            error: String,
            version: u32,
        }
        ERROR KeyReplaced "transit key was replaced, refusing to encrypt" {
            reason_code: &'static str,
            error: String,
            before: String,
            found: String,
        }
        WARN ReplacementAccepted
            "replaced transit key accepted as configured: data encrypted with the previous key cannot be decrypted" {
            before: String,
            key_id: String,
        }
        INFO NoCanary
            "no earlier canary: whether this is the key that encrypted before cannot be known" {
            key_id: String,
        }
        WARN OlderDisproved
            "Vault keeps reporting an older key version than the one that works: a standby lags behind" {
            reported: u32,
            version: u32,
        }
        WARN Restored
            "Vault has reported an earlier key version for over a minute: restored from a snapshot" {
            version: u32,
        }
        ERROR KeyIdReused
            "key_id announced again after another one, so kube-apiserver may keep what it wrote with that one: set transit.key_id_suffix to a new value" {
            key_id: String,
            before: String,
        }
        WARN AnnouncedKeyNotConfigured
            "a key that was announced is not configured: what it wrote and was not re-encrypted cannot be decrypted, add it to transit.decrypt_also" {
            key_id: String,
        }
        WARN AnnouncedBelowMinimum
            "min_decryption_version is above an announced version: what is not re-encrypted cannot be decrypted" {
            minimum: u32,
            key_id: String,
        }
        INFO KeyChanged "writing key changed, data of the previous key can still be decrypted" {
            path: String,
            before: String,
        }
        ERROR KeyLost
            "writing key changed and data of the previous key cannot be decrypted: add the previous key to transit.decrypt_also" {
            path: String,
            before: String,
        }
        WARN SeedCacheServing "Vault fails, answering Decrypts from the seed cache" {
            reason_code: &'static str,
            error: String,
            entries: usize,
            suppressed: u64,
        }
        INFO SeedCacheIdle "Vault answers, the seed cache is not used any more" {
            answered: u64,
            lasted: String,
        }
        WARN EncryptedLocally "Vault fails, a seed was sealed under the local KEK" {
            key_id: String,
            error: String,
        }
        WARN NoLocalKek "no local KEK can be wrapped" { error: String }
        WARN SeedCacheWiped "seed cache wiped" { entries: usize, why: &'static str }
        WARN BootUnknown "boot id unreadable: the state file is taken for one of an earlier boot" {
            path: String,
        }
        WARN StateUnreadable "state file unreadable, continuing without it" {
            path: String,
            error: String,
        }
        WARN StateUnwritable
            "state file cannot be written: a restart during an outage would not know the key_id" {
            path: String,
            error: String,
        }
    }
    "vault_kms_plugin::vault" {
        INFO CertificatesChanged "certificate files changed: new connections use them" {
            ca: bool,
            client_certificate: bool,
        }
        WARN CertificateUnusable
            "changed certificate file cannot be used, keeping the last good one" {
            error: String,
        }
        WARN CertificatesUnusable
            "changed certificate files cannot be used, keeping the previous ones" {
            error: String,
        }
        WARN EndpointRefused "an address of Vault refused what another one served, using the other one" {
            address: String,
            error: String,
        }
        WARN ConnectionsNotRebuilt "connections cannot be rebuilt, keeping the previous ones" {
            error: String,
        }
        WARN PrivateKeyReadable
            "private key file is world-readable: chmod o-r" {
            key: &'static str,
            file: String,
        }
    }
}
