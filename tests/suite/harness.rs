//! What every test uses: real servers as child processes, a daemon under test, a client that
//! plays kube-apiserver, and the doubles for what a real server cannot be made to do.
//!
//! Nothing in here asserts anything about the daemon; that is for the modules beside it.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test, bench and example uses its own part of the harness"
)]
#![allow(
    unreachable_pub,
    reason = "a part is included by benches and examples as well"
)]

// Named, so that the parts are found from a bench that includes this file by its path.
#[path = "harness/certificates.rs"]
pub mod certificates;
#[path = "harness/child.rs"]
pub mod child;
#[path = "harness/clock.rs"]
pub mod clock;
#[path = "harness/collector.rs"]
pub mod collector;
#[path = "harness/connect_proxy.rs"]
pub mod connect_proxy;
#[path = "harness/daemon.rs"]
pub mod daemon;
#[path = "harness/flood.rs"]
pub mod flood;
#[path = "harness/forwarder.rs"]
pub mod forwarder;
#[path = "harness/h2_frames.rs"]
pub mod h2_frames;
#[path = "harness/http.rs"]
pub mod http;
#[path = "harness/kms.rs"]
pub mod kms;
#[path = "harness/kubernetes.rs"]
pub mod kubernetes;
#[path = "harness/listener.rs"]
pub mod listener;
#[path = "harness/load.rs"]
pub mod load;
#[path = "harness/machine.rs"]
pub mod machine;
#[path = "harness/memory_transit.rs"]
pub mod memory_transit;
#[path = "harness/operator.rs"]
pub mod operator;
#[path = "harness/proxy.rs"]
pub mod proxy;
#[path = "harness/scrape.rs"]
pub mod scrape;
#[path = "harness/servers.rs"]
pub mod servers;
#[path = "harness/vault.rs"]
pub mod vault;
#[path = "harness/wait.rs"]
pub mod wait;
#[path = "harness/workload_api.rs"]
pub mod workload_api;
