//! The running daemon, as its admin server shows it.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use http::{Method, Uri};
use reqwest::header;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tonic::body::Body;
use tonic::codegen::Service;

use crate::admin::{self, Address};
use crate::config::Source;
use crate::grpc::SocketPath;
use crate::system::Exit;
use crate::system::grpc_connection::Connection;
use crate::system::identity::Identity;
use crate::vault;

/// How long the daemon may take: it answers from memory.
const LIMIT: Duration = Duration::from_secs(3);
/// How long a daemon that starts may take until its admin server listens, and how often it is asked.
const STARTING: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A method that no service has.
const LIVE: &str = "http://localhost/probe/live";

/// Why the daemon tells nothing.
#[derive(Debug, Error)]
pub(super) enum RunningError {
    /// The admin server is turned off.
    #[error("admin.listen is empty: the daemon has no admin server")]
    TurnedOff,
    /// Nothing answers.
    #[error(
        "{address} cannot be reached: {cause}; does vault-kms-plugin run, and listen there? --address names another one"
    )]
    Unreachable {
        /// The address of the admin server.
        address: String,
        /// What went wrong.
        cause: String,
    },
    /// Another server answers.
    #[error("{address} does not answer as vault-kms-plugin does: {cause}")]
    UnexpectedResponse {
        /// The address of the admin server.
        address: String,
        /// What is wrong with the answer.
        cause: String,
    },
}

/// Where the daemon listens: at `address` if it is given, else as far as the configuration can be
/// read. It need not be valid: a file that was rejected is when the daemon is asked.
///
/// # Errors
/// The error to print, and its exit code.
pub(super) fn address(given: Option<&Address>, source: &Source) -> Result<Address, (String, Exit)> {
    if let Some(address) = given {
        return Ok(address.clone());
    }
    let (address, error) = source
        .admin_address()
        .map_err(|errors| (errors.to_string(), Exit::Config))?;
    if let Some(error) = error {
        eprintln!("vault-kms-plugin: {error}; asking {address}, which --address changes");
    }
    Ok(address)
}

/// The KMS socket, as far as the configuration can be read.
///
/// # Errors
/// The error to print, and its exit code.
pub(super) fn socket(source: &Source) -> Result<SocketPath, (String, Exit)> {
    let (path, error) = source
        .socket_path()
        .map_err(|errors| (errors.to_string(), Exit::Config))?;
    if let Some(error) = error {
        eprintln!("vault-kms-plugin: {error}; asking {path}");
    }
    Ok(path)
}

/// Whether a daemon serves the KMS socket. A request that it does not know is answered at once and touches
/// neither Vault nor a key; a connection that it closes, because its own user may not connect, shows the
/// same.
///
/// # Errors
/// Why not.
pub(super) async fn live(socket: &SocketPath) -> Result<(), String> {
    let stream = match socket.connect().await {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => connect_as_owner(socket).await,
        stream => stream,
    };
    let stream = stream.map_err(|error| format!("{socket} cannot be reached: {error}"))?;
    let answered = async {
        if let Ok(mut connection) = Connection::over(stream).await {
            let mut request = http::Request::new(Body::empty());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = Uri::from_static(LIVE);
            // Any answer will do, also the end of the connection.
            let _ = poll_fn(|context| connection.poll_ready(context)).await;
            let _ = connection.call(request).await;
        }
    };
    timeout(LIMIT, answered)
        .await
        .map_err(|_| format!("{socket}: no answer within {LIMIT:?}"))
}

/// As the user who owns the socket: root that has no `CAP_DAC_OVERRIDE`, as in the container of the static
/// pod, may become that user, and may not write to its files.
async fn connect_as_owner(socket: &SocketPath) -> io::Result<UnixStream> {
    let SocketPath::File(path) = socket else {
        return socket.connect().await;
    };
    let file = std::fs::metadata(path)?;
    let Ok(_assumed) = Identity::of_user(file.uid(), file.gid()).assume() else {
        return Err(ErrorKind::PermissionDenied.into());
    };
    socket.connect().await
}

/// As [`get`], and again for a moment while nothing answers: the admin server of a daemon that was just
/// started listens after its socket does.
///
/// # Errors
/// As [`get`].
pub(super) async fn get_soon(address: &Address, path: &str) -> Result<String, RunningError> {
    let deadline = Instant::now() + STARTING;
    loop {
        match get(address, path).await {
            Err(RunningError::Unreachable { .. }) if Instant::now() < deadline => {
                sleep(ASK_AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}

/// Requests a path of the admin server.
///
/// # Errors
/// If nothing answers, or another server does.
pub(super) async fn get(address: &Address, path: &str) -> Result<String, RunningError> {
    let unreachable = |error: reqwest::Error| RunningError::Unreachable {
        address: address.to_string(),
        cause: vault::root_cause(&error),
    };
    vault::install_provider();
    let mut client = reqwest::Client::builder().timeout(LIMIT).no_proxy();
    let url = match address {
        Address::Off => return Err(RunningError::TurnedOff),
        Address::Tcp(place) => format!("http://{place}/{path}"),
        Address::Unix(socket) => {
            client = client.unix_socket(socket.as_path());
            format!("http://localhost/{path}")
        }
    };
    let client = client.build().map_err(unreachable)?;
    let answer = client.get(url).send().await.map_err(unreachable)?;
    let foreign = |cause: String| RunningError::UnexpectedResponse {
        address: address.to_string(),
        cause,
    };
    if !answer.status().is_success() {
        return Err(foreign(format!("it answers {}", answer.status())));
    }
    match answer.headers().get(header::SERVER) {
        Some(name) if name == admin::SERVER => answer.text().await.map_err(unreachable),
        _ => Err(foreign("it is another server".to_owned())),
    }
}
