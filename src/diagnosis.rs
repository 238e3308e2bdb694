//! What went wrong and what to do about it: the two parts that the errors for operators carry as
//! fields. They are joined here, and nowhere else.

use std::fmt;

/// A cause, and its remedy where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// What went wrong, as `subject: cause`.
    pub cause: String,
    /// What an operator can do about it.
    pub remedy: Option<String>,
}

impl Diagnosis {
    /// A cause without a remedy.
    #[must_use]
    pub fn new(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            remedy: None,
        }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }

    /// The same with `subject: ` before the cause.
    #[must_use]
    pub fn about(self, subject: impl fmt::Display) -> Self {
        Self {
            cause: format!("{subject}: {}", self.cause),
            ..self
        }
    }
}

impl From<String> for Diagnosis {
    fn from(cause: String) -> Self {
        Self::new(cause)
    }
}

impl From<&str> for Diagnosis {
    fn from(cause: &str) -> Self {
        Self::new(cause)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(f, &self.cause, self.remedy.as_deref())
    }
}

/// Writes `cause; remedy`, or the cause alone.
///
/// # Errors
/// What writing gives.
pub fn write_joined(
    f: &mut fmt::Formatter<'_>,
    cause: impl fmt::Display,
    remedy: Option<&str>,
) -> fmt::Result {
    match remedy {
        Some(remedy) => write!(f, "{cause}; {remedy}"),
        None => write!(f, "{cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_follows_the_cause() {
        let cause = Diagnosis::new("is empty").about("auth.token_file");
        assert_eq!(cause.to_string(), "auth.token_file: is empty");
        let both = cause.with_remedy("write the token to it");
        assert_eq!(
            both.to_string(),
            "auth.token_file: is empty; write the token to it"
        );
    }
}
