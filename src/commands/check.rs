//! `check`: whether a configuration works, step by step: first what can be checked without Vault,
//! then the connection to Vault, the login, the policy, the key, a round trip.
//!
//! It binds nothing, connects to the KMS socket only with `--running`, uses nothing up, and prints no
//! secret. Its errors are those that the daemon would log.

mod capabilities;
mod dial_target;
mod encryption;
mod environment;
mod fingerprint;
mod format;
mod jwt;
mod key;
pub(crate) mod kube_flag;
mod login;
mod management;
mod offline;
mod reach;
mod report;
mod running;
mod socket;
mod unit;
mod warnings;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::called;
use crate::cli;
use crate::config::{Config, Source};
use crate::drop_in::Invocation;
use crate::system::Exit;
use crate::vault::Client;
#[cfg(feature = "kmsctl")]
pub(crate) use encryption::NamedProvider;
#[cfg(feature = "kmsctl")]
pub(crate) use encryption::apiserver_command;
#[cfg(any(test, fuzzing))]
pub(crate) use encryption::fuzzing;
#[cfg(feature = "kmsctl")]
pub(crate) use encryption::{KmsProvider, Plan, Writer};
pub(super) use encryption::{check as check_encryption, fingerprint as encryption_fingerprint};
pub use report::{Outcome, Report, Step, Style};

/// How long kube-apiserver waits for a call by default.
const KUBE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a request to Vault about a token or a policy may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs the checks of the command line, on `file` if one is named, or else on what `called` says. The runtime is created here, because
/// what `main.rs` awaits is compiled into the program a second time.
///
/// # Errors
/// If the system refuses.
pub fn run(
    options: &cli::Check,
    file: Option<PathBuf>,
    called: Option<&Invocation>,
) -> io::Result<Report> {
    let mut report = Report::default();
    // With the rights of whoever started this: the file is kube-apiserver's.
    let file_of_kube = options.encryption_config.as_ref().map(std::fs::read);
    // Before there is a thread, which would stay root. What kube-apiserver would meet only root can try.
    let source = match &options.unit {
        None => Some(called::source(file, called)),
        Some(unit) => unit::source(unit, file, !options.running, &mut report),
    };
    let Some(source) = source else {
        return Ok(report);
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    let report = runtime.block_on(steps(options, source, file_of_kube, report));
    runtime.shutdown_background();
    Ok(report)
}

/// Prints the fingerprint of the configuration, and that of the EncryptionConfiguration if it is named.
///
/// # Errors
/// The error to print, and its exit code.
pub fn print_fingerprint(
    options: &cli::Check,
    file: Option<PathBuf>,
    called: Option<&Invocation>,
) -> Result<(), (String, Exit)> {
    fingerprint::print(options, file, called)
}

async fn steps(
    options: &cli::Check,
    source: Source,
    file_of_kube: Option<io::Result<Vec<u8>>>,
    mut report: Report,
) -> Report {
    let host = match options.unit {
        None => environment::Host::of_process(),
        Some(_) => environment::Host::Daemon,
    };
    let checked = offline::check(&source, host, &mut report).await;
    if let Some((config, client)) = &checked
        && !options.offline
    {
        offline::files(config, &mut report);
        if let Some(client) = client {
            vault(config, client, options.login, &mut report).await;
        }
        socket::check(config, &mut report);
    }
    if let (Some(file), Some(text)) = (&options.encryption_config, file_of_kube) {
        let config = checked.as_ref().map(|(config, _)| &**config);
        encryption::check(file, text, None, config, &mut report);
    }
    if let Some((config, _)) = &checked
        && options.running
    {
        let has_file = options.encryption_config.is_some();
        running::check(config, has_file, &mut report).await;
    }
    report
}

/// The steps that need Vault, up to the first that makes the next ones impossible.
async fn vault(config: &Config, client: &Client, login: bool, report: &mut Report) {
    if !reach::check(&config.vault, report).await {
        return;
    }
    jwt::check(&config.auth, report).await;
    let began = Instant::now();
    let Some(grant) = login::log_in(client, &config.auth, login, report).await else {
        return;
    };
    let namespace = login::describe_token(client, &config.auth, &grant, report).await;
    let query = capabilities::Query {
        client,
        token: &grant.token,
        namespace,
    };
    query.check(&config.keys, report).await;
    key::check(client, &config.keys, &grant.token, report).await;
    login::log_out(client, &config.auth, &grant.token, began, report).await;
}
