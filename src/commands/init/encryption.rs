//! Both steps of the EncryptionConfiguration, checked as kube-apiserver would.

use std::path::Path;

use super::super::check::{Outcome, Report, check_encryption, encryption_fingerprint};
use super::answers::Answers;
use super::output::OutputFile;
use super::text::yaml;
use crate::config::Config;

/// Every kube-apiserver reads what the plugin encrypts, and none writes it.
pub(super) const READERS: &str = "encryption-1-readers.yaml";
/// The plugin encrypts what is written.
pub(super) const WRITER: &str = "encryption-2-writer.yaml";

/// By what `check --fingerprint` tells the steps apart: of the first, and of the second.
pub(super) fn fingerprints(files: &[OutputFile; 2]) -> [String; 2] {
    // They were checked before.
    let of =
        |file: &OutputFile| encryption_fingerprint(file.content.as_bytes()).unwrap_or_default();
    [of(&files[0]), of(&files[1])]
}

/// Both files, and what `check` would warn of in the second one: the first one is to be followed by it.
///
/// # Errors
/// If kube-apiserver would refuse one of them, or it would not use this plugin.
pub(super) fn files(
    answers: &Answers,
    config: &Config,
) -> Result<([OutputFile; 2], Vec<String>), String> {
    let identity = "      - identity: {}\n".to_owned();
    let kms = provider(answers);
    let readers = whole(
        answers,
        "# Step 1, on every control-plane node before step 2 on any: kube-apiserver can read what the plugin\n\
         # encrypts, and writes unencrypted as before. Never again when step 2 is done on one: new objects would\n\
         # be written unencrypted. A node that joins then gets the file of another node.\n",
        &[&identity, &kms],
    );
    let writer = whole(
        answers,
        "# Step 2, when every kube-apiserver uses step 1: what is written from now on is encrypted.\n\
         # `identity` reads what was written before; remove it only when nothing of that is left.\n",
        &[&kms, &identity],
    );
    check(READERS, &readers, config)?;
    let warnings = check(WRITER, &writer, config)?;
    let about = "step 1 of kube-apiserver's file: can read";
    let readers = OutputFile::new(READERS, about, readers);
    let about = "step 2 of kube-apiserver's file: encrypts";
    Ok(([readers, OutputFile::new(WRITER, about, writer)], warnings))
}

fn provider(answers: &Answers) -> String {
    format!(
        "      - kms:\n          apiVersion: v2\n          name: {}\n          endpoint: {}\n          timeout: {}\n",
        yaml(&answers.provider),
        yaml(&format!("unix://{}", answers.socket)),
        answers.timeout
    )
}

fn whole(answers: &Answers, comment: &str, providers: &[&String]) -> String {
    let resources: Vec<_> = answers.resources.iter().map(|it| yaml(it)).collect();
    let mut text = format!(
        "{comment}apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n  \
         - resources: [{}]\n    providers:\n",
        resources.join(", ")
    );
    for provider in providers {
        text.push_str(provider);
    }
    text
}

/// The warnings about a file.
fn check(name: &str, text: &str, config: &Config) -> Result<Vec<String>, String> {
    let mut report = Report::default();
    let bytes = Ok(text.as_bytes().to_vec());
    check_encryption(Path::new(name), bytes, None, Some(config), &mut report);
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for step in report.steps() {
        match step.outcome {
            Outcome::Ok => {}
            Outcome::Warning => warnings.push(step.to_string()),
            _ => errors.push(step.to_string()),
        }
    }
    if errors.is_empty() {
        return Ok(warnings);
    }
    Err(errors.join("\n"))
}
