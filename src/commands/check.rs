//! `check`: whether a configuration works, a step at a time: first what can be told of it without
//! Vault, then the way to Vault, the login, the policy, the key, a round trip.
//!
//! It listens nowhere, asks nothing of the KMS socket, uses nothing up, and prints no secret. Its
//! texts are those that the daemon would log.

mod encryption;
mod grants;
mod key;
mod login;
mod offline;
mod reach;
mod report;
mod socket;
mod warnings;
mod words;

use std::io;

use crate::cli;
use crate::config::{Config, Source};
use crate::system;
use crate::vault::Client;
use offline::offline;
pub use report::{Outcome, Report, Step, Style};

/// Does what the command line asks for. The runtime is in here, because what `main.rs` awaits is
/// compiled into the program a second time.
///
/// # Errors
/// When the system refuses.
pub fn run(options: &cli::Check, source: &Source) -> io::Result<Report> {
    system::harden()?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    Ok(runtime.block_on(steps(options, source)))
}

async fn steps(options: &cli::Check, source: &Source) -> Report {
    let mut report = Report::default();
    let checked = offline(source, &mut report).await;
    if let (Some((config, client)), false) = (&checked, options.offline) {
        offline::files(config, &mut report);
        if let Some(client) = client {
            vault(config, client, options.login, &mut report).await;
        }
        socket::look(config, &mut report);
    }
    if let Some(file) = &options.encryption_config {
        let config = checked.as_ref().map(|(config, _)| &**config);
        encryption::look(file, config, &mut report);
    }
    report
}

/// All that needs Vault, as far as it can be had.
async fn vault(config: &Config, client: &Client, login: bool, report: &mut Report) {
    if !reach::reach(&config.vault, report).await {
        return;
    }
    let Some(grant) = login::log_in(client, &config.auth, login, report).await else {
        return;
    };
    login::look_at_token(client, &config.auth, &grant, report).await;
    grants::look(client, &config.keys, &grant.token, report).await;
    key::prove(client, &config.keys.key, &grant.token, report).await;
    login::log_out(client, &config.auth, &grant.token, report).await;
}
