//! Compiles `proto/` to Rust without protoc, and tells the tests which real servers they can have.

use std::env;
use std::path::Path;
use std::process::Command;

/// Of the services that kube-apiserver calls.
const KMS: [&str; 2] = ["proto/v2.proto", "proto/v1beta1.proto"];
/// Of the SPIFFE agent.
const WORKLOAD: &str = "proto/workload.proto";
/// Boots machines for tests.
const MACHINE: &str = "tests/suite/harness/machine.sh";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for proto in KMS.iter().chain([&WORKLOAD]) {
        println!("cargo::rerun-if-changed={proto}");
    }
    let configure = || tonic_prost_build::configure().build_transport(false);
    configure()
        .codec_path("crate::grpc::codec::KmsCodec")
        .compile_fds(protox::compile(KMS, ["proto"])?)?;
    configure().compile_fds(protox::compile([WORKLOAD], ["proto"])?)?;
    announce_real_servers();
    Ok(())
}

/// Sets `no_vault`, `no_kubernetes` and `no_promtool` where the real servers are neither installed nor can be
/// built, and `no_go` where nothing can be built at all, so that the tests that need them are
/// counted as ignored and not as passed. `no_unshare` likewise, where only root may give a process a
/// file system of its own, and `no_nspawn` where no machine with a systemd of its own can be booted.
///
/// A change of PATH alone does not run this again: cargo's own wrapper changes it between calls,
/// and each run costs a whole release build.
fn announce_real_servers() {
    println!(
        "cargo::rustc-check-cfg=cfg(no_vault, no_kubernetes, no_promtool, no_go, no_root, no_unshare, no_nspawn)"
    );
    for variable in [
        "VAULT_BIN",
        "KUBE_APISERVER_BIN",
        "ETCD_BIN",
        "PROMTOOL_BIN",
    ] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let has = |variable: &str, names: &[&str]| {
        env::var_os(variable).is_some() || names.iter().any(|name| on_path(name))
    };
    let can_build = on_path("go");
    if !can_build {
        println!("cargo::rustc-cfg=no_go");
    }
    if !can_build && !has("VAULT_BIN", &["vault", "bao"]) {
        println!("cargo::rustc-cfg=no_vault");
    }
    let kubernetes = has("KUBE_APISERVER_BIN", &["kube-apiserver"]) && has("ETCD_BIN", &["etcd"]);
    if !can_build && !kubernetes {
        println!("cargo::rustc-cfg=no_kubernetes");
    }
    if !can_build && !has("PROMTOOL_BIN", &["promtool"]) {
        println!("cargo::rustc-cfg=no_promtool");
    }
    if !is_root() {
        println!("cargo::rustc-cfg=no_root");
    }
    if !may_mount() {
        println!("cargo::rustc-cfg=no_unshare");
    }
    println!("cargo::rerun-if-changed={MACHINE}");
    if !may_boot() {
        println!("cargo::rustc-cfg=no_nspawn");
    }
}

/// Whether a container with a systemd can really be booted here; it takes a second at most.
fn may_boot() -> bool {
    let possible = on_path("systemd-nspawn") && on_path("unshare");
    let probe = || Command::new("sh").args([MACHINE, "probe"]).output();
    possible && probe().is_ok_and(|output| output.status.success())
}

/// Whether the tests may read the memory of another process.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout == b"0\n")
}

/// Whether this user may mount in a namespace of its own.
fn may_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"])
        .output();
    tried.is_ok_and(|output| output.status.success())
}

fn on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| Path::new(&dir).join(name).is_file())
}
