//! The report for the textfile collector of node_exporter.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tempfile::NamedTempFile;

use super::report::Report;

/// The kinds of findings, which all exist from zero, so that an alert can rely on them.
const KINDS: [&str; 7] = [
    "unreadable",
    "damaged",
    "not_in_configuration",
    "stale_key",
    "other_provider",
    "not_encrypted",
    "key_id_contradiction",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    resource: String,
    provider: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabel {
    key: String,
}

type Count = Gauge<i64, AtomicI64>;
type Seconds = Gauge<f64, AtomicU64>;

/// Replaces the file.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write(report: &Report<'_>, path: &Path) -> io::Result<()> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry(report))
        .map_err(io::Error::other)?;
    // The collector does not know the end mark of OpenMetrics.
    let text = text.trim_end_matches("# EOF\n");
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    // node_exporter runs as another user.
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn registry(report: &Report<'_>) -> Registry {
    let mut registry = Registry::with_prefix("vault_kmsctl_audit");
    let findings = Family::<KindLabel, Count>::default();
    for kind in KINDS {
        let of_kind = report
            .findings
            .iter()
            .filter(|finding| finding.kind == kind);
        let count: u64 = of_kind.map(|finding| finding.count).sum();
        findings
            .get_or_create(&KindLabel { kind })
            .set(number(count));
    }
    registry.register("findings", "Objects with a finding, by its kind", findings);
    let objects = Family::<ObjectLabels, Count>::default();
    for row in &report.groups {
        let labels = ObjectLabels {
            resource: row.resource.clone(),
            provider: row.provider.clone(),
            version: row
                .version
                .map_or(String::new(), |version| version.to_string()),
        };
        objects.get_or_create(&labels).inc_by(number(row.objects));
    }
    registry.register(
        "objects",
        "Objects, by resource, provider and version of the Transit key",
        objects,
    );
    let lowest = Family::<KeyLabel, Count>::default();
    for key in &report.keys {
        if let Some(first) = key.versions.first() {
            let label = KeyLabel {
                key: key.key.to_string(),
            };
            lowest.get_or_create(&label).set(i64::from(first.version));
        }
    }
    registry.register(
        "lowest_key_version",
        "The lowest version that something needs",
        lowest,
    );
    let seeds = Count::default();
    seeds.set(number(report.distinct_seeds));
    registry.register("distinct_seeds", "Distinct wrapped seeds", seeds);
    let verified = Count::default();
    verified.set(
        report
            .verified
            .as_ref()
            .map_or(0, |verified| number(verified.authentic)),
    );
    registry.register(
        "verified_objects",
        "Objects that were read by their seeds; 0 without --verify",
        verified,
    );
    let duration = Seconds::default();
    duration.set(report.seconds);
    registry.register("duration_seconds", "How long the audit took", duration);
    let time = Seconds::default();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    time.set(now.as_secs_f64());
    registry.register("timestamp_seconds", "When the audit ended", time);
    registry
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
