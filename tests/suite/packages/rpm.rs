//! The rpm, by rpm itself, on a booted machine. That machine is a Debian: its dependencies are not asked for, and
//! SELinux is not there.

use std::time::{Duration, Instant};

use super::super::harness::load::Load;
use super::{Host, INSTALL_LIMIT, LIMIT, PREVIOUS, SERVICE, SOCKET_UNIT, VERSION};

/// On a Debian, rpm refuses to install without the first option; its database knows no package of dpkg.
const RPM: &str = "rpm --force-debian --nodeps";

fn package(version: &str) -> String {
    format!("vault-kms-plugin-{version}-1.x86_64.rpm 2>&1")
}

async fn an_installed_rpm_serves_within_a_minute_and_upgrades_without_a_failed_call() {
    let host = Host::boot(|plan| plan).await;
    let needed = host
        .ok(&format!(
            "rpm --query --requires --package {}",
            package(VERSION)
        ))
        .await;
    for needs in ["glibc >= 2.28", "systemd", "/bin/sh"] {
        assert!(needed.contains(needs), "{needed}");
    }
    let start = Instant::now();
    let said = host
        .ok(&format!("{RPM} --install {}", package(VERSION)))
        .await;
    host.expect_installed(&said).await;
    host.ok("test -s /usr/share/zsh/site-functions/_vault-kms-plugin")
        .await;
    host.configure();
    host.ok(&format!("systemctl enable --now {SOCKET_UNIT} {SERVICE}"))
        .await;
    host.client().wait_ok(LIMIT).await;
    let took = start.elapsed();
    eprintln!("from rpm to ready: {} ms", took.as_millis());
    assert!(took <= INSTALL_LIMIT, "{took:?}");

    let clients = (0..4).map(|_| host.client()).collect();
    let load = Load::start(clients, Duration::from_millis(10));
    load.progress(50, LIMIT).await;
    let downgrade = format!("{RPM} --upgrade --oldpackage {}", package(PREVIOUS));
    host.change_version(&downgrade, &load).await;
    host.change_version(&format!("{RPM} --upgrade {}", package(VERSION)), &load)
        .await;
    let outcome = load.stop().await;
    eprintln!(
        "a downgrade and an upgrade under load: {} calls",
        outcome.calls
    );
    outcome.expect_no_failure();
    assert_eq!(host.state("is-enabled", SERVICE).await, "enabled");
    // Every file is as it was packed, but for the directory that became the plugin's group's.
    let changed = host
        .run("rpm --force-debian --verify --nodeps vault-kms-plugin")
        .await;
    assert_eq!((changed.code, changed.text.as_str()), (0, ""));

    let said = host
        .ok(&format!("{RPM} --erase vault-kms-plugin 2>&1"))
        .await;
    host.expect_removed(&said).await;
}

/// An image of a node is made that way: nothing runs there, and the scripts have to bear it.
async fn an_rpm_is_installed_into_the_root_of_an_image() {
    let host = Host::boot(|plan| plan).await;
    let text = format!(
        "mount -t tmpfs tmpfs /mnt; mkdir /mnt/upper /mnt/work /mnt/image; \
         mount -t overlay overlay /mnt/image -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work; \
         {RPM} --root /mnt/image --install {}",
        package(VERSION)
    );
    let said = host.ok(&text).await;
    assert!(said.contains("neither enabled nor started"), "{said}");
    let user = host
        .ok("grep -c '^vault-kms-plugin:x:60790:' /mnt/image/etc/passwd")
        .await;
    assert_eq!(user, "1\n");
    host.ok("test -x /mnt/image/usr/bin/vault-kms-plugin").await;
}

tests! {
    single an_installed_rpm_serves_within_a_minute_and_upgrades_without_a_failed_call [Vault, Machines, Packages, Rpm];
    single an_rpm_is_installed_into_the_root_of_an_image [Vault, Machines, Packages, Rpm];
}
