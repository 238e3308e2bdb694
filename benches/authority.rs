//! What the repair of `:authority` costs: `cargo bench --bench authority`.
//!
//! The same gRPC server on two sockets, with and without the repair, called in turns by the same
//! callers. Its pure part alone is in `benches/pure.rs`.

#[path = "../tests/suite/harness.rs"]
mod harness;

use std::io::{Write, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use harness::kms::KmsClient;
use harness::wait;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use vault_kms_plugin::grpc::authority::Repaired;
use vault_kms_plugin::grpc::proto::v1beta1::key_management_service_server::{
    KeyManagementService, KeyManagementServiceServer,
};
use vault_kms_plugin::grpc::proto::v1beta1::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, VersionRequest,
    VersionResponse,
};

/// Many and short: what disturbs the machine then disturbs both alike.
const ROUNDS: usize = 1000;
const CALLERS: usize = 16;
/// Calls of each caller in a round.
const CALLS: usize = 20;
const READY_LIMIT: Duration = Duration::from_secs(10);

fn main() {
    // `cargo test --all-targets` starts benches too, without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return say("start it with: cargo bench --bench authority");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(compare());
}

/// Calls a second with the repair, as a part of those without, round by round.
async fn compare() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let (with, without) = (
        dir.path().join("with.sock"),
        dir.path().join("without.sock"),
    );
    tokio::spawn(serve(bind(&with), Repaired::new));
    tokio::spawn(serve(bind(&without), |stream| stream));
    let (with, without) = (KmsClient::connect(&with), KmsClient::connect(&without));
    for client in [&with, &without] {
        wait::until_true("the server answers", READY_LIMIT, async || {
            client.version_v1().await.is_ok()
        })
        .await;
        round(client).await;
    }
    let mut ratios = Vec::new();
    for number in 0..ROUNDS {
        // Whoever comes second finds a warmer machine: take turns.
        let (first, second) = match number % 2 {
            0 => (round(&with).await, round(&without).await),
            _ => {
                let without = round(&without).await;
                (round(&with).await, without)
            }
        };
        ratios.push(second.as_secs_f64() / first.as_secs_f64());
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let [low, median, high] = [ROUNDS / 4, ROUNDS / 2, ROUNDS * 3 / 4].map(|at| ratios[at]);
    say(&format!(
        "calls a second with the repair / without: median {median:.3}, half of {ROUNDS} rounds \
         between {low:.3} and {high:.3}"
    ));
}

async fn round(client: &KmsClient) -> Duration {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let client = client.clone();
        callers.spawn(async move {
            for _ in 0..CALLS {
                client.version_v1().await.expect("the server answers");
            }
        });
    }
    callers.join_all().await;
    start.elapsed()
}

fn bind(path: &Path) -> UnixListener {
    UnixListener::bind(path).expect("the path is free")
}

async fn serve<S>(listener: UnixListener, wrap: fn(UnixStream) -> S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let routes = Routes::new(KeyManagementServiceServer::new(Service)).prepare();
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(routes.clone());
        let connection = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(wrap(stream)), service);
        tokio::spawn(connection);
    }
}

struct Service;

#[tonic::async_trait]
impl KeyManagementService for Service {
    async fn version(
        &self,
        _: Request<VersionRequest>,
    ) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(VersionResponse::default()))
    }

    async fn encrypt(
        &self,
        _: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        Err(Status::unimplemented("only Version is measured"))
    }

    async fn decrypt(
        &self,
        _: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        Err(Status::unimplemented("only Version is measured"))
    }
}

fn say(text: &str) {
    writeln!(stdout().lock(), "{text}").expect("stdout can be written");
}
