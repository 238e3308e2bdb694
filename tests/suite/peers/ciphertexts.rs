//! What another plugin wrote is read, and what this one writes is read there.

use std::path::Path;

use tonic::Request;
use vault_kms_plugin::grpc::proto::v2::{DecryptRequest, EncryptRequest};

use super::plugin::{Backend, Peer, Plugin, ours};
use crate::harness::kms::KmsClient;

const ROUNDS: u8 = 8;

/// As kube-apiserver keeps it: with the key_id and the annotations of the answer.
async fn encrypt(client: &KmsClient, plaintext: &[u8]) -> DecryptRequest {
    let request = EncryptRequest {
        plaintext: plaintext.to_vec(),
        uid: "write".to_owned(),
    };
    let answer = client.v2().encrypt(Request::new(request)).await.unwrap();
    let answer = answer.into_inner();
    DecryptRequest {
        ciphertext: answer.ciphertext,
        uid: "read".to_owned(),
        key_id: answer.key_id,
        annotations: answer.annotations,
    }
}

async fn assert_reads(client: &KmsClient, stored: &[(Vec<u8>, DecryptRequest)], who: &str) {
    for (plaintext, request) in stored {
        let answer = client.v2().decrypt(Request::new(request.clone())).await;
        let answer = answer.unwrap_or_else(|status| panic!("{who}: {status}"));
        assert_eq!(&answer.into_inner().plaintext, plaintext, "{who}");
    }
}

/// Both write before and after a rotation, and each reads everything.
async fn both_ways(peer: Peer) {
    let backend = Backend::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old.sock"), dir.path().join("new.sock"));
    let plugin = Plugin::start(peer, &old, &backend).await;
    let _daemon = ours(peer, &new, &backend).await;
    let clients = [&old, &new].map(|socket: &std::path::PathBuf| KmsClient::connect(socket));
    let mut stored = Vec::new();
    for round in 0..2 {
        for client in &clients {
            for number in 0..ROUNDS {
                let plaintext = vec![number + 16 * round; 32];
                let request = encrypt(client, &plaintext).await;
                stored.push((plaintext, request));
            }
        }
        backend.rotate().await;
    }
    assert_reads(&clients[0], &stored, "the other plugin").await;
    assert_reads(&clients[1], &stored, "this daemon").await;
    if peer.has_v1() {
        v1_both_ways(&old, &new).await;
    }
    let key_ids = |chunk: usize| &stored[chunk * usize::from(ROUNDS)].1.key_id;
    eprintln!(
        "{peer:?}: {} of {} values read by each; key_ids {} and {}",
        stored.len(),
        stored.len(),
        key_ids(0),
        key_ids(1)
    );
    plugin.stop().await;
}

async fn v1_both_ways(old: &Path, new: &Path) {
    let clients = [old, new].map(KmsClient::connect);
    for writer in &clients {
        let written = writer.encrypt_v1(b"of v1").await.unwrap();
        for reader in &clients {
            assert_eq!(reader.decrypt_v1(&written).await.unwrap(), b"of v1");
        }
    }
}

async fn each_reads_what_the_other_wrote_vault_kubernetes_kms() {
    both_ways(Peer::VaultKubernetesKms).await;
}

async fn each_reads_what_the_other_wrote_vault_kms_provider() {
    both_ways(Peer::VaultKmsProvider).await;
}

async fn each_reads_what_the_other_wrote_kleidi() {
    both_ways(Peer::Kleidi).await;
}

tests! {
    multi each_reads_what_the_other_wrote_vault_kubernetes_kms [Vault];
    multi each_reads_what_the_other_wrote_vault_kms_provider [Vault];
    multi each_reads_what_the_other_wrote_kleidi [Vault];
}
