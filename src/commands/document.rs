//! YAML and JSON as kube-apiserver reads them.

pub(super) mod base64;
pub(super) mod json;
pub(super) mod value;
pub(super) mod yaml;
