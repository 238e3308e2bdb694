//! Repaired connections on the real HTTP/2 server: every request arrives as the client meant it,
//! whatever its encoding.

use std::convert::Infallible;

use httlib_hpack::Encoder;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use super::super::{PREFACE, Repaired};
use super::{CONTINUATION, HEADERS, TABLE};

const SETTINGS: u8 = 4;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CALLS: u32 = 10_000;

/// What a grpc-go client sends for its socket's path, escaped or not.
const AUTHORITIES: [&str; 2] = [
    "%2Frun%2Fvault-kms-plugin%2Fkms.sock",
    "/run/sch\u{fc}ssel [1]/k m\u{15b}.sock",
];

#[tokio::test]
async fn ten_thousand_calls_on_one_connection_arrive_as_they_were_meant() {
    for (seed, authority) in (7..).zip(AUTHORITIES) {
        let (client, server) = UnixStream::pair().expect("a pair of sockets");
        let served = tokio::spawn(
            http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(Repaired::new(server)), service_fn(echo)),
        );
        let mut caller = Caller::new(client, authority, seed);
        caller.send(PREFACE.to_vec()).await;
        caller.send(frame(SETTINGS, 0, 0, &[])).await;
        for number in 0..CALLS {
            caller.call(number).await;
        }
        drop(caller);
        let _ = served.await.expect("the server does not panic");
    }
}

/// 200 where path and timeout still belong together, which they do not once the tables of the two
/// ends differ.
async fn echo(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let timeout = request.headers().get("grpc-timeout");
    let timeout = timeout.and_then(|value| value.to_str().ok());
    let meant = timeout.is_some_and(|value| request.uri().path() == format!("/{value}"));
    let fillers = request.headers().get_all("x-filler").iter();
    let whole = fillers
        .into_iter()
        .all(|value| value.as_bytes().ends_with(b"."));
    let mut response = Response::new(String::new());
    if !(meant && whole) {
        *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

struct Caller {
    stream: UnixStream,
    encoder: Encoder<'static>,
    random: fastrand::Rng,
    authority: &'static str,
    received: Vec<u8>,
}

impl Caller {
    fn new(stream: UnixStream, authority: &'static str, seed: u64) -> Self {
        Self {
            stream,
            encoder: Encoder::with_dynamic_size(TABLE),
            random: fastrand::Rng::with_seed(seed),
            authority,
            received: Vec::new(),
        }
    }

    /// One call, written in any of the ways there are, and its answer.
    async fn call(&mut self, number: u32) {
        let stream = 2 * number + 1;
        let block = self.block(number);
        let frames = self.frames(stream, &block);
        // In two writes, so that the server reads them in parts.
        let cut = self.random.usize(..=frames.len());
        let (first, second) = frames.split_at(cut);
        self.send(first.to_vec()).await;
        if self.random.u8(..8) == 0 {
            tokio::task::yield_now().await;
        }
        self.send(second.to_vec()).await;
        self.expect_ok(stream).await;
    }

    fn block(&mut self, number: u32) -> Vec<u8> {
        let mut block = Vec::new();
        if self.random.u32(..200) == 0 {
            let size = self.random.u32(..=TABLE);
            self.encoder
                .update_max_dynamic_size(size, &mut block)
                .expect("a size");
        }
        let timeout = format!("{}u", 3_000_000 - number / 3);
        let filler = format!("{}.", "x".repeat(self.random.usize(..200)));
        let path = format!("/{timeout}");
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", &path),
            (":authority", self.authority),
            ("te", "trailers"),
            ("grpc-timeout", &timeout),
            ("x-filler", &filler),
        ];
        for (name, value) in fields {
            // Mostly as grpc-go does, now and then in any other form.
            let usual = Encoder::BEST_FORMAT | Encoder::WITH_INDEXING | Encoder::HUFFMAN_VALUE;
            let form = match self.random.u8(..10) {
                0 => self.random.u8(..32),
                _ => usual,
            };
            let field = (name.as_bytes().to_vec(), value.as_bytes().to_vec(), form);
            self.encoder.encode(field, &mut block).expect("a field");
        }
        block
    }

    /// HEADERS, padded and prioritised or not, and up to two CONTINUATIONs.
    fn frames(&mut self, stream: u32, block: &[u8]) -> Vec<u8> {
        const END_STREAM: u8 = 0x1;
        const END_HEADERS: u8 = 0x4;
        let (mut payload, mut padding, mut flags) = (Vec::new(), 0, END_STREAM);
        if self.random.bool() {
            flags |= 0x8;
            padding = self.random.usize(..256);
            payload.push(padding as u8);
        }
        if self.random.bool() {
            flags |= 0x20;
            payload.extend([0, 0, 0, 0, 15]);
        }
        let cut = match self.random.u8(..4) {
            0 => self.random.usize(..=block.len()),
            _ => block.len(),
        };
        payload.extend_from_slice(&block[..cut]);
        payload.resize(payload.len() + padding, 0);
        if cut == block.len() {
            return frame(HEADERS, flags | END_HEADERS, stream, &payload);
        }
        let (middle, last) = block[cut..].split_at(self.random.usize(..=block.len() - cut));
        [
            frame(HEADERS, flags, stream, &payload),
            frame(CONTINUATION, 0, stream, middle),
            frame(CONTINUATION, END_HEADERS, stream, last),
        ]
        .concat()
    }

    async fn send(&mut self, bytes: Vec<u8>) {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            self.stream.writable().await.expect("an open socket");
            if let Ok(count) = self.stream.try_write(rest) {
                rest = &rest[count..];
            }
        }
    }

    /// Reads until this stream is answered.
    async fn expect_ok(&mut self, stream: u32) {
        const INDEXED_200: u8 = 0x88;
        loop {
            while let Some(size) = whole_frame(&self.received) {
                let frame: Vec<u8> = self.received.drain(..size).collect();
                let of = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
                match frame[3] {
                    HEADERS if of == stream => {
                        assert_eq!(frame[9], INDEXED_200, "stream {stream}: {frame:?}");
                        return;
                    }
                    RST_STREAM | GOAWAY => panic!("stream {stream}: {frame:?}"),
                    _ => {}
                }
            }
            self.stream.readable().await.expect("an open socket");
            let mut bytes = [0; 4096];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => panic!("stream {stream}: the server closed the connection"),
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(_) => {}
            }
        }
    }
}

fn whole_frame(bytes: &[u8]) -> Option<usize> {
    let size = super::Frame::read(bytes)?.size();
    (bytes.len() >= size).then_some(size)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
