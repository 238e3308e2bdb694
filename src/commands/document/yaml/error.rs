//! Why a text is not read.

/// What only kube-apiserver can read.
pub(in crate::commands) const UNSUPPORTED: &str = "it has a form of YAML that is not supported here, such \
    as a comma after a tag or a colon before a bracket";

/// An error of the parser, or of what a node means. It quotes nothing of the text.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands) struct YamlError {
    /// What is wrong.
    pub(in crate::commands) problem: &'static str,
    /// Where, counted from 1; 0 if that is unknown.
    pub(in crate::commands) line: u64,
}
