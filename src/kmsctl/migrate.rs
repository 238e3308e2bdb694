//! `migrate`: has kube-apiserver store every object again whose stored form is out of date.
//!
//! Each write is one transaction of etcd that keeps the content, so every interruption is harmless.

mod args;
mod direct;
mod discovery;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod outcome;
mod pace;
mod pages;
mod permissions;
mod progress;
mod report;
mod resume;
pub mod selection;
mod svm;
mod targets;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::announced::announced;
use super::cluster::{Call, CallError, Cluster, Failure, Retries};
use super::etcd_view::EtcdView;
use super::finish::finish;
use super::output::{self, Problem};
use crate::commands::check::{KmsProvider, Plan, Writer};
use crate::diagnosis::Diagnosis;
use crate::sha256::short_hash;
use crate::system::Exit;
pub use args::{Method, Migrate, MigrateOptions};
use direct::Direct;
use discovery::Served;
use outcome::{Ended, Outcome};
use progress::Progress;
use report::Report;
use resume::Resume;
use selection::Selection;
use targets::Targets;

/// One run of `migrate`, or of the part of `rotate` that migrates.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// Where.
    pub(crate) cluster: &'a Cluster,
    /// kube-apiserver's file.
    pub(crate) encryption_config: &'a Path,
    /// What it says.
    pub(crate) plan: &'a Plan,
    /// How.
    pub(crate) options: &'a MigrateOptions,
    /// Which objects; with etcd those that are out of date.
    pub(crate) selection: Selection,
    /// The hash of the key_id that each KMS v2 provider uses, by its name, if that is known already.
    pub(crate) announced: BTreeMap<String, String>,
    /// Cancelled by a signal.
    pub(crate) stop: CancellationToken,
}

/// Runs `migrate`.
pub async fn run(args: &Migrate, stop: CancellationToken) -> Exit {
    match command(args, stop).await {
        Ok(exit) => exit,
        Err(problem) => problem.print(),
    }
}

async fn command(args: &Migrate, stop: CancellationToken) -> Result<Exit, Problem> {
    let plan = read_plan(&args.encryption_config)?;
    let cluster = Cluster::new(&args.cluster).await;
    let cluster = cluster.map_err(|cause| Problem::new(cause, Exit::Config))?;
    let job = Job {
        cluster: &cluster,
        encryption_config: &args.encryption_config,
        plan: &plan,
        options: &args.options,
        selection: Selection::All,
        announced: BTreeMap::new(),
        stop,
    };
    job.run().await
}

/// Reads kube-apiserver's file.
pub(crate) fn read_plan(path: &Path) -> Result<Plan, Problem> {
    Plan::read(path).map_err(|causes| Problem {
        causes,
        exit: Exit::Config,
    })
}

impl Job<'_> {
    /// Finds out whether it could run, without a write: for `rotate`, before it rotates.
    pub(crate) async fn check(&self) -> Result<(), Problem> {
        let retries = self.retries();
        EtcdView::open(&self.options.etcd, self.encryption_config, &retries).await?;
        let (_, targets) = self.prepare(&retries).await?;
        permissions::check(&retries, &names(&targets))
            .await
            .map_err(problem)
    }

    /// Writes everything, and prints what became of it.
    pub(crate) async fn run(mut self) -> Result<Exit, Problem> {
        let retries = self.retries();
        let options = &self.options.etcd;
        let etcd = EtcdView::open(options, self.encryption_config, &retries).await?;
        self.learn_announced(&retries).await;
        if let Some(etcd) = &etcd {
            self.select(etcd).await?;
        }
        let (served, targets) = self.prepare(&retries).await?;
        for note in &targets.notes {
            output::note(note);
        }
        if self.options.dry_run {
            return self.dry_run(&retries, &targets).await;
        }
        let names = names(&targets);
        permissions::check(&retries, &names)
            .await
            .map_err(problem)?;
        let mut resume = self.resume()?;
        let (report, ended) = self.resources(&retries, &served, &names, &mut resume).await;
        let exit = self.end(&report, ended, &resume)?;
        let json = self.options.json;
        let is_clean = finish(report.complete, etcd.as_ref(), &self.announced, json).await?;
        Ok(match exit {
            Exit::Ok if !is_clean => Exit::Warned,
            exit => exit,
        })
    }

    /// Asks kube-apiserver which key_id each of its providers uses, as far as that is not known.
    async fn learn_announced(&mut self, retries: &Retries) {
        if self.is_announced() {
            return;
        }
        let call = Call::get("/metrics").accept("text/plain");
        match retries.send(&call).await {
            Ok(answer) => {
                for (provider, one) in announced(&answer.text()) {
                    self.announced.entry(provider).or_insert(one.hash);
                }
            }
            Err(failure) => output::note(&format!(
                "which key_id kube-apiserver uses is not known, that needs get on the nonResourceURL /metrics: {}",
                failure.message().unwrap_or_default()
            )),
        }
    }

    /// Whether it is known of each KMS v2 provider with which key_id it writes.
    fn is_announced(&self) -> bool {
        let providers = self.plan.kms_providers();
        let is_known = |kms: &KmsProvider| !kms.is_v2 || self.announced.contains_key(&kms.name);
        providers.iter().all(is_known)
    }

    /// Only what is out of date, if it is known of each provider with which key it writes.
    async fn select(&mut self, etcd: &EtcdView) -> Result<(), Problem> {
        if !self.is_announced() {
            output::note(&"all objects are written, because it is not known which are out of date");
            return Ok(());
        }
        self.selection = Selection::Only(etcd.stale(&self.announced).await?);
        Ok(())
    }

    fn retries(&self) -> Retries {
        Retries {
            cluster: self.cluster.clone(),
            stop: self.stop.clone(),
        }
    }

    /// What the cluster serves, and what of it is written.
    async fn prepare(&self, retries: &Retries) -> Result<(Vec<Served>, Targets), Problem> {
        let served = discovery::served(retries).await.map_err(problem)?;
        let targets = self.targets(&served, retries).await?;
        Ok((served, targets))
    }

    async fn targets(&self, served: &[Served], retries: &Retries) -> Result<Targets, Problem> {
        let foreign = discovery::foreign_groups(retries).await.map_err(problem)?;
        let targets = targets::find(self.plan, served, &foreign, self.options);
        let mut targets = targets.map_err(|cause| Problem::new(cause, Exit::Config))?;
        let is_v1 = |writer: &Writer| matches!(writer, Writer::Kms(kms) if !kms.is_v2);
        if targets.resources.iter().any(|(_, writer)| is_v1(writer)) {
            let note = "KMS v1 has no key_id: kube-apiserver takes what its v1 provider wrote for up to date, whatever the \
                        version of the key; only what another provider wrote is written again";
            targets.notes.push(note.to_owned());
        }
        Ok(targets)
    }

    async fn dry_run(&self, retries: &Retries, targets: &Targets) -> Result<Exit, Problem> {
        let mut report = Report {
            dry_run: true,
            complete: true,
            ..Report::default()
        };
        for (served, _) in &targets.resources {
            let mut outcome = Outcome::new(served.to_string(), "none");
            outcome.written = match self.selection.count(&served.group, &served.resource) {
                Some(count) => count as u64,
                None => count(retries, served).await.map_err(problem)?,
            };
            report.resources.push(outcome);
        }
        self.print(&report)?;
        Ok(Exit::Ok)
    }

    /// One resource after the other.
    async fn resources(
        &self,
        retries: &Retries,
        served: &[Served],
        targets: &[&Served],
        resume: &mut Resume,
    ) -> (Report, Result<(), Ended>) {
        let progress = Progress::new();
        let direct = Direct::new(retries, self.options, &self.selection, &progress);
        let migrations = self.migrations(served);
        let mut report = Report::default();
        let mut ended = Ok(());
        for one in targets {
            if let Some(path) = &migrations {
                match self.by_migration(retries, path, one, &progress).await {
                    Ok(Some(outcome)) => {
                        report.resources.push(outcome);
                        continue;
                    }
                    Ok(None) => {}
                    Err(failure) => {
                        ended = Err(ended_by(failure));
                        break;
                    }
                }
            }
            let (outcome, end) = direct.resource(one, resume).await;
            report.resources.push(outcome);
            if end.is_err() {
                ended = end;
                break;
            }
        }
        progress.end();
        if let Err(Ended::Unavailable(cause)) = &ended {
            report.error = Some(cause.to_string());
        }
        report.complete = ended.is_ok() && report.resources.iter().all(Outcome::is_clean);
        (report, ended)
    }

    /// Where a StorageVersionMigration is created; `None` if this program writes.
    fn migrations(&self, served: &[Served]) -> Option<String> {
        let wanted = match self.options.method {
            Method::Direct => false,
            Method::Svm => true,
            Method::Auto => {
                matches!(self.selection, Selection::All) && self.options.state.is_none()
            }
        };
        let path = svm::path(served).filter(|_| wanted);
        if path.is_none() && self.options.method == Method::Svm {
            output::note(
                &"the cluster does not serve StorageVersionMigrations: this program writes",
            );
        }
        path
    }

    /// `None` if it did not succeed: this program then writes, and says which object fails.
    async fn by_migration(
        &self,
        retries: &Retries,
        path: &str,
        served: &Served,
        progress: &Progress,
    ) -> Result<Option<Outcome>, Failure> {
        let began = std::time::Instant::now();
        let cause = match svm::migrate(retries, path, served).await? {
            svm::Ended::Succeeded => {
                let mut outcome = Outcome::new(served.to_string(), "svm");
                outcome.complete = true;
                outcome.seconds = began.elapsed().as_secs_f64();
                return Ok(Some(outcome));
            }
            svm::Ended::Failed(cause) => format!("failed: {cause}"),
            svm::Ended::NotStarted(cause) => cause,
        };
        progress.note(&format!(
            "vault-kmsctl: StorageVersionMigration of {served}: {cause}; this program writes them"
        ));
        Ok(None)
    }

    fn resume(&self) -> Result<Resume, Problem> {
        let Some(path) = &self.options.state else {
            return Ok(Resume::nothing());
        };
        if !self.is_announced() {
            let cause = "--state: it is not known which key_id each provider uses, and so what the state is for";
            let remedy = "grant get on the nonResourceURL /metrics, or leave out --state";
            let cause = Diagnosis::new(cause).with_remedy(remedy);
            return Err(Problem::new(cause, Exit::Unavailable));
        }
        let generation = self.generation();
        Resume::open(path, generation).map_err(|cause| Problem::new(cause, Exit::Config))
    }

    /// What is written with: kube-apiserver's file, and the key_ids that it follows.
    fn generation(&self) -> String {
        let text = std::fs::read(self.encryption_config).unwrap_or_default();
        let mut generation = short_hash(&text);
        for (provider, hash) in &self.announced {
            generation.push_str(&format!(" {provider}={hash}"));
        }
        generation
    }

    fn end(
        &self,
        report: &Report,
        ended: Result<(), Ended>,
        resume: &Resume,
    ) -> Result<Exit, Problem> {
        self.print(report)?;
        let exit = match ended {
            Ok(()) if report.complete => {
                resume.remove();
                Exit::Ok
            }
            Ok(()) => Exit::Warned,
            Err(Ended::Stopped) => {
                output::note(&"stopped by a signal, after the requests in flight");
                Exit::Warned
            }
            Err(Ended::Unavailable(cause)) => {
                output::note(&cause);
                Exit::Unavailable
            }
        };
        Ok(exit)
    }

    fn print(&self, report: &Report) -> Result<(), Problem> {
        let text = if self.options.json {
            report.json()
        } else {
            report.text()
        };
        output::print(&text)
    }
}

fn names(targets: &Targets) -> Vec<&Served> {
    targets.resources.iter().map(|(one, _)| one).collect()
}

/// How many objects there are.
async fn count(retries: &Retries, served: &Served) -> Result<u64, Failure> {
    let mut pages = pages::Pages::new(retries, served.path(), 1, String::new());
    let page = pages.next().await?.unwrap_or_default();
    Ok(page.objects.len() as u64 + page.remaining.unwrap_or_default())
}

fn ended_by(failure: Failure) -> Ended {
    match failure {
        Failure::Stopped => Ended::Stopped,
        Failure::Unavailable(diagnosis) => Ended::Unavailable(diagnosis),
        Failure::Refused(status) | Failure::Internal(status) => {
            Ended::Unavailable(Diagnosis::new(status.message))
        }
    }
}

/// A failure before anything was written.
fn problem(failure: Failure) -> Problem {
    match failure {
        Failure::Stopped => Problem::new("stopped by a signal, nothing was written", Exit::Warned),
        Failure::Unavailable(cause) => Problem::new(cause, Exit::Unavailable),
        Failure::Refused(status) | Failure::Internal(status) => {
            let error = CallError::Refused(status, None);
            Problem::new(error.diagnosis("of the kubeconfig"), Exit::Unavailable)
        }
    }
}
