//! Kleidi's annotation: without it, nodes that still run Kleidi refuse to read a value.

use rustix::process::Signal;

use super::{Annotations, decrypted, encrypted};
use crate::harness::kms::KmsClient;
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

const SEED: [u8; 32] = [7; 32];
const KLEIDI: &str = "[drop_in]\nplugin = \"kleidi\"";

/// What Kleidi demands of a request: exactly one annotation, this one (`internal/providers/hvault.go`).
fn kleidi_reads(annotations: &Annotations) -> bool {
    annotations.len() == 1
        && annotations
            .get("v2.kleidi.beezy.dev")
            .is_some_and(|it| it == b"1")
}

async fn kleidi_reads_what_is_written_in_its_place_and_the_reverse() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture).extra(KLEIDI);
    let daemon = builder.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let status = client.wait_ok(LIMIT).await;
    let written = encrypted(&client, &SEED).await;
    assert!(kleidi_reads(&written.annotations), "{written:?}");
    assert_eq!(written.key_id, status.key_id);
    let ciphertext = String::from_utf8(written.ciphertext).unwrap();
    // Kleidi hands the ciphertext to Transit as it is.
    let read = vault
        .decrypt(&fixture.mount, &fixture.key, &ciphertext)
        .await;
    assert_eq!(read.unwrap(), SEED);
    let back = decrypted(&client, &ciphertext, &written.key_id, &written.annotations).await;
    assert_eq!(back.unwrap(), SEED);
    let theirs = vault.encrypt(&fixture.mount, &fixture.key, &SEED).await;
    let key_id = "kleidi-kms-plugin_1_2024-05-01T00:00:00Z";
    let back = decrypted(&client, &theirs, key_id, &written.annotations).await;
    assert_eq!(back.unwrap(), SEED);
}

async fn the_annotation_comes_and_goes_by_a_reload_and_is_for_kleidi_alone() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let before = std::fs::read_to_string(daemon.config_path()).unwrap();
    assert!(encrypted(&client, &SEED).await.annotations.is_empty());
    for (toml, is_annotated) in [
        (KLEIDI, true),
        ("[drop_in]\nplugin = \"vault-kms-provider\"", false),
        (KLEIDI, true),
        ("", false),
    ] {
        daemon.write_config(&format!("{before}\n{toml}"));
        daemon.signal(Signal::HUP);
        wait::until_true("the annotation to follow", LIMIT, async || {
            let annotations = encrypted(&client, &SEED).await.annotations;
            kleidi_reads(&annotations) == is_annotated && annotations.is_empty() != is_annotated
        })
        .await;
    }
    daemon.logged("replaced plugin").await;
}

tests! {
    []
    single kleidi_reads_what_is_written_in_its_place_and_the_reverse [Vault];
    single the_annotation_comes_and_goes_by_a_reload_and_is_for_kleidi_alone [Vault];
}
