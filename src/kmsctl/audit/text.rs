//! The report for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::minimum::Minimum;
use super::report::{Report, Row};
use super::verify::Verified;
use crate::etcd::stored::SeedType;

/// What else is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// A row for each namespace.
    pub(super) namespaces: bool,
}

/// Writes the report.
///
/// # Errors
/// What writing gives.
pub(super) fn write(report: &Report<'_>, style: Style, mut out: impl Write) -> io::Result<()> {
    summary(report, &mut out)?;
    table(&rows(report, style), &mut out)?;
    for current in &report.current_keys {
        let how = if current.by_newest_write {
            " (that of its newest write; --config asks Vault)"
        } else {
            ""
        };
        writeln!(
            out,
            "current key of {}: {}{how}",
            current.provider, current.key
        )?;
    }
    if report.local_kek_objects > 0 {
        writeln!(
            out,
            "{} objects have a seed that a local KEK sealed during an outage: only this plugin reads them; before another one \
             serves, rotate the key while vault answers, and write them again: vault-kmsctl rotate, vault-kmsctl migrate",
            report.local_kek_objects
        )?;
    }
    for key in &report.keys {
        minimum(key, &mut out)?;
    }
    if let Some(verified) = report.verified {
        verification(verified, &mut out)?;
    }
    findings(report, &mut out)
}

fn summary(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    let continued = report.continued_at;
    let continued = continued.map_or(String::new(), |revision| {
        format!(" (from {revision} on, because etcd was compacted meanwhile)")
    });
    writeln!(
        out,
        "{}, revision {}{continued}: {} objects, {} older revisions, {} distinct seeds, in {:.1} s",
        report.origin,
        report.revision,
        report.objects,
        report.older_revisions,
        report.distinct_seeds,
        report.seconds
    )?;
    writeln!(out)
}

/// The rows of the table. Resources that nothing encrypts, as configured, are one row together: they are many.
fn rows(report: &Report<'_>, style: Style) -> Vec<[String; 5]> {
    let mut rows = Vec::new();
    let is_plain = |row: &&Row| row.state == super::findings::State::PlainAsConfigured;
    for row in report.groups.iter().filter(|row| !is_plain(row)) {
        let writer = format!("{} {}", row.provider, row.key);
        // The usual one needs no word.
        let kind = row
            .seed_type
            .filter(|kind| *kind != SeedType::Seed.as_str());
        let kind = kind.map_or(String::new(), |kind| format!(" ({kind})"));
        let writer = format!("{}{kind}", writer.trim_end());
        let state = row.state.as_str().to_owned();
        if !style.namespaces {
            let place = match row.namespaces.len() {
                1 if row.namespaces.contains_key("") => String::new(),
                1 => "1 namespace".to_owned(),
                count => format!("{count} namespaces"),
            };
            rows.push([
                row.resource.clone(),
                place,
                writer,
                row.objects.to_string(),
                state,
            ]);
            continue;
        }
        for (namespace, objects) in &row.namespaces {
            let row = [
                row.resource.clone(),
                namespace.clone(),
                writer.clone(),
                objects.to_string(),
                state.clone(),
            ];
            rows.push(row);
        }
    }
    let plain: BTreeMap<_, _> = report
        .groups
        .iter()
        .filter(is_plain)
        .map(|row| (&row.resource, row.objects))
        .collect();
    if !plain.is_empty() {
        let objects: u64 = plain.values().sum();
        let others = match plain.len() {
            1 => "1 other resource".to_owned(),
            count => format!("{count} other resources"),
        };
        rows.push([
            others,
            String::new(),
            "identity".to_owned(),
            objects.to_string(),
            "not encrypted".to_owned(),
        ]);
    }
    rows
}

fn table(rows: &[[String; 5]], out: &mut impl Write) -> io::Result<()> {
    const HEAD: [&str; 5] = ["RESOURCE", "WHERE", "WRITTEN BY", "OBJECTS", "STATE"];
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max();
        longest.unwrap_or(0).max(HEAD[column].len())
    });
    let mut line = |cells: [&str; 5]| {
        let mut text = String::new();
        for (index, cell) in cells.iter().enumerate() {
            let width = widths[index];
            text += &match index {
                3 => format!("{cell:>width$}  "),
                _ => format!("{cell:<width$}  "),
            };
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(HEAD)?;
    rows.iter()
        .try_for_each(|row| line(std::array::from_fn(|index| row[index].as_str())))?;
    writeln!(out)
}

fn minimum(key: &Minimum, out: &mut impl Write) -> io::Result<()> {
    let versions: Vec<_> = key
        .versions
        .iter()
        .rev()
        .map(|one| one.version.to_string())
        .collect();
    let versions = match versions.as_slice() {
        [] => "unknown".to_owned(),
        all => all.join(", "),
    };
    write!(out, "{}: versions in use: {versions}", key.key)?;
    match key.safe_minimum {
        Some(safe) => writeln!(out, "; safe min_decryption_version: {safe}")?,
        None => writeln!(out, "; no min_decryption_version can be called safe")?,
    }
    for reason in &key.reasons {
        writeln!(out, "  {reason}")?;
    }
    if let (Some(command), Some(safe)) = (&key.command, key.safe_minimum) {
        writeln!(out, "  {command}")?;
        writeln!(
            out,
            "  only if every kube-apiserver announced version {safe} or later before this audit began (vault-kmsctl rotate \
             --no-rotate --wait\n  shows it; audit after that), and if no other cluster, and no backup that was not named by \
             --backup, needs this key"
        )?;
    }
    Ok(())
}

fn verification(verified: &Verified, out: &mut impl Write) -> io::Result<()> {
    let Verified {
        authentic,
        decrypts,
        not_checked,
        unreadable,
        seeds,
        ..
    } = verified;
    write!(
        out,
        "verified: {authentic} objects can be read, by {seeds} seeds; {unreadable} cannot"
    )?;
    if *decrypts > 0 {
        write!(
            out,
            "; {decrypts} of AES-CBC decrypt, but have no tag that would prove them"
        )?;
    }
    if *not_checked > 0 {
        write!(
            out,
            "; {not_checked} that no KMS plugin encrypted were not checked"
        )?;
    }
    writeln!(out)
}

fn findings(report: &Report<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    if report.findings.is_empty() {
        return writeln!(out, "clean: nothing to do");
    }
    writeln!(out, "{} findings:", report.findings.len())?;
    for finding in &report.findings {
        writeln!(out, "- {}", finding.text)?;
        for name in &finding.names {
            writeln!(out, "    {name}")?;
        }
        let more = finding.count.saturating_sub(finding.names.len() as u64);
        if more > 0 {
            writeln!(out, "    and {more} more (--list)")?;
        }
        writeln!(out, "  remedy: {}", finding.remedy)?;
        if !finding.last_resort.is_empty() {
            writeln!(
                out,
                "  only if an object may be lost for ever, the request that removes it:"
            )?;
            finding
                .last_resort
                .iter()
                .try_for_each(|request| writeln!(out, "    {request}"))?;
        }
    }
    if let Some(dependents) = &report.dependents {
        writeln!(
            out,
            "what names the first of the unreadable objects:\n    {dependents}"
        )?;
    }
    Ok(())
}
