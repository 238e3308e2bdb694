//! The least that any gRPC server in front of Vault costs: the same stack (tonic, hyper, a unix
//! socket, a process of its own) with nothing of the plugin in it. One prepared request goes to
//! Vault for each Encrypt, whatever it holds. What the plugin adds is to be judged beside it.

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use vault_kms_plugin::grpc::proto::v2::key_management_service_server::{
    KeyManagementService, KeyManagementServiceServer,
};
use vault_kms_plugin::grpc::proto::v2::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};

use super::harness::child::Child;
use super::harness::kms::KmsClient;
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;
use super::plain::PlainCaller;
use super::{READY_LIMIT, SEED};

/// The first argument of this program when it is the bare server.
pub(super) const ARGUMENT: &str = "bare-server";

/// The running server; killed when dropped.
pub(super) struct Bare {
    _child: Child,
    dir: TempDir,
}

impl Bare {
    pub(super) async fn start(vault: &Vault, fixture: &Fixture) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let program = std::env::current_exe().expect("a running program has a path");
        let socket = dir.path().join("bare.sock").display().to_string();
        let address = vault.socket_address().to_string();
        let arguments = [
            ARGUMENT,
            &socket,
            &address,
            &fixture.mount,
            &fixture.key,
            &fixture.token,
        ];
        let child = Child::spawn(&program, &arguments, &dir.path().join("log"), |_| {});
        let bare = Self { _child: child, dir };
        wait::until_true("the bare server listens", READY_LIMIT, async || {
            UnixStream::connect(bare.socket()).await.is_ok()
        })
        .await;
        bare
    }

    pub(super) fn client(&self) -> KmsClient {
        KmsClient::connect(self.socket())
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("bare.sock")
    }
}

/// Serves until it is killed.
pub(super) fn serve(arguments: &[String]) {
    // One thread, as the plugin has.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime can be made")
        .block_on(accept(arguments));
}

async fn accept(arguments: &[String]) {
    let [socket, vault, mount, key, token] = arguments else {
        panic!("expected: socket, vault, mount, key, token");
    };
    let vault: SocketAddr = vault.parse().expect("an address");
    let fixture = Fixture {
        mount: mount.clone(),
        key: key.clone(),
        policy: String::new(),
        token: token.clone(),
    };
    let caller = PlainCaller::connect(vault, &fixture, &SEED, b"").await;
    let service = KeyManagementServiceServer::new(BareService(Mutex::new(caller)));
    let routes = Routes::new(service).prepare();
    let listener = UnixListener::bind(socket).expect("the socket is free");
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(routes.clone());
        let connection = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

struct BareService(Mutex<PlainCaller>);

#[tonic::async_trait]
impl KeyManagementService for BareService {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(StatusResponse {
            version: "v2".to_owned(),
            healthz: "ok".to_owned(),
            key_id: "transit1::transit:kms:v1:1714000000".to_owned(),
        }))
    }

    async fn encrypt(
        &self,
        _: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        self.0.lock().await.encrypt().await;
        Ok(Response::new(EncryptResponse {
            ciphertext: vec![b'x'; 89],
            key_id: "transit1::transit:kms:v1:1714000000".to_owned(),
            annotations: Default::default(),
        }))
    }

    async fn decrypt(
        &self,
        _: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        Err(Status::unimplemented("only Encrypt is measured"))
    }
}
