//! The labels of the counters. Their values are from fixed sets.

use prometheus_client::encoding::EncodeLabelSet;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabels {
    pub(super) operation: &'static str,
    pub(super) kms_version: &'static str,
    pub(super) code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) operation: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OperationLabel {
    pub(super) operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ActorLabel {
    pub(super) actor: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabel {
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ClassLabel {
    pub(super) class: &'static str,
}

/// What a gRPC call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallKind {
    /// `encrypt`, `decrypt`, `status`, `version`, or `other`.
    pub operation: &'static str,
    /// `v1` or `v2`, or `none`.
    pub kms_version: &'static str,
}

/// The outcome of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The new configuration is in use.
    Applied,
    /// The running configuration was kept.
    Refused,
}

/// Why a login failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginFailure {
    /// Vault is unreachable or sealed.
    Unreachable,
    /// A credential of the plugin cannot be used.
    Credential,
    /// The SPIFFE agent provided no identity.
    Spiffe,
    /// Vault rejected the credential.
    Refused,
    /// Vault failed for now.
    Transient,
}

impl LoginFailure {
    pub(super) const ALL: [Self; 5] = [
        Self::Unreachable,
        Self::Credential,
        Self::Spiffe,
        Self::Refused,
        Self::Transient,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Credential => "credential",
            Self::Spiffe => "spiffe",
            Self::Refused => "refused",
            Self::Transient => "transient",
        }
    }
}

impl Reloaded {
    pub(super) const ALL: [Self; 2] = [Self::Applied, Self::Refused];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
        }
    }
}
