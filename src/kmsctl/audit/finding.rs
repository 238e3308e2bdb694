//! One thing that an audit finds.

use serde::Serialize;

/// One thing that is wrong, with the objects that it is wrong with.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    /// What it is, for programs.
    pub(super) kind: &'static str,
    /// The resource, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<String>,
    /// How many objects.
    pub(super) count: u64,
    /// What is wrong.
    pub(super) text: String,
    /// What to do.
    pub(super) remedy: String,
    /// The first of the objects.
    pub(super) names: Vec<String>,
    /// For each of them the request that gives it up, where nothing else is left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) last_resort: Vec<String>,
}
