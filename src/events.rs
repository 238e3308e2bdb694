//! Every event that the log tells at INFO or above: a type each, with its level, its text and its
//! fields. docs/events.md says what to do about them.
//!
//! INFO is what an operator did or has to know; WARN heals by itself or is somebody else's mistake;
//! ERROR needs a person. Knows nobody; whoever sees something happen tells it here.

/// What a kind of event looks like in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// `INFO`, `WARN` or `ERROR`.
    pub level: &'static str,
    /// Its text, by which it is found.
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
                /// Writes it to the log.
                pub fn tell(self) {
                    let Self { $($field),* } = self;
                    tracing::event!(target: $target, tracing::Level::$level, $($field,)* $text);
                }
            }
        )*)*

        /// What each kind of event looks like.
        pub const ALL: &[Kind] = &[$($(Kind {
            level: stringify!($level),
            text: $text,
            fields: &[$(stringify!($field)),*],
        }),*),*];
    };
}

events! {
    "vault_kms_plugin::system" {
        WARN MemoryNotLocked "memory cannot be locked: turn swap off, or encrypt it" { error: String }
        ERROR CannotGoOn "cannot go on" { error: String }
        INFO StaleSocket "replacing a stale socket" { path: String }
        WARN SocketLeft "cannot remove the socket" { path: String, error: String }
    }
    "vault_kms_plugin::spans" {
        INFO SpansExported "spans are exported" { endpoint: String }
        WARN NoSpans "no spans are exported" { error: String }
        WARN SpansDropped "spans cannot be exported, they are dropped meanwhile" { error: String }
        INFO SpansExportedAgain "spans are exported again" {}
        WARN SpansLost "the collector did not take the last spans in time" {}
    }
    "vault_kms_plugin::supervisor" {
        WARN DoubtfulSetting "configuration" { warning: String }
        INFO TakenOver "configuration read again and taken over" { level: String, changes: String }
        ERROR ReloadRefused "configuration refused, everything stays as it was" { error: String }
        WARN SocketIsSystemds "systemd passed the socket: its place and mode are the socket unit's" {}
        ERROR SocketKept "the socket keeps its mode and owner" { error: String }
        ERROR LogKept "the log stays as it was" { error: String }
        INFO Stopping "stopping" {}
        WARN CallsCutOff "calls in flight did not end in time" { connections: usize }
        WARN StoppingNow "second signal, stopping now" { connections: usize }
        INFO Stopped "stopped" {}
        WARN ActorFailed "an actor failed, restarting it" {
            actor: &'static str,
            reason: String,
            wait_ms: u64,
        }
        ERROR ActorFailsOften
            "an actor fails again and again, leaving the restart to systemd or kubelet" {
            actor: &'static str,
            reason: String,
        }
        ERROR ActorHangs "gives no answer, killing it" { actor: &'static str }
        WARN ActorLate "did not stop in time" { actor: &'static str }
        WARN ActorAbsent "did not start anew" { actor: &'static str, reason: String }
    }
    "vault_kms_plugin::admin" {
        INFO ProbesServed "probes are served" { address: String }
    }
    "vault_kms_plugin::grpc" {
        INFO Listening "listening" { socket: String, passed: bool }
        WARN CallFailed "call failed" {
            operation: &'static str,
            kms: &'static str,
            uid: Option<String>,
            key_id: Option<String>,
            code: String,
            error: String,
            vault_path: Option<String>,
            more: u64,
        }
        INFO CallsWorkAgain "calls work again" {
            operation: &'static str,
            failed: u32,
            lasted: String,
        }
        WARN PeerRefused "refused a connection: see socket.allow_uids" {
            pid: Option<u32>,
            uid: Option<u32>,
            gid: Option<u32>,
            more: u64,
        }
        WARN TooManyConnections "too many connections, closed the newest" {
            limit: usize,
            pid: Option<u32>,
            uid: u32,
            gid: u32,
            more: u64,
        }
        WARN PlaceTaken "too many connections, closed one of the process that has most" {
            limit: usize,
            pid: Option<u32>,
            uid: u32,
            gid: u32,
            more: u64,
        }
    }
    "vault_kms_plugin::session" {
        INFO LoggedIn "logged in to vault" {
            generation: u64,
            ttl_seconds: Option<u64>,
            renewable: bool,
            failed: Option<u32>,
            lasted: Option<String>,
        }
        WARN NoLogin "no login to vault" { error: String }
        WARN NotRenewed "the token was not renewed, logging in anew" { error: String }
        WARN TokenUnknown "vault no longer knows the token, logging in anew" {}
        WARN LeftAlone
            "refused credentials are not tried again until their file changes, SIGHUP comes or the time is over: vault would lock the role out" {
            wait_minutes: Option<u64>,
        }
        WARN CredentialReadable
            "every local user can read this credential: take the right to read it from others" {
            key: &'static str,
            file: String,
        }
        INFO SecretIdUnwrapped "unwrapped a secret_id, it is kept" { file: String }
        INFO SecretIdWorks "the new secret_id works, the one before is forgotten" {}
        ERROR SecretIdRefused
            "the new secret_id was refused, the one before still works: put another wrapping token into the file" {
            error: String,
        }
        WARN KeptSecretId "going on with the secret_id that is kept" { error: String }
        ERROR WrappingNotTrusted "a wrapping token cannot be trusted" {
            role: String,
            error: String,
        }
        ERROR KeptNotUsable "the kept secret_id cannot be used, going on without it" {
            file: String,
            error: String,
        }
        WARN KeptNotWritten "the file of the kept secret_id cannot be written" {
            file: String,
            error: String,
        }
        ERROR SecretIdNotKept
            "the unwrapped secret_id cannot be kept: the next start needs a new wrapping token" {
            file: String,
            error: String,
        }
    }
    "vault_kms_plugin::keys" {
        INFO VersionWorks "a key version works" { key_id: String }
        INFO VersionAnnounced "announced a key version" { key_id: String }
        WARN LookFailed "a look at the transit key failed" { error: String }
        INFO KeyWorksAgain "the transit key works again" {
            ended: String,
            failed: Option<u32>,
            lasted: Option<String>,
        }
        ERROR KeyUnusable "the transit key cannot be used until an operator acts" { error: String }
        ERROR LatestUnusable "the latest key version does not work, the one before goes on writing" {
            error: String,
            version: u32,
        }
        WARN Restored
            "vault has had an earlier key version for a minute and more: a restored snapshot" {
            version: u32,
        }
        INFO KeyChanged "another key writes than before, what that one wrote is still read" {
            path: String,
            before: String,
        }
        ERROR KeyLost
            "another key writes than before, and nothing that the one before wrote can be read: put that one under transit.decrypt_also" {
            path: String,
            before: String,
        }
        WARN StateUnreadable "state file is not readable, going on without it" {
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
            "a changed certificate file cannot be used, going on with the last good one" {
            error: String,
        }
        WARN CertificatesUnusable
            "changed certificate files cannot be used, going on with the old ones" {
            error: String,
        }
        WARN ConnectionsKept "connections cannot be made anew, going on with the old ones" {
            error: String,
        }
        WARN PrivateKeyReadable
            "every local user can read this private key: take the right to read it from others" {
            key: &'static str,
            file: String,
        }
    }
}
