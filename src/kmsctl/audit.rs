//! `audit`: what etcd holds, under which keys, whether each object can still be read, and which key versions are still
//! needed. Reads only; keeps nothing of a plaintext.

mod args;
mod expected;
mod finding;
mod findings;
mod metrics;
mod minimum;
mod open;
mod progress;
mod remedy;
mod report;
mod seed_keys;
mod seeds;
mod source;
mod tally;
mod text;
mod verify;
mod writer;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use super::output::{self, Problem};
use super::vault_session::VaultSession;
use crate::diagnosis::Diagnosis;
use crate::etcd::object_name::ObjectName;
use crate::etcd::scan::Scan;
use crate::etcd::stored::Stored;
use crate::system::Exit;
pub use args::Audit;
use expected::{CurrentKeys, Expected};
use findings::Judge;
use progress::Progress;
use report::{Facts, Report};
use seeds::Seeds;
use source::Source;
pub(crate) use source::problem as source_problem;
use tally::{Place, Tally};
use verify::Verifier;
use writer::KeyName;

/// What Vault says of the writing key.
struct VaultKey {
    key_id: String,
    name: KeyName,
    min_decryption_version: u32,
}

/// Audits what the options name.
///
/// # Errors
/// If it cannot be read to its end: then nothing is reported.
pub async fn run(options: &Audit) -> Result<Exit, Problem> {
    let examined = examine(options, &BTreeMap::new(), options.list).await?;
    publish(&examined.report(), options)
}

/// An audit that was read to its end.
pub(crate) struct Examined {
    tally: Tally,
    expected: Option<Expected>,
    current: CurrentKeys,
    facts: Facts,
}

/// Reads everything. `announced` is the hash of the key_id that each KMS v2 provider uses now, where that is known; of
/// each group `names_kept` names are kept.
///
/// # Errors
/// If it cannot be read to its end.
pub(crate) async fn examine(
    options: &Audit,
    announced: &BTreeMap<String, String>,
    names_kept: usize,
) -> Result<Examined, Problem> {
    let began = Instant::now();
    let expected = options.encryption_config.as_deref().map(Expected::read);
    let expected = expected.transpose()?;
    let source = Source::open(options).await?;
    let expected = match (expected, source.encryption_config) {
        (None, Some(file)) => Some(Expected::read(&file)?),
        (expected, _) => expected,
    };
    let (scan, prefix) = (source.scan, source.prefix);
    let (origin, revision, continued) =
        (scan.origin.clone(), scan.revision, scan.continued.clone());
    let mut tally = Tally::new(&prefix, names_kept);
    let (vault_key, seeds) = vault(options).await?;
    let mut verifier = seeds.map(|seeds| Verifier::new(seeds, &prefix, names_kept));
    let outcome = read(scan, &mut tally, verifier.as_mut(), Place::Audited).await;
    let verified = match verifier {
        // Whatever came of it, the session with Vault ends here.
        Some(verifier) => Some(verifier.finish().await),
        None => None,
    };
    outcome?;
    for backup in &options.backup {
        let name = backup.display().to_string();
        let scan = Source::backup(backup, &prefix).await?;
        read(scan, &mut tally, None, Place::Backup(&name)).await?;
    }
    if tally.objects == 0 {
        return Err(nothing(&origin, &prefix));
    }
    let given = vault_key.as_ref().map(|key| key.key_id.clone());
    let current = CurrentKeys::new(given.or(options.key_id.clone()), &tally);
    Ok(Examined {
        current: current.with_announced(announced, &tally),
        tally,
        expected,
        facts: Facts {
            origin,
            revision,
            continued_at: continued.at(),
            verified,
            set: vault_key.map(|key| (key.name, key.min_decryption_version)),
            seconds: began.elapsed().as_secs_f64(),
        },
    })
}

impl Examined {
    fn judge(&self) -> Judge<'_> {
        Judge {
            tally: &self.tally,
            expected: self.expected.as_ref(),
            current: &self.current,
        }
    }

    fn report(&self) -> Report<'_> {
        Report::new(&self.judge(), &self.facts)
    }

    /// The objects that have to be written again, if all names were kept.
    pub(crate) fn stale(&self) -> impl Iterator<Item = ObjectName> {
        self.judge().stale().into_iter()
    }

    /// The report for people, and whether there are findings.
    pub(crate) fn text(&self) -> (String, bool) {
        let report = self.report();
        let mut text = Vec::new();
        // Writing to memory cannot fail.
        let _ = text::write(&report, text::Style { namespaces: false }, &mut text);
        (
            String::from_utf8_lossy(&text).into_owned(),
            !report.findings.is_empty(),
        )
    }
}

/// Asks Vault for the writing key, and opens the session of the verification.
async fn vault(options: &Audit) -> Result<(Option<VaultKey>, Option<Seeds>), Problem> {
    if options.config.is_none() && !options.verify {
        return Ok((None, None));
    }
    let file: Option<PathBuf> = options.config.clone().flatten();
    let session = VaultSession::open(file).await?;
    let info = match session.read_key().await {
        Ok(info) => info,
        Err(problem) => {
            session.close().await;
            return Err(problem);
        }
    };
    let settings = &session.config.keys;
    let key = &settings.key;
    let vault_key = VaultKey {
        key_id: settings.key_id(info.latest).as_str().to_owned(),
        name: KeyName::Key {
            namespace: key.namespace.as_str().to_owned(),
            mount: key.mount.as_str().to_owned(),
            name: key.name.as_str().to_owned(),
        },
        min_decryption_version: info.min_decryption_version,
    };
    if options.verify {
        return Ok((Some(vault_key), Some(Seeds::new(session))));
    }
    session.close().await;
    Ok((Some(vault_key), None))
}

/// Counts a scan to its end.
async fn read(
    mut scan: Scan,
    tally: &mut Tally,
    mut verifier: Option<&mut Verifier>,
    place: Place<'_>,
) -> Result<(), Problem> {
    let progress = Progress::new(&scan);
    while let Some(page) = scan.pages.recv().await {
        let page = page.map_err(source_problem)?;
        progress.add(&page);
        for record in &page {
            tally.add(record, Stored::parse(&record.value).as_ref(), place);
        }
        if let Some(verifier) = verifier.as_deref_mut() {
            verifier.add(&page).await?;
        }
    }
    Ok(())
}

/// No object at all is a wrong prefix or another etcd, and must not look clean.
fn nothing(origin: &str, prefix: &str) -> Problem {
    let cause = format!("{origin} holds no object below {prefix}");
    let remedy = "name the prefix of kube-apiserver's --etcd-prefix with --prefix, or the etcd that it uses with --endpoints";
    Problem::wrong_input(Diagnosis::new(cause).with_remedy(remedy))
}

fn publish(report: &Report<'_>, options: &Audit) -> Result<Exit, Problem> {
    if let Some(file) = &options.metrics {
        metrics::write(report, file).map_err(|error| {
            let cause = format!("{}: {error}", file.display());
            Problem::wrong_input(
                Diagnosis::new(cause)
                    .with_remedy("name a file in a directory that you may write to"),
            )
        })?;
    }
    output::written(print(report, options))?;
    Ok(if report.findings.is_empty() {
        Exit::Ok
    } else {
        Exit::Warned
    })
}

fn print(report: &Report<'_>, options: &Audit) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if options.json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        let style = text::Style {
            namespaces: options.namespaces,
        };
        text::write(report, style, &mut out)?;
    }
    out.flush()
}

#[cfg(test)]
pub(crate) use tests::advised_minimum;

#[cfg(test)]
mod tests;
