//! HTTP/2 by hand, for clients that no library can be: frames as bytes, a raw connection.
//!
//! Blocking, for threads of their own: an attack must not slow the runtime that watches it.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What a connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113, section 6).
pub const DATA: u8 = 0;
/// See [`DATA`].
pub const HEADERS: u8 = 1;
/// See [`DATA`].
pub const RST_STREAM: u8 = 3;
/// See [`DATA`].
pub const SETTINGS: u8 = 4;
/// See [`DATA`].
pub const PING: u8 = 6;
/// See [`DATA`].
pub const GOAWAY: u8 = 7;
/// See [`DATA`].
pub const WINDOW_UPDATE: u8 = 8;
/// See [`DATA`].
pub const CONTINUATION: u8 = 9;

/// On DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// On SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// On HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 0x4;

/// A stalled server is given up on after this.
const STALL: Duration = Duration::from_secs(2);

/// A frame that was read.
#[derive(Debug)]
pub struct Frame {
    /// See [`DATA`].
    pub kind: u8,
    /// See [`ACK`].
    pub flags: u8,
    /// 0 is the connection.
    pub stream: u32,
    /// What follows its header.
    pub payload: Vec<u8>,
}

/// A client's end.
pub struct Raw {
    stream: UnixStream,
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The header block of a gRPC call, in literals that no table remembers.
pub fn grpc_headers(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    for (name, value) in [
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.extend(literal(name, value.as_bytes()));
    }
    block
}

/// One header, in a literal that no table remembers.
pub fn literal(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name.as_bytes(), value] {
        bytes.extend(hpack_length(text.len()));
        bytes.extend(text);
    }
    bytes
}

/// A number with a prefix of seven bits (RFC 7541, section 5.1).
fn hpack_length(length: usize) -> Vec<u8> {
    let Some(mut rest) = length.checked_sub(127) else {
        return vec![u8::try_from(length).expect("below 127")];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

/// A gRPC message of KMS v2's EncryptRequest.
pub fn encrypt_request(plaintext: &[u8]) -> Vec<u8> {
    let mut message = vec![0x0a];
    let mut length = plaintext.len();
    while length >= 128 {
        message.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    message.push(length as u8);
    message.extend(plaintext);
    let length = u32::try_from(message.len()).expect("a small message");
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    bytes
}

impl Raw {
    /// A connection that has said nothing.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(STALL))?;
        stream.set_write_timeout(Some(STALL))?;
        Ok(Self { stream })
    }

    /// A connection that has sent the preface and these settings (numbers with their values).
    pub fn greeted(socket: &Path, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut raw = Self::connect(socket)?;
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        raw.send(PREFACE)?;
        raw.send(&frame(SETTINGS, 0, 0, &payload))?;
        Ok(raw)
    }

    /// Writes all of it; an error once the server has closed, or does not read.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next frame; nothing when the server has closed.
    pub fn frame(&mut self) -> io::Result<Option<Frame>> {
        let mut header = [0; 9];
        match self.stream.read_exact(&mut header) {
            Err(error) if closed(&error) => return Ok(None),
            read => read?,
        }
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
        match self.stream.read_exact(&mut payload) {
            Err(error) if closed(&error) => return Ok(None),
            read => read?,
        }
        Ok(Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            payload,
        }))
    }

    /// Reads all that comes until the server closes; an error if it does not, within `limit`.
    pub fn read_to_end(&mut self, limit: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(limit))?;
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Err(error) if closed(&error) => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
    }

    /// How long a read may wait from now on.
    pub fn policy(&mut self, limit: Duration) {
        let set = self.stream.set_read_timeout(Some(limit));
        set.expect("a limit can be set");
    }

    /// How long a write may wait from now on.
    pub fn write_patience(&mut self, limit: Duration) {
        let set = self.stream.set_write_timeout(Some(limit));
        set.expect("a limit can be set");
    }

    /// Throws away what has come, without waiting for more.
    pub fn discard(&mut self) {
        let mut bytes = [0; 16 * 1024];
        let nonblocking = self.stream.set_nonblocking(true);
        nonblocking.expect("a socket can be non-blocking");
        while matches!(self.stream.read(&mut bytes), Ok(count) if count > 0) {}
        let blocking = self.stream.set_nonblocking(false);
        blocking.expect("a socket can be blocking");
    }
}

fn closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
