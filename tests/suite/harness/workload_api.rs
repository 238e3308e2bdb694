//! A SPIFFE Workload API on a unix socket, as a SPIRE agent offers it to one process. A test double,
//! because a real agent needs a server, a node attestation and root.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};
use vault_kms_plugin::session::spiffe::proto::spiffe_workload_api_server::{
    SpiffeWorkloadApi, SpiffeWorkloadApiServer,
};
use vault_kms_plugin::session::spiffe::proto::{Jwtsvid, JwtsvidRequest, JwtsvidResponse};

type Issue = dyn Fn(&str) -> Result<Vec<(String, String)>, Status> + Send + Sync;

/// Serves until it is dropped.
pub struct WorkloadApi {
    path: PathBuf,
    calls: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

struct Agent {
    issue: Arc<Issue>,
    calls: Arc<AtomicUsize>,
}

impl WorkloadApi {
    /// `issue` makes identities and their JWTs for an audience.
    pub fn serve(
        path: &Path,
        issue: impl Fn(&str) -> Result<Vec<(String, String)>, Status> + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).expect("the socket can be bound");
        let calls = Arc::new(AtomicUsize::new(0));
        let agent = Agent {
            issue: Arc::new(issue),
            calls: Arc::clone(&calls),
        };
        let service = SpiffeWorkloadApiServer::new(agent);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                let served = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service);
                connections.spawn(served);
            }
        });
        Self {
            path: path.to_owned(),
            calls,
            _tasks: tasks,
        }
    }

    /// How many JWTs were requested.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for WorkloadApi {
    fn drop(&mut self) {
        // Another one may take the place.
        let _ = fs::remove_file(&self.path);
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Agent {
    async fn fetch_jwtsvid(
        &self,
        request: Request<JwtsvidRequest>,
    ) -> Result<Response<JwtsvidResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        // An agent rejects requests without it, as the specification requires.
        let header = request.metadata().get("workload.spiffe.io");
        if header.is_none_or(|value| value != "true") {
            return Err(Status::invalid_argument(
                "security header missing from request",
            ));
        }
        let JwtsvidRequest {
            audience,
            spiffe_id,
        } = request.into_inner();
        let audience = audience.first();
        let audience = audience.ok_or_else(|| Status::invalid_argument("audience is missing"))?;
        let mut issued = (self.issue)(audience)?;
        issued.retain(|(id, _)| spiffe_id.is_empty() || *id == spiffe_id);
        let svids = issued
            .into_iter()
            .map(|(spiffe_id, svid)| Jwtsvid { spiffe_id, svid })
            .collect();
        Ok(Response::new(JwtsvidResponse { svids }))
    }
}
