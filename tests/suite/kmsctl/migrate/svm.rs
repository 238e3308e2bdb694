//! StorageVersionMigrations, with a real kube-controller-manager.

use crate::harness::child::{self, Child};
use crate::harness::servers::{self, Server};
use crate::harness::vault::Vault;
use crate::kmsctl::site::{Site, identity};

/// The controllers that a migration needs: the migrator, and the garbage collector, whose cache it reads.
const CONTROLLERS: &str =
    "--controllers=storage-version-migrator-controller,garbage-collector-controller";

fn controller_manager(site: &Site) -> Child {
    let kubeconfig = site.path("kubeconfig");
    let arguments = [
        format!("--kubeconfig={}", kubeconfig.display()),
        CONTROLLERS.to_owned(),
        "--leader-elect=false".to_owned(),
        format!("--secure-port={}", child::free_port()),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--cert-dir={}", site.path("certs").display()),
        "--kube-api-qps=100".to_owned(),
        "--kube-api-burst=200".to_owned(),
    ];
    let program = servers::binary(Server::KubeControllerManager);
    Child::spawn(
        &program,
        &arguments,
        &site.path("manager.log"),
        child::clean_environment,
    )
}

async fn a_storage_version_migration_writes_everything_and_is_removed() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.fill(20).await;
    site.configure(&[site.kms("v2", "vault"), identity()]).await;
    let before = site.contents().await;
    let mut manager = controller_manager(&site);
    let ended = site.run(&["migrate", "--method", "svm"]).await;
    eprintln!("{}\n{}", ended.out, ended.err);
    manager.expect_alive();
    let ended = ended.expect(0);
    assert!(
        ended
            .out
            .contains("secrets: written by a StorageVersionMigration"),
        "{ended:?}\n{}",
        manager.log()
    );
    site.assert_stored("k8s:enc:kms:v2:vault:", "").await;
    assert_eq!(site.contents().await, before);
    for version in ["v1", "v1beta1"] {
        let path = format!("/apis/storagemigration.k8s.io/{version}/storageversionmigrations");
        let (code, list) = site.kubernetes.request("GET", &path, None).await;
        eprintln!("{version}: {code}");
        assert!(
            code == 404 || list["items"].as_array().is_some_and(Vec::is_empty),
            "{list}"
        );
    }
}

tests! {
    multi a_storage_version_migration_writes_everything_and_is_removed [Vault, Kubernetes];
}
