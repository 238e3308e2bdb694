//! Compiles `proto/` to Rust without protoc, and the settings of jemalloc.

use std::env;

/// The services that kube-apiserver calls.
const KMS: [&str; 2] = ["proto/v2.proto", "proto/v1beta1.proto"];
/// The service of the SPIFFE agent.
const WORKLOAD: &str = "proto/workload.proto";
/// etcd's, for `vault-kmsctl`.
const ETCD: &str = "proto/etcd.proto";
/// A constant that jemalloc reads. In Rust it would be unsafe code; a variable of the environment would reach
/// jemalloc's build only where cargo reads `.cargo/config.toml`.
const JEMALLOC: &str = "src/jemalloc.c";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    for proto in KMS.iter().chain([&WORKLOAD, &ETCD]) {
        println!("cargo::rerun-if-changed={proto}");
    }
    let configure = || tonic_prost_build::configure().build_transport(false);
    configure()
        .codec_path("crate::grpc::codec::KmsCodec")
        .compile_fds(protox::compile(KMS, ["proto"])?)?;
    configure().compile_fds(protox::compile([WORKLOAD], ["proto"])?)?;
    if env::var_os("CARGO_FEATURE_KMSCTL").is_some() {
        // Keys and values are slices of the message that they came in.
        configure()
            .bytes(".")
            .build_server(false)
            .compile_fds(protox::compile([ETCD], ["proto"])?)?;
    }
    println!("cargo::rerun-if-changed={JEMALLOC}");
    if env::var_os("CARGO_FEATURE_JEMALLOC").is_some() {
        for object in cc::Build::new().file(JEMALLOC).compile_intermediates() {
            println!("cargo::rustc-link-arg-bins={}", object.display());
        }
    }
    Ok(())
}
