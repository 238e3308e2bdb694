//! Which key_id each KMS v2 provider of a kube-apiserver follows, from its metrics.

use std::collections::BTreeMap;

/// When kube-apiserver last saw this hash in a Status (`envelope/metrics/metrics.go`).
const METRIC: &str = "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds";

/// What a provider last announced.
#[derive(Debug, Clone, PartialEq)]
pub struct Announced {
    /// The hash of its key_id, as [`crate::keys::KeyId::hash`] makes it.
    pub hash: String,
    /// When, in UTC seconds.
    pub at: f64,
}

/// What each provider announced last, by its name.
#[must_use]
pub fn announced(metrics: &str) -> BTreeMap<String, Announced> {
    let mut found: BTreeMap<String, Announced> = BTreeMap::new();
    for line in metrics.lines() {
        let Some((provider, announced)) = sample(line) else {
            continue;
        };
        let is_later = found.get(&provider).is_none_or(|one| one.at < announced.at);
        if is_later {
            found.insert(provider, announced);
        }
    }
    found
}

fn sample(line: &str) -> Option<(String, Announced)> {
    let rest = line.strip_prefix(METRIC)?.strip_prefix('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    let at = value.split_whitespace().next()?.parse().ok()?;
    let hash = label(labels, "key_id_hash")?;
    let provider = label(labels, "provider_name")?;
    Some((provider, Announced { hash, at }))
}

/// The value of a label. Names of KMS v2 providers need no escape.
fn label(labels: &str, name: &str) -> Option<String> {
    let start = format!("{name}=\"");
    let mut positions = labels.match_indices(&start).map(|(position, _)| position);
    let position = positions.find(|at| *at == 0 || labels[..*at].ends_with(','))?;
    let rest = &labels[position + start.len()..];
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_status_of_each_provider_counts() {
        let text = format!(
            "# HELP {METRIC} x\n# TYPE {METRIC} gauge\n\
             {METRIC}{{apiserver_id_hash=\"sha256:z\",key_id_hash=\"sha256:a\",provider_name=\"vault\"}} 1.7640216e+09\n\
             {METRIC}{{apiserver_id_hash=\"sha256:z\",key_id_hash=\"sha256:b\",provider_name=\"vault\"}} 1.7640217e+09\n\
             {METRIC}{{apiserver_id_hash=\"sha256:z\",key_id_hash=\"sha256:c\",provider_name=\"other\"}} 5\n\
             other_metric{{provider_name=\"vault\"}} 7\n"
        );
        let found = announced(&text);
        assert_eq!(found["vault"].hash, "sha256:b");
        assert_eq!(found["other"].at, 5.0);
        assert_eq!(found.len(), 2);
    }
}
