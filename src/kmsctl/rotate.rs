//! `rotate`: a new version of the Transit key, used by every kube-apiserver, and every object written with it.
//!
//! Safe to repeat: a version that is not used everywhere yet is not rotated away, the command goes on with it.

mod apiservers;
mod args;
mod convergence;
mod key;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::cluster::{Cluster, Retries};
use super::migrate::selection::Selection;
use super::migrate::{Job, read_plan};
use super::output::{self, Problem};
use crate::commands::check::Plan;
use crate::config::{Config, Source};
use crate::diagnosis::Diagnosis;
use crate::system::Exit;
use crate::vault::KeyVersions;
use apiservers::ApiServer;
pub use args::Rotate;
#[cfg(test)]
pub(crate) use convergence::usage;
use convergence::{Laggard, Wanted};
use key::Key;

const POLL_INTERVAL: Duration = Duration::from_secs(3);
/// How often it is said who is awaited.
const NOTE_INTERVAL: Duration = Duration::from_secs(30);

/// What every step needs.
struct Run<'a> {
    args: &'a Rotate,
    key: Key<'a>,
    providers: Vec<String>,
    servers: Vec<ApiServer>,
}

/// What the files and the cluster say.
struct Setup {
    config: Config,
    plan: Plan,
    providers: Vec<String>,
    cluster: Cluster,
    servers: Vec<ApiServer>,
}

/// Runs `rotate`.
pub async fn run(args: &Rotate, stop: CancellationToken) -> Exit {
    match command(args, stop).await {
        Ok(exit) => exit,
        Err(problem) => problem.print(),
    }
}

async fn command(args: &Rotate, stop: CancellationToken) -> Result<Exit, Problem> {
    let setup = Setup::read(args, &stop).await?;
    let mut job = Job {
        cluster: &setup.cluster,
        encryption_config: &args.encryption_config,
        plan: &setup.plan,
        options: &args.options,
        selection: Selection::All,
        announced: BTreeMap::new(),
        stop: stop.clone(),
    };
    let run = Run {
        args,
        key: Key::new(&setup.config, args.token_file.as_deref())?,
        providers: setup.providers,
        servers: setup.servers,
    };
    let is_dry = args.options.dry_run;
    if args.wait && !is_dry {
        job.check().await?;
    }
    let versions = run.rotate().await?;
    if !args.wait {
        run.say_what_follows(&versions);
        return Ok(Exit::Ok);
    }
    if !is_dry {
        run.wait(&versions, &stop).await?;
    }
    job.announced = run.announced(&versions);
    job.run().await
}

impl Setup {
    async fn read(args: &Rotate, stop: &CancellationToken) -> Result<Self, Problem> {
        let config = Source::of_process(args.config.clone()).load();
        let config = config.map_err(|errors| Problem {
            causes: errors
                .iter()
                .map(|error| error.to_string().into())
                .collect(),
            exit: Exit::Config,
        })?;
        let plan = read_plan(&args.encryption_config)?;
        let providers = providers(args, &plan, &config)?;
        let cluster = Cluster::new(&args.cluster).await;
        let cluster = cluster.map_err(|cause| Problem::new(cause, Exit::Config))?;
        let retries = Retries {
            cluster: cluster.clone(),
            stop: stop.clone(),
        };
        let servers = if providers.is_empty() {
            Vec::new()
        } else {
            let found = apiservers::find(&retries, &args.apiservers).await;
            found.map_err(|cause| Problem::new(cause, Exit::Unavailable))?
        };
        Ok(Self {
            config,
            plan,
            providers,
            cluster,
            servers,
        })
    }
}

/// The KMS v2 providers that lead to the plugin. None if all are of v1 and one does not wait for them.
fn providers(args: &Rotate, plan: &Plan, config: &Config) -> Result<Vec<String>, Problem> {
    let error = |cause: String, remedy: String| {
        Problem::new(Diagnosis::new(cause).with_remedy(remedy), Exit::Config)
    };
    let all = plan.kms_providers();
    let ours = if args.providers.is_empty() {
        plan.providers_at(&config.socket.path)
    } else {
        let named = all.iter().filter(|one| args.providers.contains(&one.name));
        named.cloned().collect()
    };
    let file = args.encryption_config.display();
    if ours.is_empty() {
        let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
        return Err(error(
            format!(
                "{file}: no KMS provider of it leads to socket.path {}",
                config.socket.path
            ),
            format!(
                "name that of this plugin with --provider: {}",
                names.join(", ")
            ),
        ));
    }
    let v2: Vec<_> = ours
        .iter()
        .filter(|one| one.is_v2)
        .map(|one| one.name.clone())
        .collect();
    if v2.is_empty() {
        let cause = format!(
            "{file}: its provider is KMS v1, which has no key_id: a new version is used for what is written from then on, \
             and kube-apiserver cannot be asked which it uses, nor does it find older objects out of date"
        );
        let remedy = "move to KMS v2, or give the provider a new name and keep the old one below it: `migrate` then writes \
                      every object again (docs/operations/rotation.md)";
        if args.wait {
            return Err(error(cause, format!("run it without --wait; {remedy}")));
        }
        output::note(&Diagnosis::new(cause).with_remedy(remedy));
    }
    Ok(v2)
}

impl Run<'_> {
    /// Rotates if every kube-apiserver uses the latest version. Returns the versions afterwards.
    async fn rotate(&self) -> Result<KeyVersions, Problem> {
        let versions = self.key.versions().await?;
        let latest = versions.latest.version;
        if self.args.no_rotate {
            return Ok(versions);
        }
        let laggards = convergence::laggards(&self.servers, &self.wanted(&versions)).await;
        if laggards.iter().any(|one| !one.is_known) {
            let cause =
                "it is not known which version each kube-apiserver uses, so the key is not rotated";
            return Err(unavailable(Diagnosis::new(cause), &laggards));
        }
        if !laggards.is_empty() {
            output::note(&format!(
                "{latest} of the key is not used by every kube-apiserver yet: it is not rotated again"
            ));
            return Ok(versions);
        }
        if self.args.options.dry_run {
            output::note(&format!(
                "every kube-apiserver uses {latest}: the key would be rotated"
            ));
            return Ok(versions);
        }
        self.key.rotate().await?;
        let versions = self.key.versions().await?;
        let (now, key_id) = (versions.latest.version, self.key.key_id(&versions));
        output::note(&format!(
            "the key is rotated from {latest} to {now}: {key_id}"
        ));
        Ok(versions)
    }

    /// The hash of the latest key_id, for each provider that uses it.
    fn announced(&self, versions: &KeyVersions) -> BTreeMap<String, String> {
        let hash = self.key.key_id(versions).hash();
        let providers = self.providers.iter();
        providers.map(|one| (one.clone(), hash.clone())).collect()
    }

    fn wanted(&self, versions: &KeyVersions) -> Wanted {
        Wanted {
            hash: self.key.key_id(versions).hash(),
            providers: self.providers.clone(),
            names: self.key.names(versions),
        }
    }

    /// Waits until every kube-apiserver uses the latest version.
    async fn wait(&self, versions: &KeyVersions, stop: &CancellationToken) -> Result<(), Problem> {
        let (began, wanted) = (Instant::now(), self.wanted(versions));
        let mut noted: Option<Instant> = None;
        loop {
            let laggards = convergence::laggards(&self.servers, &wanted).await;
            if laggards.is_empty() {
                let (count, version) = (self.servers.len(), versions.latest.version);
                output::note(&format!("all {count} kube-apiservers use {version}"));
                return Ok(());
            }
            if began.elapsed() >= self.args.timeout {
                let limit = humantime::format_duration(self.args.timeout);
                let cause = format!(
                    "not every kube-apiserver uses {} after {limit}, so nothing is written again",
                    versions.latest.version
                );
                let remedy = "once the reasons are dealt with run the same command again: it does not rotate again";
                return Err(unavailable(
                    Diagnosis::new(cause).with_remedy(remedy),
                    &laggards,
                ));
            }
            if noted.is_none_or(|at| at.elapsed() >= NOTE_INTERVAL) {
                noted = Some(Instant::now());
                for Laggard { url, reason, .. } in &laggards {
                    output::note(&format!("waiting for {url}: {reason}"));
                }
            }
            tokio::select! {
                () = sleep(POLL_INTERVAL) => {}
                () = stop.cancelled() => {
                    let text = "stopped by a signal while waiting; nothing is written again";
                    return Err(Problem::new(text, Exit::Warned));
                }
            }
        }
    }

    fn say_what_follows(&self, versions: &KeyVersions) {
        let key_id = self.key.key_id(versions);
        let hash = key_id.hash();
        output::note(&format!(
            "every kube-apiserver uses {} within 90 s if its plugin reaches Vault; key_id {key_id}, hash {hash}",
            versions.latest.version
        ));
        if !self.providers.is_empty() {
            output::note(
                &"run the same command with --wait, which does not rotate again before that, to wait for it and to \
                  write every object again",
            );
        }
    }
}

/// The cause, and each kube-apiserver with its reason.
fn unavailable(cause: Diagnosis, laggards: &[Laggard]) -> Problem {
    let mut causes: Vec<_> = laggards
        .iter()
        .map(|one| Diagnosis::new(format!("{}: {}", one.url, one.reason)))
        .collect();
    causes.push(cause);
    Problem {
        causes,
        exit: Exit::Unavailable,
    }
}
