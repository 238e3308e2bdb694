//! Compiles `proto/` to Rust without protoc.

/// The services that kube-apiserver calls.
const KMS: [&str; 2] = ["proto/v2.proto", "proto/v1beta1.proto"];
/// The service of the SPIFFE agent.
const WORKLOAD: &str = "proto/workload.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    for proto in KMS.iter().chain([&WORKLOAD]) {
        println!("cargo::rerun-if-changed={proto}");
    }
    let configure = || tonic_prost_build::configure().build_transport(false);
    configure()
        .codec_path("crate::grpc::codec::KmsCodec")
        .compile_fds(protox::compile(KMS, ["proto"])?)?;
    configure().compile_fds(protox::compile([WORKLOAD], ["proto"])?)?;
    Ok(())
}
