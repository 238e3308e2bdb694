//! Writes all selected objects of a resource with workers of this program.

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::args::MigrateOptions;
use super::discovery::Served;
use super::outcome::{Ended, Outcome};
use super::pace::Pace;
use super::pages::{Metadata, Page, Pages};
use super::progress::Progress;
use super::resume::{Position, Resume};
use super::selection::Selection;
use super::write::{self, Written};
use crate::diagnosis::Diagnosis;
use crate::etcd::object_name::Resource;
use crate::kmsctl::cluster::{Failure, Retries, Status};

/// After so many internal errors without a success between them, the next object would fare no better.
const MAX_INTERNAL_IN_A_ROW: u32 = 50;
/// How many causes of a failed list are shown.
const MAX_CAUSES: usize = 10;

/// What all resources of a run share.
#[derive(Debug)]
pub(super) struct Direct<'a> {
    retries: Retries,
    pace: Pace,
    options: &'a MigrateOptions,
    selection: &'a Selection,
    progress: &'a Progress,
    /// Ends the requests that have not begun once one shows that none will succeed.
    abort: CancellationToken,
}

/// A resource at work.
struct Work<'a> {
    served: &'a Served,
    directories: Vec<Resource>,
    outcome: Outcome,
    internal_in_a_row: u32,
}

impl<'a> Direct<'a> {
    pub(super) fn new(
        retries: &Retries,
        options: &'a MigrateOptions,
        selection: &'a Selection,
        progress: &'a Progress,
    ) -> Self {
        let abort = retries.stop.child_token();
        let retries = Retries {
            cluster: retries.cluster.clone(),
            stop: abort.clone(),
        };
        Self {
            retries,
            pace: Pace::new(options.qps),
            options,
            selection,
            progress,
            abort,
        }
    }

    /// Writes the objects of a resource. Returns what became of them, and why it ended early if it did.
    pub(super) async fn resource(
        &self,
        served: &Served,
        resume: &mut Resume,
    ) -> (Outcome, Result<(), Ended>) {
        let name = served.to_string();
        let began = Instant::now();
        let mut work = Work {
            served,
            directories: Resource::candidates(&served.group, &served.resource),
            outcome: Outcome::new(name.clone(), "direct"),
            internal_in_a_row: 0,
        };
        self.progress.begin(&name);
        let position = resume.position(&name);
        let is_selected = self.selection.count(&served.group, &served.resource) != Some(0);
        let ended = if position.done || !is_selected {
            work.outcome.complete = true;
            Ok(())
        } else {
            self.all(&mut work, position.token, resume).await
        };
        work.outcome.seconds = began.elapsed().as_secs_f64();
        if ended.is_ok() && work.outcome.is_clean() {
            let done = Position {
                done: true,
                ..Position::default()
            };
            if let Err(diagnosis) = resume.keep(&name, done) {
                return (work.outcome, Err(Ended::Unavailable(diagnosis)));
            }
        }
        (work.outcome, ended)
    }

    /// All namespaces at one time, and each by itself if that cannot be read.
    async fn all(
        &self,
        work: &mut Work<'_>,
        token: String,
        resume: &mut Resume,
    ) -> Result<(), Ended> {
        let path = work.served.path();
        match self.list(work, path, token, Some(resume)).await {
            Ok(()) => {
                work.outcome.complete = true;
                Ok(())
            }
            Err(Failure::Internal(status)) => {
                let name = format!("list of {}", work.served);
                work.outcome.fail(name, with_causes(&status));
                if work.served.is_namespaced {
                    self.by_namespace(work).await?;
                }
                Ok(())
            }
            Err(failure) => self.unlisted(work, failure, String::new()),
        }
    }

    /// What cannot be listed is a failure, unless nothing else could be either.
    fn unlisted(
        &self,
        work: &mut Work<'_>,
        failure: Failure,
        of_namespace: String,
    ) -> Result<(), Ended> {
        match failure {
            // It is no longer served, or the namespace is gone.
            Failure::Refused(status) if status.code == 404 => {}
            Failure::Refused(status) | Failure::Internal(status) => {
                let name = format!("list of {}{of_namespace}", work.served);
                work.outcome.fail(name, with_causes(&status));
            }
            Failure::Unavailable(diagnosis) => return Err(Ended::Unavailable(diagnosis)),
            Failure::Stopped => return Err(Ended::Stopped),
        }
        Ok(())
    }

    async fn by_namespace(&self, work: &mut Work<'_>) -> Result<(), Ended> {
        let path = "/api/v1/namespaces".to_owned();
        let mut namespaces = Pages::new(&self.retries, path, self.options.page_size, String::new());
        loop {
            let page = match namespaces.next().await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(failure) => return self.unlisted(work, failure, " by namespace".to_owned()),
            };
            for namespace in page.objects {
                let path = work.served.path_in(&namespace.name);
                if let Err(failure) = self.list(work, path, String::new(), None).await {
                    let of = format!(" in namespace {}", namespace.name);
                    self.unlisted(work, failure, of)?;
                }
            }
        }
        Ok(())
    }

    /// Lists and writes. Keeps the position while nothing has failed: what failed is tried again next time.
    async fn list(
        &self,
        work: &mut Work<'_>,
        path: String,
        token: String,
        mut resume: Option<&mut Resume>,
    ) -> Result<(), Failure> {
        let mut pages = Pages::new(&self.retries, path, self.options.page_size, token);
        while let Some(page) = pages.next().await? {
            let next = page.next.clone();
            self.page(work, page).await?;
            if let Some(resume) = resume.as_deref_mut()
                && work.outcome.failed == 0
                && !next.is_empty()
            {
                let position = Position {
                    token: next,
                    done: false,
                };
                let kept = resume.keep(&work.outcome.resource, position);
                kept.map_err(Failure::Unavailable)?;
            }
        }
        Ok(())
    }

    async fn page(&self, work: &mut Work<'_>, page: Page) -> Result<(), Failure> {
        let selected = |object: &Metadata| {
            let Metadata {
                namespace, name, ..
            } = object;
            self.selection.contains(&work.directories, namespace, name)
        };
        let listed = page.objects.len() as u64 + page.remaining.unwrap_or_default();
        let objects: Vec<_> = page.objects.into_iter().filter(selected).collect();
        let of_selection = self
            .selection
            .count(&work.served.group, &work.served.resource);
        let total = of_selection.map_or(work.outcome.done() + listed, |count| count as u64);
        self.progress.total(total);
        let served = work.served;
        let writes = objects.into_iter().map(|object| async move {
            let written = write::write(&self.retries, &self.pace, served, &object).await;
            (object, written)
        });
        let mut writes = stream::iter(writes).buffer_unordered(self.options.workers.into());
        let mut ended = Ok(());
        while let Some((object, written)) = writes.next().await {
            self.progress.advance(1);
            if let Err(failure) = work.count(&object, written)
                && ended.is_ok()
            {
                self.abort.cancel();
                ended = Err(failure);
            }
        }
        ended
    }
}

impl Work<'_> {
    fn count(&mut self, object: &Metadata, written: Written) -> Result<(), Failure> {
        let is_internal = matches!(written, Written::Internal(_));
        self.internal_in_a_row = if is_internal {
            self.internal_in_a_row + 1
        } else {
            0
        };
        let outcome = &mut self.outcome;
        match written {
            Written::Stored => outcome.written += 1,
            Written::Current => outcome.current += 1,
            Written::Gone => outcome.gone += 1,
            Written::Failed(message) => outcome.fail(shown(object), message),
            Written::Internal(message) => {
                outcome.fail(shown(object), message.clone());
                if self.internal_in_a_row >= MAX_INTERNAL_IN_A_ROW {
                    let cause =
                        format!("kube-apiserver fails for one object after the other: {message}");
                    let remedy = "check the plugin and Vault (`vault-kms-plugin status`), then run the same command again";
                    let diagnosis = Diagnosis::new(cause).with_remedy(remedy);
                    return Err(Failure::Unavailable(diagnosis));
                }
            }
            Written::Unavailable(diagnosis) => return Err(Failure::Unavailable(diagnosis)),
            Written::Stopped => return Err(Failure::Stopped),
        }
        Ok(())
    }
}

fn shown(object: &Metadata) -> String {
    match object.namespace.as_str() {
        "" => object.name.clone(),
        namespace => format!("{namespace}/{}", object.name),
    }
}

/// The message of a list that cannot be read, with the objects that it does not name itself.
fn with_causes(status: &Status) -> String {
    let causes = status.details.causes.iter();
    let others = causes.filter(|cause| !status.message.contains(&cause.field));
    let others: Vec<_> = others
        .take(MAX_CAUSES)
        .map(|cause| cause.field.as_str())
        .collect();
    if others.is_empty() {
        return status.message.clone();
    }
    format!("{}; also {}", status.message, others.join(", "))
}
