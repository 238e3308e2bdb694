//! Finds an endpoint that can serve, by asking each for its health until one can.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout};

use super::{Client, Observation};
use crate::diagnosis::Diagnosis;
use crate::reason::Reason;
use crate::vault::error::{CallError, Unavailable};
use crate::vault::sys::{self, Health};

/// After so long without an answer the next endpoint is asked, too.
const STAGGER: Duration = Duration::from_millis(500);

/// Whether an endpoint can serve.
enum Readiness {
    Ready,
    /// Something denies the health paths, so a request must show it.
    Unknown,
    CannotServe(Unavailable),
}

impl Client {
    /// Finds an endpoint that can serve, and prefers it.
    ///
    /// # Errors
    /// If none can, with the reason of each.
    pub async fn find_ready(&self, deadline: Instant) -> Result<(), Unavailable> {
        let order = self.selection().order(Instant::now());
        let stagger = STAGGER.min(
            deadline.saturating_duration_since(Instant::now())
                / u32::try_from(order.len() + 1).unwrap_or(u32::MAX),
        );
        let mut untried = order.into_iter();
        let mut running = FuturesUnordered::new();
        let mut asked = Vec::new();
        let mut unknown = None;
        let mut reasons = Vec::new();
        loop {
            if let Some(next) = untried.next() {
                asked.push((next, Instant::now()));
                running.push(self.readiness(next, deadline));
            }
            let answer = if untried.len() > 0 {
                timeout(stagger, running.next()).await
            } else if unknown.is_some() {
                // A request has to show it anyway: whoever is silent now is not waited for.
                timeout(stagger, running.next()).await.or(Ok(None))
            } else {
                Ok(running.next().await)
            };
            let Ok(Some((index, readiness))) = answer else {
                if answer.is_ok() {
                    break;
                }
                continue;
            };
            asked.retain(|(asked, _)| *asked != index);
            match readiness {
                Readiness::Ready => {
                    // Whoever was asked a moment ago may answer in the next.
                    asked.retain(|(_, since)| since.elapsed() >= stagger);
                    self.found_ready(index, &asked);
                    return Ok(());
                }
                Readiness::Unknown => unknown = unknown.or(Some(index)),
                Readiness::CannotServe(reason) => {
                    let now = Instant::now();
                    self.selection()
                        .record(index, Observation::CannotServe, now);
                    reasons.push((index, reason));
                }
            }
        }
        match unknown {
            Some(index) => {
                let mut selection = self.selection();
                let preferred = selection.preferred();
                selection.prefer(preferred, index);
                Ok(())
            }
            None => Err(self.explain(reasons)),
        }
    }

    /// Prefers an endpoint that can serve to those that did not answer before it.
    fn found_ready(&self, index: usize, silent: &[(usize, Instant)]) {
        let now = Instant::now();
        let mut selection = self.selection();
        for (one, _) in silent {
            selection.record(*one, Observation::Unresponsive, now);
        }
        selection.record(index, Observation::Served, now);
        // The preferred one was asked before, and is not known to be ready.
        let preferred = selection.preferred();
        selection.prefer(preferred, index);
    }

    async fn readiness(&self, index: usize, deadline: Instant) -> (usize, Readiness) {
        let request = sys::health_request(deadline);
        let (_, outcome) = self.attempt(index, &request).await;
        let readiness = match outcome.and_then(|response| sys::read_server(&response)) {
            Ok(server) => match cannot_serve(server.health) {
                Some(reason) => Readiness::CannotServe(reason),
                None if server.health == Health::Standby => {
                    self.standby_readiness(index, deadline).await
                }
                None => Readiness::Ready,
            },
            Err(error @ (CallError::Unreachable { .. } | CallError::TimedOut { .. })) => {
                Readiness::CannotServe(Unavailable {
                    reason: error.reason(),
                    diagnosis: error.diagnosis().about("vault"),
                })
            }
            Err(_) => Readiness::Unknown,
        };
        (index, readiness)
    }

    /// A standby can serve only while it knows the active node.
    async fn standby_readiness(&self, index: usize, deadline: Instant) -> Readiness {
        let request = sys::leader_request(deadline);
        let (_, outcome) = self.attempt(index, &request).await;
        match outcome.and_then(|response| sys::read_has_leader(&response)) {
            Ok(false) => Readiness::CannotServe(Unavailable::new(
                Reason::VaultNoLeader,
                "Vault has no leader: its nodes are electing one or have lost their quorum",
                "wait for the election, or restore the quorum",
            )),
            Ok(true) | Err(_) => Readiness::Ready,
        }
    }

    /// One reason as it is; several with their addresses.
    fn explain(&self, mut reasons: Vec<(usize, Unavailable)>) -> Unavailable {
        if self.endpoints.len() == 1
            && let Some((_, reason)) = reasons.pop()
        {
            return reason;
        }
        reasons.sort_by_key(|(index, _)| *index);
        let mut remedies: Vec<&str> = Vec::new();
        let mut causes = Vec::new();
        for (index, Unavailable { diagnosis, .. }) in &reasons {
            let address = self.endpoints[*index].label();
            // An error of the network names its address itself.
            causes.push(if diagnosis.cause.contains(address) {
                diagnosis.cause.clone()
            } else {
                format!("{address}: {}", diagnosis.cause)
            });
            if let Some(remedy) = diagnosis.remedy.as_deref()
                && !remedies.contains(&remedy)
            {
                remedies.push(remedy);
            }
        }
        let cause = format!("no address of Vault can serve: {}", causes.join(", "));
        let remedy = (!remedies.is_empty()).then(|| remedies.join(", "));
        Unavailable {
            reason: common(reasons.iter().map(|(_, it)| it.reason)),
            diagnosis: Diagnosis { cause, remedy },
        }
    }
}

/// The reason that all have; [`Reason::VaultCannotServe`] if they differ.
fn common(mut reasons: impl Iterator<Item = Reason>) -> Reason {
    let first = reasons.next().unwrap_or(Reason::VaultSilent);
    if reasons.all(|it| it == first) {
        first
    } else {
        Reason::VaultCannotServe
    }
}

/// Why a server of this health cannot serve; `None` if it may be able to.
fn cannot_serve(health: Health) -> Option<Unavailable> {
    let (reason, cause, remedy) = match health {
        Health::Ready | Health::Standby => return None,
        Health::Sealed => (Reason::VaultSealed, "Vault is sealed", "unseal it"),
        Health::Secondary => (
            Reason::VaultCannotServe,
            "Vault is a disaster-recovery secondary",
            "point vault.address at the primary",
        ),
        Health::CutOff => (
            Reason::VaultCannotServe,
            "Vault is a standby that cannot reach the active node",
            "restore the connection between the nodes of the cluster",
        ),
        Health::Removed => (
            Reason::VaultCannotServe,
            "Vault was removed from its cluster",
            "remove it from vault.address, or let it join again",
        ),
    };
    Some(Unavailable::new(reason, cause, remedy))
}
