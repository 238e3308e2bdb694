//! Tables of what a refresh does: each row is a history of reports and outcomes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::keys::key_id::KeyId;
use crate::keys::refresh::Proof;
use crate::keys::tests::{key, stamp};
use crate::reason::Reason;
use crate::system::clock::Moment;
use crate::vault::{ApiErrorKind, CallError, Ciphertext, KeyInfo};

fn info(latest: VersionStamp) -> KeyInfo {
    KeyInfo {
        latest,
        kind: "aes256-gcm96".to_owned(),
        min_decryption_version: 1,
        min_encryption_version: 0,
        auto_rotate_period: Duration::ZERO,
        deletion_allowed: false,
        exportable: false,
        plaintext_backup_allowed: false,
        imported: false,
        unfit: None,
    }
}

fn api(kind: ApiErrorKind) -> KeyError {
    let error = CallError::Api {
        path: "transit/decrypt/kms".to_owned(),
        status: 400,
        message: format!("{kind:?}"),
        kind,
        retry_after: None,
    };
    KeyError::of_call(&key(), &error)
}

/// The key as a server has it: its versions, each with the key material that made it.
#[derive(Clone)]
struct Server {
    versions: BTreeMap<u32, (i64, &'static str)>,
    /// What it reports as the latest; a standby that lags reports an earlier one.
    reported: Option<u32>,
    min_decryption_version: u32,
    /// Encrypts with this version fail so.
    broken: Option<(u32, ApiErrorKind)>,
    reads_fail: Option<ApiErrorKind>,
}

impl Server {
    fn new(versions: &[(u32, i64, &'static str)]) -> Self {
        let versions = versions.iter().map(|&(n, at, by)| (n, (at, by)));
        Self {
            versions: versions.collect(),
            reported: None,
            min_decryption_version: 1,
            broken: None,
            reads_fail: None,
        }
    }

    fn latest(&self) -> VersionStamp {
        let last = *self.versions.keys().last().expect("a version");
        let number = self.reported.unwrap_or(last);
        stamp(self.versions[&number].0, number)
    }

    fn call(&self, call: &Call) -> Outcome {
        match call {
            Call::ReadKey => Outcome::KeyRead(match self.reads_fail {
                Some(kind) => Err(api(kind)),
                None => Ok(info(self.latest())),
            }),
            Call::DecryptCanary(canary) => Outcome::CanaryDecrypted(self.decrypt(canary)),
            Call::Prove { stamp, before, .. } => {
                Outcome::Proved(self.proof(self, *stamp, before.as_ref()))
            }
        }
    }

    fn decrypt(&self, canary: &Canary) -> Result<(), KeyError> {
        let number = canary.stamp.version.get();
        if number < self.min_decryption_version {
            return Err(api(ApiErrorKind::VersionTooOld));
        }
        let Some((_, made_by)) = self.versions.get(&number) else {
            return Err(api(ApiErrorKind::VersionTooNew));
        };
        if canary.ciphertext.as_str().ends_with(made_by) {
            Ok(())
        } else {
            Err(api(ApiErrorKind::BadCiphertext))
        }
    }

    /// This server encrypts, and the other one decrypts.
    fn proof(
        &self,
        other: &Self,
        stamp: VersionStamp,
        before: Option<&Canary>,
    ) -> Result<Proof, KeyError> {
        let canary = self.prove(stamp)?;
        other.decrypt(&canary)?;
        let before = before.map_or(Ok(()), |canary| other.decrypt(canary));
        Ok(Proof { canary, before })
    }

    fn prove(&self, stamp: VersionStamp) -> Result<Canary, KeyError> {
        let number = stamp.version.get();
        if let Some((broken, kind)) = self.broken
            && broken == number
        {
            return Err(api(kind));
        }
        let Some((_, made_by)) = self.versions.get(&number) else {
            return Err(api(ApiErrorKind::VersionTooNew));
        };
        let text = format!("vault:v{number}:{made_by}");
        Ok(Canary {
            digest: [0; 32],
            ciphertext: Arc::new(Ciphertext::try_new(text.into_bytes()).expect("a ciphertext")),
            stamp,
            was_refused: false,
        })
    }
}

/// A machine against a server, with a clock of its own.
struct Run {
    machine: Machine,
    view: KeyView,
    now: Instant,
    log: Vec<LogEntry>,
    calls: Vec<Call>,
}

impl Run {
    fn new(view: KeyView) -> Self {
        Self::accepting(view, None)
    }

    fn accepting(view: KeyView, accepted: Option<&str>) -> Self {
        let accepted = accepted.map(str::to_owned);
        Self {
            machine: Machine::new(key(), accepted, &view),
            view,
            now: Instant::now() + Duration::from_secs(10_000),
            log: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// One that has proven what this server has.
    fn proven(server: &Server) -> Self {
        let mut run = Self::new(KeyView::default());
        run.refresh(server);
        assert!(run.view.proven.is_some());
        run.log.clear();
        run
    }

    fn step(&mut self, event: RefreshEvent) -> Vec<Call> {
        let effects = self
            .machine
            .after(event, self.view.last_encrypted, self.now, 0.5);
        let mut calls = Vec::new();
        for effect in effects {
            match effect {
                Effect::Call(call) => calls.push(call),
                Effect::Publish(publication) => publication.apply(&mut self.view, Moment::now()),
                Effect::Log(entry) => self.log.push(entry),
                Effect::ReportDenied => {}
            }
        }
        assert!(calls.len() <= 1, "two calls at a time");
        calls
    }

    /// One refresh, with everything that it asks of the server.
    fn refresh(&mut self, server: &Server) {
        let mut calls = self.step(RefreshEvent::Due);
        while let Some(call) = calls.pop() {
            self.calls.push(call.clone());
            calls = self.step(RefreshEvent::Ended(CallOutcome(server.call(&call))));
        }
        assert!(self.machine.due().is_some(), "no refresh is planned");
    }

    /// Refreshes whenever the machine wants to, for so long.
    fn run(&mut self, server: &Server, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.machine.due().filter(|due| *due <= end) {
            self.now = due;
            self.refresh(server);
        }
        self.now = end;
    }

    fn proven_version(&self) -> u32 {
        let proven = self.view.proven.as_ref().expect("a proven version");
        proven.stamp.version.get()
    }

    fn has_logged(&self, is: impl Fn(&LogEntry) -> bool) -> bool {
        self.log.iter().any(is)
    }
}

fn is_replaced(entry: &LogEntry) -> bool {
    matches!(entry, LogEntry::Replaced { .. })
}

const V1: (u32, i64, &str) = (1, 100, "bWFkZTE=");
const V2: (u32, i64, &str) = (2, 200, "bWFkZTI=");

#[test]
fn a_rotation_is_proven_whatever_its_creation_time() {
    for created in [200, 100, 50] {
        let mut run = Run::proven(&Server::new(&[V1]));
        run.run(&Server::new(&[V1, (2, created, V2.2)]), 40);
        assert_eq!(run.proven_version(), 2, "created {created}");
        assert!(run.has_logged(|it| matches!(it, LogEntry::VersionVerified { .. })));
        assert!(run.view.fault.is_none());
    }
}

#[test]
fn a_replaced_key_is_a_verdict_and_not_written_to() {
    let recreated_lower = Server::new(&[(1, 300, "b3RoZXI=")]);
    let recreated_same_second = Server::new(&[V1, (2, 200, "b3RoZXI=")]);
    let recreated_higher =
        Server::new(&[(1, 300, "b3RoZXI="), (2, 301, "b3RoZXI="), (3, 302, "eA==")]);
    let another_older = Server::new(&[(1, 50, "b3RoZXI="), (2, 60, "b3RoZXI=")]);
    let lost_versions = Server::new(&[V1]);
    for (name, server, within) in [
        ("recreated with fewer versions", recreated_lower, 110),
        ("recreated within its second", recreated_same_second, 400),
        ("recreated and rotated", recreated_higher, 40),
        ("another vault, whose key is older", another_older, 110),
        ("a snapshot that lost versions", lost_versions, 110),
    ] {
        let mut run = Run::proven(&Server::new(&[V1, V2]));
        run.run(&server, within);
        let replaced = run.view.replaced();
        assert!(replaced.is_some(), "{name}: {:?}", run.view.fault);
        assert_eq!(run.proven_version(), 2, "{name}");
        assert_eq!(
            run.view.proven.as_ref().expect("proven").stamp,
            stamp(200, 2),
            "{name}"
        );
        let entries = run.log.iter().filter(|it| is_replaced(it));
        assert_eq!(entries.count(), 1, "{name}: {:?}", run.log);
        run.run(&server, 3_600);
        let entries = run.log.iter().filter(|it| is_replaced(it));
        assert_eq!(entries.count(), 1, "{name}: logged again and again");
        // The key is restored.
        run.run(&Server::new(&[V1, V2]), 20);
        assert!(run.view.fault.is_none(), "{name}");
        assert!(run.has_logged(|it| matches!(it, LogEntry::Recovered { .. })));
    }
}

#[test]
fn one_refusal_of_the_canary_is_no_verdict() {
    let mut run = Run::proven(&Server::new(&[V1]));
    run.run(&Server::new(&[(1, 300, "b3RoZXI=")]), 33);
    run.log.clear();
    let mut once = Run::proven(&Server::new(&[V1]));
    once.now += Duration::from_secs(33);
    once.refresh(&Server::new(&[(1, 300, "b3RoZXI=")]));
    assert!(once.view.verdict().is_none());
    once.run(&Server::new(&[V1]), 40);
    assert!(once.view.fault.is_none());
    assert!(!once.has_logged(is_replaced));
}

#[test]
fn a_replaced_key_is_written_to_once_its_key_id_is_accepted() {
    let server = Server::new(&[(1, 300, "b3RoZXI=")]);
    let mut before = Run::proven(&Server::new(&[V1, V2]));
    before.run(&server, 110);
    let found = KeyId::new(&key(), server.latest());
    let text = before.view.replaced().expect("replaced").to_string();
    let advice = format!("transit.accept_replaced = \"{found}\"");
    assert!(text.contains(&advice), "{text}");
    let mut other = Run::accepting(before.view.clone(), Some("transit1::transit:kms:v9:1"));
    other.run(&server, 110);
    assert!(
        other.view.replaced().is_some(),
        "another key_id was accepted"
    );
    let mut run = Run::accepting(before.view, Some(found.as_str()));
    run.refresh(&server);
    assert_eq!(run.proven_version(), 1);
    assert!(run.view.fault.is_none());
    assert!(run.has_logged(|it| matches!(it, LogEntry::ReplacementAccepted { .. })));
    // A later rotation needs nothing more.
    run.run(&Server::new(&[(1, 300, "b3RoZXI="), (2, 400, "eA==")]), 40);
    assert_eq!(run.proven_version(), 2);
}

#[test]
fn a_restart_remembers_the_canary() {
    let before = Run::proven(&Server::new(&[V1]));
    let mut run = Run::new(before.view);
    run.run(&Server::new(&[(1, 100, "b3RoZXI=")]), 1);
    run.refresh(&Server::new(&[(1, 100, "b3RoZXI=")]));
    run.now += Duration::from_secs(3);
    run.refresh(&Server::new(&[(1, 100, "b3RoZXI=")]));
    assert!(run.view.replaced().is_some(), "{:?}", run.view.fault);
}

#[test]
fn a_node_without_a_canary_says_that_it_cannot_know() {
    let mut run = Run::new(KeyView::default());
    run.refresh(&Server::new(&[V1]));
    assert!(run.has_logged(|it| matches!(it, LogEntry::NoCanary { .. })));
    run.log.clear();
    run.run(&Server::new(&[V1]), 600);
    assert_eq!(run.log, []);
}

#[test]
fn a_standby_that_lags_takes_nothing_back_and_is_logged_once() {
    let mut run = Run::proven(&Server::new(&[V1, V2]));
    let mut lagging = Server::new(&[V1, V2]);
    lagging.reported = Some(1);
    run.run(&lagging, 3_600);
    assert_eq!(run.proven_version(), 2);
    assert!(run.view.fault.is_none());
    let entries = run.log.iter();
    let entries = entries.filter(|it| matches!(it, LogEntry::OlderDisproved { .. }));
    assert_eq!(entries.count(), 1, "{:?}", run.log);
}

#[test]
fn a_standby_that_lags_takes_nothing_back_where_the_clock_of_vault_went_back() {
    let rotated = Server::new(&[V1, (2, 50, V2.2)]);
    let mut run = Run::proven(&Server::new(&[V1]));
    run.run(&rotated, 40);
    assert_eq!(run.proven_version(), 2);
    // The standby reports version 1, and all other calls reach the active node.
    let mut lagging = rotated.clone();
    lagging.reported = Some(1);
    run.run(&lagging, 50);
    assert_eq!(run.proven_version(), 2);
    // Each call reaches the standby.
    run.run(&rotated, 40);
    run.run(&Server::new(&[V1]), 50);
    assert_eq!(run.proven_version(), 2);
    assert!(run.view.fault.is_none(), "{:?}", run.view.fault);
}

/// The key was deleted, created again and rotated, the new creation time was read, and the key was restored before that
/// version was proven.
#[test]
fn a_creation_time_of_a_key_that_is_gone_again_is_corrected() {
    let mut run = Run::proven(&Server::new(&[V1]));
    run.now += Duration::from_secs(30);
    let created_again = Server::new(&[(1, 299, "b3RoZXI="), (2, 300, "eA==")]);
    let calls = run.step(RefreshEvent::Due);
    let read = created_again.call(&calls[0]);
    let restored = Server::new(&[V1, V2]);
    let mut calls = run.step(RefreshEvent::Ended(CallOutcome(read)));
    while let Some(call) = calls.pop() {
        calls = run.step(RefreshEvent::Ended(CallOutcome(restored.call(&call))));
    }
    let stamp_of = |run: &Run| run.view.proven.as_ref().map(|it| it.stamp);
    assert_eq!(stamp_of(&run), Some(stamp(300, 2)));
    run.run(&restored, 110);
    assert_eq!(stamp_of(&run), Some(stamp(200, 2)));
    let canary = run.view.canary.as_ref().map(|it| it.stamp);
    assert_eq!(canary, Some(stamp(200, 2)));
    assert!(run.view.fault.is_none());
    let calls = run.calls.len();
    run.run(&restored, 60);
    assert_eq!(run.calls.len(), calls + 2, "it is settled");
}

/// Answers a call, each request of it by one of two servers, as the lowest bits of `choices` say.
fn call_either(servers: &[Server; 2], call: &Call, choices: &mut u32) -> Outcome {
    let mut draw = || {
        let server = &servers[(*choices & 1) as usize];
        *choices >>= 1;
        server
    };
    match call {
        Call::Prove { stamp, before, .. } => {
            let (encrypts, decrypts) = (draw(), draw());
            Outcome::Proved(encrypts.proof(decrypts, *stamp, before.as_ref()))
        }
        call => draw().call(call),
    }
}

/// Two addresses of Vault: one has the key that was created again, the other one still has the deleted one, for less than
/// a minute. Whichever answers which request, the new key is not taken for the one before.
#[test]
fn servers_that_disagree_do_not_pass_a_replaced_key_off_as_the_one_before() {
    let deleted = Server::new(&[V1]);
    for again in [
        Server::new(&[(1, 300, "b3RoZXI=")]),
        Server::new(&[(1, 300, "b3RoZXI="), (2, 301, "eA==")]),
        Server::new(&[(1, 100, "b3RoZXI=")]),
    ] {
        let servers = [again, deleted.clone()];
        for choices in 0..1_u32 << 15 {
            let mut run = Run::proven(&deleted);
            let mut left = choices;
            for age in [310, 20, 20] {
                run.now += Duration::from_secs(age);
                let mut calls = run.step(RefreshEvent::Due);
                while let Some(call) = calls.pop() {
                    let outcome = call_either(&servers, &call, &mut left);
                    calls = run.step(RefreshEvent::Ended(CallOutcome(outcome)));
                }
                let canary = run.view.canary.as_ref().expect("a canary");
                assert!(deleted.decrypt(canary).is_ok(), "{choices:b}: {canary:?}");
                let proven = run.view.proven.as_ref().map(|it| it.stamp);
                assert_eq!(proven, Some(stamp(100, 1)), "{choices:b}");
            }
        }
    }
}

/// The key was replaced for minutes, its creation time was read once more, and the key was restored before its canary was
/// decrypted.
#[test]
fn a_restored_key_does_not_take_the_creation_time_of_the_one_in_its_place() {
    let mut run = Run::proven(&Server::new(&[V1]));
    let replaced = Server::new(&[(1, 300, "b3RoZXI=")]);
    run.run(&replaced, 200);
    assert!(run.view.replaced().is_some());
    run.now = run.machine.due().expect("planned");
    let calls = run.step(RefreshEvent::Due);
    let read = replaced.call(&calls[0]);
    let restored = Server::new(&[V1]);
    let mut calls = run.step(RefreshEvent::Ended(CallOutcome(read)));
    while let Some(call) = calls.pop() {
        calls = run.step(RefreshEvent::Ended(CallOutcome(restored.call(&call))));
    }
    run.run(&restored, 600);
    let versions = run.log.iter();
    let versions = versions.filter(|it| matches!(it, LogEntry::VersionVerified { .. }));
    assert_eq!(versions.count(), 0, "{:?}", run.log);
    let proven = run.view.proven.as_ref().map(|it| it.stamp);
    assert_eq!(proven, Some(stamp(100, 1)));
}

#[test]
fn a_minimum_above_the_old_version_is_no_sign_of_another_key() {
    let mut run = Run::proven(&Server::new(&[V1]));
    let mut server = Server::new(&[V1, V2]);
    server.min_decryption_version = 2;
    run.run(&server, 40);
    assert_eq!(run.proven_version(), 2);
    assert!(run.has_logged(|it| matches!(it, LogEntry::NoCanary { .. })));
}

#[test]
fn a_minimum_above_the_old_version_ends_no_verdict() {
    let mut run = Run::proven(&Server::new(&[V1]));
    let mut server = Server::new(&[(1, 300, "b3RoZXI="), (2, 301, "eA==")]);
    run.run(&server, 60);
    assert!(run.view.replaced().is_some(), "{:?}", run.view.fault);
    // Another verdict takes its place for a while.
    server.reads_fail = Some(ApiErrorKind::PolicyDenied);
    run.run(&server, 60);
    assert!(run.view.replaced().is_none(), "{:?}", run.view.fault);
    server.reads_fail = None;
    server.min_decryption_version = 2;
    // The state file holds the canary, and what was found of it.
    let mut restarted = Run::new(KeyView {
        proven: run.view.proven.clone(),
        canary: run.view.canary.clone(),
        ..KeyView::default()
    });
    for run in [&mut run, &mut restarted] {
        run.run(&server, 600);
        run.refresh(&server);
        assert!(run.view.replaced().is_some(), "{:?}", run.view.fault);
        assert_eq!(run.proven_version(), 1);
    }
}

#[test]
fn a_latest_version_that_fails_transiently_is_no_error_and_one_that_fails_for_good_is() {
    for (kind, is_rejected) in [
        (ApiErrorKind::Transient, false),
        (ApiErrorKind::Throttled, false),
        (ApiErrorKind::VersionTooNew, false),
        (ApiErrorKind::KeyUnable, true),
        (ApiErrorKind::PolicyDenied, true),
    ] {
        let mut run = Run::proven(&Server::new(&[V1]));
        let mut server = Server::new(&[V1, V2]);
        server.broken = Some((2, kind));
        run.run(&server, 40);
        let logged = run.has_logged(|it| matches!(it, LogEntry::LatestUnusable { .. }));
        assert_eq!(logged, is_rejected, "{kind:?}: {:?}", run.log);
        assert_eq!(run.proven_version(), 1, "{kind:?}");
        assert_eq!(run.machine.latest_is_rejected(), is_rejected, "{kind:?}");
        run.run(&Server::new(&[V1, V2]), 60);
        assert_eq!(run.proven_version(), 2, "{kind:?}");
        assert!(!run.machine.latest_is_rejected(), "{kind:?}");
    }
}

#[test]
fn transient_faults_under_a_verdict_are_logged_once() {
    let mut run = Run::proven(&Server::new(&[V1]));
    let mut denied = Server::new(&[V1]);
    denied.reads_fail = Some(ApiErrorKind::PolicyDenied);
    run.run(&denied, 60);
    assert!(run.view.verdict().is_some());
    let before = run.log.len();
    let mut sealed = Server::new(&[V1]);
    sealed.reads_fail = Some(ApiErrorKind::Transient);
    run.run(&sealed, 3_600);
    assert!(
        run.view.verdict().is_some(),
        "a transient fault ended a verdict"
    );
    assert_eq!(run.log.len(), before + 1, "{:?}", run.log);
}

#[test]
fn one_bad_object_does_not_keep_vault_busy() {
    let server = Server::new(&[V1]);
    let mut run = Run::proven(&server);
    run.calls.clear();
    let end = run.now + Duration::from_secs(600);
    while run.now < end {
        run.now += Duration::from_millis(500);
        run.step(RefreshEvent::Observed(CallObservation::Contradicted));
        if run.machine.due().is_some_and(|due| due <= run.now) {
            run.refresh(&server);
        }
    }
    let reads = run.calls.iter().filter(|call| **call == Call::ReadKey);
    let reads = reads.count();
    assert!(reads <= 600 / 27 + 8, "{reads} refreshes in 10 minutes");
}

#[test]
fn a_contradiction_is_followed_by_a_round_trip_within_a_second() {
    let server = Server::new(&[V1]);
    let mut run = Run::proven(&server);
    run.run(&server, 100);
    run.calls.clear();
    run.step(RefreshEvent::Observed(CallObservation::Contradicted));
    run.run(&server, 1);
    let proves = run.calls.iter().any(|it| matches!(it, Call::Prove { .. }));
    assert!(proves, "{:?}", run.calls);
}

#[test]
fn what_the_backend_before_knew_is_not_taken_back_by_a_promotion() {
    let before = Run::proven(&Server::new(&[V1, V2]));
    // The candidate met a standby that lags.
    let mut lagging = Server::new(&[V1, V2]);
    lagging.reported = Some(1);
    let mut run = Run::proven(&lagging);
    run.view.inherit(&before.view);
    assert_eq!(run.proven_version(), 2);
    assert!(run.machine.promote(&run.view, run.now).is_some());
    run.run(&lagging, 300);
    assert_eq!(run.proven_version(), 2);
}

#[test]
fn an_acceptance_that_stays_configured_takes_no_later_rotation_back() {
    let replaced = Server::new(&[(1, 300, "b3RoZXI=")]);
    let mut before = Run::proven(&Server::new(&[V1, V2]));
    before.run(&replaced, 110);
    let accepted = KeyId::new(&key(), replaced.latest());
    let mut run = Run::accepting(before.view, Some(accepted.as_str()));
    run.refresh(&replaced);
    assert_eq!(run.proven_version(), 1);
    let rotated = Server::new(&[(1, 300, "b3RoZXI="), (2, 400, "eA==")]);
    run.run(&rotated, 40);
    assert_eq!(run.proven_version(), 2);
    let mut lagging = rotated.clone();
    lagging.reported = Some(1);
    run.run(&lagging, 300);
    assert_eq!(
        run.proven_version(),
        2,
        "a standby that lags took version 2 back"
    );
    // A snapshot without version 2 was never accepted.
    run.run(&replaced, 200);
    assert_eq!(run.proven_version(), 2);
    assert!(run.view.replaced().is_some());
}

#[test]
fn a_restart_does_not_renew_an_acceptance_that_was_followed_by_a_rotation() {
    let replaced = Server::new(&[(1, 300, "b3RoZXI=")]);
    let rotated = Server::new(&[(1, 300, "b3RoZXI="), (2, 400, "eA==")]);
    let accepted = KeyId::new(&key(), replaced.latest());
    let mut before = Run::proven(&Server::new(&[V1, V2]));
    before.run(&replaced, 110);
    let mut before = Run::accepting(before.view, Some(accepted.as_str()));
    before.refresh(&replaced);
    before.run(&rotated, 40);
    let mut run = Run::accepting(before.view, Some(accepted.as_str()));
    run.refresh(&rotated);
    // A snapshot without version 2: what it wrote would be lost without a word.
    run.run(&replaced, 200);
    assert_eq!(run.proven_version(), 2);
    assert!(run.view.replaced().is_some(), "{:?}", run.view.fault);
}

#[test]
fn an_accepted_replacement_forgets_what_was_announced_for_the_key_before() {
    let server = Server::new(&[(1, 300, "b3RoZXI=")]);
    let mut before = Run::proven(&Server::new(&[V1]));
    before.view.announced.clone_from(&before.view.proven);
    before.view.remember_announced();
    let old = before.view.announced.clone();
    before.run(&server, 40);
    let accepted = KeyId::new(&key(), server.latest());
    let mut run = Run::accepting(before.view, Some(accepted.as_str()));
    run.refresh(&server);
    let pinned = run.view.pinned_for(old).expect("a proven version");
    assert_eq!(pinned.stamp, server.latest());
}

#[test]
fn another_key_with_the_same_or_an_older_version_is_found_at_the_first_report() {
    for server in [
        Server::new(&[(1, 50, "b3RoZXI="), (2, 60, "b3RoZXI=")]),
        Server::new(&[V1, (2, 150, "b3RoZXI=")]),
    ] {
        let mut run = Run::proven(&Server::new(&[V1, V2]));
        run.run(&server, 33);
        assert!(run.view.replaced().is_some(), "{:?}", run.view.fault);
    }
}

#[test]
fn a_verdict_is_logged_however_many_reasons_came_before() {
    let mut run = Run::proven(&Server::new(&[V1]));
    for number in 0..20 {
        let entry = LogEntry::RefreshFailed {
            reason: Reason::VaultError,
            error: number.to_string(),
        };
        run.machine.log_once(entry);
    }
    run.run(&Server::new(&[(1, 300, "b3RoZXI=")]), 60);
    assert!(run.has_logged(is_replaced), "{:?}", run.log);
}

#[test]
fn a_planned_refresh_is_brought_forward_and_never_postponed() {
    let server = Server::new(&[V1]);
    let mut run = Run::proven(&server);
    let planned = run.machine.due().expect("planned");
    run.now += Duration::from_secs(5);
    let contradicted = || RefreshEvent::Observed(CallObservation::Contradicted);
    run.step(contradicted());
    let due = run.machine.due().expect("planned");
    assert!(due < planned);
    // Calls go on, and so does the time, while the event that the timer sent waits in the mailbox.
    for _ in 0..100 {
        run.now += Duration::from_millis(10);
        run.step(contradicted());
        assert_eq!(run.machine.due(), Some(due));
    }
}

#[test]
fn no_timer_runs_and_no_second_refresh_begins_while_one_is_under_way() {
    let server = Server::new(&[V1]);
    let mut run = Run::proven(&server);
    run.now = run.machine.due().expect("planned");
    let mut calls = run.step(RefreshEvent::Due);
    let mut rounds = 0;
    while let Some(call) = calls.pop() {
        for event in [
            RefreshEvent::Due,
            RefreshEvent::Observed(CallObservation::Contradicted),
            RefreshEvent::Observed(CallObservation::NewerVersion),
        ] {
            assert_eq!(run.step(event), []);
            assert_eq!(run.machine.due(), None);
        }
        calls = run.step(RefreshEvent::Ended(CallOutcome(server.call(&call))));
        rounds += 1;
    }
    assert!(rounds > 0);
    // What was contradicted meanwhile is looked into soon after.
    let due = run.machine.due().expect("planned");
    assert!(
        due <= run.now + Duration::from_secs(1),
        "{:?}",
        due - run.now
    );
}

#[test]
fn a_restored_key_can_be_accepted_after_a_restart() {
    // A wrote; B replaced it and was accepted; now A is restored, and the operator follows the text.
    let a = Server::new(&[V1]);
    let b = Server::new(&[(1, 300, "b3RoZXI=")]);
    let mut before = Run::proven(&a);
    before.view.key_ids.add(&KeyId::new(&key(), a.latest()));
    let id_b = KeyId::new(&key(), b.latest());
    let mut run = Run::accepting(before.view, Some(id_b.as_str()));
    run.run(&b, 40);
    run.refresh(&b);
    assert_eq!(run.view.proven.as_ref().expect("b").key_id, id_b);
    run.view.announced.clone_from(&run.view.proven);
    run.view.key_ids.add(&id_b);
    run.run(&a, 100);
    let text = run.view.replaced().expect("a verdict").to_string();
    let id_a = KeyId::new(&key(), a.latest());
    assert!(
        text.contains(&format!("accept_replaced = \"{id_a}\"")),
        "{text}"
    );
    let mut restarted = Run::accepting(run.view, Some(id_a.as_str()));
    restarted.run(&a, 600);
    restarted.refresh(&a);
    assert!(
        restarted.view.replaced().is_none(),
        "still refused: {:?}",
        restarted.view.fault
    );
}
