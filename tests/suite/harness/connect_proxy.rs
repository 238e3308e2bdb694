//! A forward proxy that supports only CONNECT and connects every host name to this machine.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use super::listener::Listener;

/// A running proxy; stopped when dropped.
pub struct ConnectProxy {
    listener: Listener,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// The heads of all requests.
    heads: Vec<String>,
    /// What it answers instead of connecting.
    refusal: Option<String>,
}

impl ConnectProxy {
    /// Starts one.
    pub fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let of_all = Arc::clone(&shared);
        let listener = Listener::start(move |stream| {
            let shared = Arc::clone(&of_all);
            async move {
                // It ends when either side disconnects.
                let _ = serve(stream, &shared).await;
            }
        });
        Self { listener, shared }
    }

    /// `127.0.0.1:…`
    pub fn place(&self) -> String {
        self.listener.address().to_string()
    }

    /// From now on it answers with this status, such as `407 Proxy Authentication Required`.
    pub fn refuse(&self, status: &str) {
        lock(&self.shared).refusal = Some(status.to_owned());
    }

    /// The heads of all requests, oldest first.
    pub fn heads(&self) -> Vec<String> {
        lock(&self.shared).heads.clone()
    }
}

async fn serve(mut inner: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(inner.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let port = head
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next()?.rsplit_once(':')?.1.parse().ok());
    let refusal = {
        let mut shared = lock(shared);
        shared.heads.push(head);
        shared.refusal.clone()
    };
    let (Some(port), None) = (port, &refusal) else {
        let status = refusal.as_deref().unwrap_or("405 Method Not Allowed");
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        return inner.write_all(answer.as_bytes()).await;
    };
    let place: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, port);
    let mut outer = TcpStream::connect(place).await?;
    inner.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
    copy_bidirectional(&mut inner, &mut outer).await?;
    Ok(())
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
