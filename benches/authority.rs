//! What the repair of `:authority` costs: `cargo bench --bench authority`.
//!
//! The same gRPC server on two sockets, with and without the repair, called in turns by the same
//! callers; and the pure part alone, over requests as kube-apiserver sends them.

#[path = "../tests/suite/harness.rs"]
mod harness;

use std::io::{Write, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use harness::kms::KmsClient;
use harness::wait;
use httlib_hpack::Encoder;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use vault_kms_plugin::grpc::authority::{Repair, Repaired};
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
    pure("authority that goes by", b"localhost");
    pure(
        "authority that is mended",
        b"%2Frun%2Fvault-kms-plugin%2Fkms.sock",
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(compare());
}

/// Calls a second with the repair, as a part of those without, round by round.
async fn compare() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
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

/// The time that the pure part takes for one request: HEADERS and DATA in one read.
fn pure(what: &str, authority: &[u8]) {
    const REQUESTS: u32 = 500_000;
    let mut reads = requests(authority);
    let preface = reads.remove(0);
    let mut repair = Repair::default();
    repair.mend(&mut preface.clone());
    let start = Instant::now();
    for number in 0..REQUESTS {
        let mut read = reads[number as usize % reads.len()].clone();
        std::hint::black_box(repair.mend(&mut read));
    }
    let each = start.elapsed() / REQUESTS;
    say(&format!(
        "{what}: {} ns a request, its copy included",
        each.as_nanos()
    ));
}

/// The preface, then requests as grpc-go writes them: all fields indexed, a new timeout each time,
/// so that the authority is evicted and comes again.
fn requests(authority: &[u8]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::with_dynamic_size(4096);
    let mut reads = vec![b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()];
    for number in 0..1000 {
        let timeout = format!("{}u", 2_999_000 - number);
        let fields: [(&[u8], &[u8]); 8] = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/v1beta1.KeyManagementService/Decrypt"),
            (b":authority", authority),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"grpc-go/1.82.1"),
            (b"te", b"trailers"),
            (b"grpc-timeout", timeout.as_bytes()),
        ];
        let mut block = Vec::new();
        for (name, value) in fields {
            let form = Encoder::BEST_FORMAT | Encoder::WITH_INDEXING | Encoder::HUFFMAN_VALUE;
            let field = (name.to_vec(), value.to_vec(), form);
            encoder.encode(field, &mut block).expect("a field");
        }
        let mut read = vec![0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1];
        read.extend(block);
        read.extend([0, 0, 120, 0, 1, 0, 0, 0, 1]);
        read.extend([0; 120]);
        reads.push(read);
    }
    reads
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
