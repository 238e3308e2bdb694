//! Vault answers no request while its audit device accepts no entry.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tonic::Code;

use super::SEED;
use crate::harness::kms::KmsClient;
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

/// What a pipe holds is less than the entries of so many requests.
const ENOUGH: usize = 300;

/// The receiver of an audit log, which can stop to read.
struct Receiver {
    is_reading: Arc<AtomicBool>,
    _pipe: File,
}

impl Receiver {
    fn of(pipe: &Path) -> Self {
        let made = Command::new("mkfifo").arg(pipe).status().unwrap();
        assert!(made.success(), "mkfifo");
        // For both directions, so that neither the open nor a read at the end waits for Vault.
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(pipe)
                .unwrap()
        };
        let (mut reader, kept) = (open(), open());
        let is_reading = Arc::new(AtomicBool::new(true));
        let reads = Arc::clone(&is_reading);
        // Ends with the process: a read of a pipe cannot be interrupted.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                if !reads.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10)); // the pace of looking
                } else if reader.read(&mut buffer).is_err() {
                    return;
                }
            }
        });
        Self {
            is_reading,
            _pipe: kept,
        }
    }

    fn read(&self, reads: bool) {
        self.is_reading.store(reads, Ordering::Relaxed);
    }
}

async fn a_blocked_audit_device_is_an_outage_that_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("audit");
    let receiver = Receiver::of(&pipe);
    let vault = Vault::start_audited(&pipe).await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let announced = client.wait_ok(LIMIT).await;
    receiver.read(false);
    let mut calls = 0;
    let error = loop {
        calls += 1;
        assert!(calls < ENOUGH, "the pipe is never full");
        if let Err(error) = client.encrypt(&SEED).await {
            break error;
        }
    };
    assert!(
        matches!(error.code(), Code::DeadlineExceeded | Code::Unavailable),
        "{error}"
    );
    // Its health is not audited, so nothing but the silence shows it; Status is ok meanwhile.
    assert_eq!(vault.health().await, Some(200));
    assert_eq!(client.status().await.unwrap(), announced);
    receiver.read(true);
    wait::until("calls to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
    assert_eq!(client.status().await.unwrap().healthz, "ok");
}

tests! {
    single a_blocked_audit_device_is_an_outage_that_ends_by_itself [Vault];
}
