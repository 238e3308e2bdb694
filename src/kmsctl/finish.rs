//! The end of `migrate` and of `rotate`: an audit where etcd can be read, and what may be done now.

use std::collections::BTreeMap;

use super::etcd_view::EtcdView;
use super::output::{self, Problem};

/// What an old version is kept for until it is proven that nothing needs it.
const RUN_AUDIT: &str = "all objects are written; run `vault-kmsctl audit`, which proves it from etcd, before min_decryption_version \
     is raised, or an old provider or key is removed";
const NOT_ALL: &str = "NOT all objects are written: keep every old key version and provider; run the same command again once the \
     failures above are dealt with, what is up to date is not written twice";
const CLEAN: &str = "all objects are written, and no object in etcd is under an old key or provider: an old provider may be removed from the \
     EncryptionConfiguration once every kube-apiserver has this one, but keep its keys for as long as a backup of etcd may be restored; \
     for min_decryption_version the audit above says what is safe, and on which conditions";
const NOT_CLEAN: &str = "all objects that were found are written, but the audit above has findings: keep every old key version and \
     provider until they are dealt with";

/// Audits etcd, if it can be read, and says what may be done now that every object was written or up to date, or that
/// not all are. Returns whether that is the end.
///
/// # Errors
/// If the report cannot be written.
pub(crate) async fn finish(
    is_complete: bool,
    etcd: Option<&EtcdView>,
    announced: &BTreeMap<String, String>,
    json: bool,
) -> Result<bool, Problem> {
    let Some(etcd) = etcd else {
        output::note(if is_complete { &RUN_AUDIT } else { &NOT_ALL });
        return Ok(is_complete);
    };
    let examined = match etcd.audit(announced).await {
        Ok(examined) => examined,
        Err(problem) => {
            output::note(&format!("etcd could not be audited: {}", problem.text()));
            output::note(if is_complete { &RUN_AUDIT } else { &NOT_ALL });
            return Ok(is_complete);
        }
    };
    let (text, has_findings) = examined.text();
    if json {
        // The report of the migration is what a program reads.
        output::note(&text.trim_end());
    } else {
        output::print(&format!("\n{text}"))?;
    }
    output::note(match (is_complete, has_findings) {
        (false, _) => &NOT_ALL,
        (true, true) => &NOT_CLEAN,
        (true, false) => &CLEAN,
    });
    Ok(is_complete && !has_findings)
}
