//! The repair as a stream: what is read through it is repaired, what is written is passed on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::repair::Repair;

/// A client's connection, as the HTTP/2 server should see it.
#[derive(Debug)]
pub struct Repaired<S> {
    stream: S,
    repair: Repair,
}

impl<S> Repaired<S> {
    /// The repair of this stream, from its first byte on.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            repair: Repair::default(),
        }
    }
}

impl<S: AsyncRead + Unpin> Repaired<S> {
    /// Reads what is needed to complete what is held back.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 1024];
        let limit = self.repair.wanted().min(bytes.len());
        let mut buffer = ReadBuf::new(&mut bytes[..limit]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        match buffer.filled() {
            [] => self.repair.end(),
            more => self.repair.hold(more),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Repaired<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        loop {
            while this.repair.wanted() > 0 {
                ready!(this.poll_hold(cx))?;
            }
            let released = this.repair.release(buffer.remaining());
            if !released.as_slice().is_empty() {
                buffer.put_slice(released.as_slice());
                return Poll::Ready(Ok(()));
            }
            drop(released);
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let read = &mut buffer.filled_mut()[before..];
            let length = read.len();
            let count = this.repair.rewrite(read);
            buffer.set_filled(before + count);
            // An empty read would mean the end of the stream.
            if count > 0 || length == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Repaired<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
