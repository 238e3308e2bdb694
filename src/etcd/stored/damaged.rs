//! Why a stored value cannot be read.

use thiserror::Error;

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damaged {
    /// There is nothing.
    #[error("the value is empty")]
    Empty,
    /// It does not begin as anything that kube-apiserver writes.
    #[error("it begins with {0}, as no value that kube-apiserver writes")]
    Foreign(String),
    /// It ends too early.
    #[error("cut off: {0}")]
    Cut(String),
    /// It is of a form that this version does not know; a later kube-apiserver may.
    #[error("unknown: {0}")]
    Unknown(String),
    /// Something in it is what kube-apiserver would not accept.
    #[error("damaged: {0}")]
    Invalid(String),
}
