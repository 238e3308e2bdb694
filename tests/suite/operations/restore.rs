//! docs/operations/backup.md: a drill with a real Vault on raft storage, a real etcd and a real
//! kube-apiserver.

use std::time::Duration;

use rustix::process::Signal;

use super::{
    NAMESPACE, STORED, Shell, Site, assert_readable, assert_starting_without_secrets, page, write,
    write_all,
};
use crate::LIMIT;
use crate::harness::kms::KmsClient;
use crate::harness::vault::Vault;
use crate::harness::wait;

const KMS: (&str, &str) = ("v2", "vault");
const SECRETS: usize = 10;
/// A smaller version than the announced one is believed after a minute.
const VERDICT: Duration = Duration::from_secs(120);

/// A cluster with Secrets `before-…`, of which both backups were taken, and `after-…`, which a later
/// version of the key encrypted.
struct Drill {
    vault: Vault,
    site: Site,
    shell: Shell,
}

impl Drill {
    async fn prepared() -> Self {
        let vault = Vault::start_raft().await;
        let fixture = vault.fixture().await;
        let site = Site::start(&vault, &fixture, &[KMS]).await;
        write_all(&site.kubernetes, "before", SECRETS).await;
        let shell = Shell::new()
            .of_vault(&vault, &fixture)
            .of_cluster(&site.kubernetes, &site.etcd);
        for block in page("backup.md").blocks("Take both", "sh") {
            shell.run(&[block]).await;
        }
        let recorded = std::fs::read_to_string(shell.dir.path().join("vault.version"));
        assert_eq!(recorded.unwrap().trim(), "1");
        site.rotate(&shell).await;
        write_all(&site.kubernetes, "after", SECRETS).await;
        Self { vault, site, shell }
    }

    /// The page's command for a part of the restore.
    async fn restore(&self, program: &str) {
        let blocks = page("backup.md").blocks("Restore the pair", "sh");
        let block = blocks.into_iter().find(|block| block.starts_with(program));
        let block = block.unwrap_or_else(|| panic!("no command of {program}"));
        self.shell.run(&[block]).await;
    }

    async fn restore_etcd(&self) {
        self.site.kubernetes.kill();
        self.restore("etcdutl").await;
        let data = self.shell.dir.path().join("restored");
        self.site.etcd.restart_with(&data).await;
    }

    /// Until Status says that Vault went back to an earlier version.
    async fn verdict(&self) -> tonic::Status {
        let client = KmsClient::connect(self.site.daemon.socket());
        wait::until("the verdict", VERDICT, async || {
            let error = client.status().await.err()?;
            error
                .message()
                .contains("accept_replaced = \"")
                .then_some(error)
        })
        .await
    }

    /// What etcd holds, by the version of the key.
    async fn count_of(&self, version: &str) -> usize {
        let counts = self.shell.count().await;
        let version = format!(":kms:{version}:");
        let is_of_it = |what: &str| {
            what.split(": ")
                .nth(1)
                .is_some_and(|it| it.contains(&version))
        };
        let of_it = counts.iter().filter(|(what, _)| is_of_it(what));
        of_it.map(|(_, count)| count).sum()
    }
}

async fn the_pair_restores_what_was_written_before_the_backups() {
    let mut drill = Drill::prepared().await;
    assert!(drill.count_of("v2").await >= SECRETS);
    // Both are lost. The new Vault has other keys, so its unsealing needs those of before.
    drill.site.kubernetes.kill();
    drill.site.etcd.kill();
    let keys = drill.vault.lose_storage().await;
    drill
        .shell
        .set_variable("VAULT_TOKEN", drill.vault.root_token());
    drill.restore("vault").await;
    drill.vault.unseal_restored(keys).await;
    drill.restore_etcd().await;
    let Drill { site, .. } = &drill;

    // The plugin was not restarted, and remembers a version that no longer exists.
    let error = drill.verdict().await;
    let setting = error.message().split('"').nth(1).unwrap();
    let accepted = format!("[transit]\naccept_replaced = \"{setting}\"");
    site.daemon.change_config(&accepted);
    site.daemon.signal(Signal::HUP);
    let client = KmsClient::connect(site.daemon.socket());
    let announced = client.wait_ok(LIMIT).await.key_id;
    assert!(announced.contains(":v1:"), "{announced}");

    site.kubernetes.restart().await;
    assert_readable(&site.kubernetes, "before", SECRETS).await;
    let gone = site.kubernetes.read_secret(NAMESPACE, "after-0").await;
    assert_eq!(gone.unwrap_err().0, 404);
    write(&site.kubernetes, "new").await;
    assert_eq!(drill.count_of("v2").await, 0);
    assert_eq!(drill.count_of("v1").await, SECRETS + 1);
}

async fn an_etcd_older_than_vault_is_readable_and_writable_at_once() {
    let drill = Drill::prepared().await;
    let Drill { site, .. } = &drill;
    drill.restore_etcd().await;
    site.kubernetes.restart().await;
    assert_readable(&site.kubernetes, "before", SECRETS).await;
    write(&site.kubernetes, "new").await;
    assert_eq!(drill.count_of("v1").await, SECRETS);
    assert_eq!(drill.count_of("v2").await, 1);
    let client = KmsClient::connect(site.daemon.socket());
    let announced = client.status().await.unwrap();
    assert_eq!(announced.healthz, "ok");
    assert!(announced.key_id.contains(":v2:"), "{announced:?}");
}

/// And a newer snapshot of Vault brings all of it back.
async fn a_vault_older_than_etcd_is_a_verdict_and_loses_what_later_versions_wrote() {
    let drill = Drill::prepared().await;
    let Drill { site, shell, .. } = &drill;
    let Site {
        kubernetes, etcd, ..
    } = site;
    let save = "vault operator raft snapshot save newer.snap".to_owned();
    shell.run(&[save]).await;
    drill.restore("vault").await;
    drill.verdict().await;

    // The plugin decrypts what Vault has a version for, and nothing else.
    let client = KmsClient::connect(site.daemon.socket());
    let seed_of = async |name: &str| {
        let stored = etcd.range(&format!("{STORED}{NAMESPACE}/{name}")).await;
        let stored = &stored[0].1;
        let (ciphertext, key_id) = (text_from(stored, "vault:v"), text_from(stored, "transit1:"));
        client.decrypt(ciphertext.as_bytes(), &key_id).await
    };
    seed_of("before-0").await.unwrap();
    seed_of("after-0").await.unwrap_err();

    // kube-apiserver reads all with the seeds in its memory. One that starts encrypts a seed before it
    // reads anything, so it reads nothing at all.
    for prefix in ["before", "after"] {
        assert_readable(kubernetes, prefix, SECRETS).await;
    }
    kubernetes.start_again();
    kubernetes.answers().await;
    wait::until_true("nothing to be readable", LIMIT, async || {
        let read = kubernetes.read_secret(NAMESPACE, "before-0").await;
        read.is_err_and(|(_, message)| message.contains("nil transformer"))
    })
    .await;
    assert_starting_without_secrets(kubernetes).await;

    let restore = "vault operator raft snapshot restore newer.snap".to_owned();
    shell.run(&[restore]).await;
    client.wait_ok(LIMIT).await;
    kubernetes.ready().await;
    for prefix in ["before", "after"] {
        assert_readable(kubernetes, prefix, SECRETS).await;
    }
    write(kubernetes, "new").await;
}

/// The text in a stored object that begins with `start`, behind the name of its provider.
fn text_from(stored: &[u8], start: &str) -> String {
    let text = String::from_utf8_lossy(stored);
    let text = text.split_once("vault:\n").map_or(&*text, |(_, rest)| rest);
    let from = text.find(start).unwrap();
    // Base64, and what a key_id is made of: what follows in the object may be printable, too.
    let is_part = |c: &char| c.is_ascii_alphanumeric() || "+/=:._%-".contains(*c);
    text[from..].chars().take_while(is_part).collect()
}

tests! {
    multi the_pair_restores_what_was_written_before_the_backups [Vault, Kubernetes, EtcdTools, Kubectl];
    multi an_etcd_older_than_vault_is_readable_and_writable_at_once [Vault, Kubernetes, EtcdTools, Kubectl];
    multi a_vault_older_than_etcd_is_a_verdict_and_loses_what_later_versions_wrote [Vault, Kubernetes, EtcdTools, Kubectl];
}
