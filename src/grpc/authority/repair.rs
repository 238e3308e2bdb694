//! The repair of one connection: tracks the position in the stream of frames, and does no I/O.

use super::block;
use super::frame::{self, Block, Extent, Frame};

/// The beginning of every HTTP/2 connection (RFC 9113, section 3.4).
pub(in crate::grpc) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The repair of one connection.
///
/// Bytes are given to [`Repair::rewrite`] as they come. If a header block (or a frame's header) is
/// incomplete, its beginning is held back. Until it is complete ([`Repair::wanted`] is 0) further bytes
/// are given to [`Repair::hold`] instead, and then those of [`Repair::release`] are passed on first.
#[derive(Debug, Default)]
pub struct Repair {
    stage: Stage,
    /// The beginning of a header block or of a frame's header; or a complete one, until it is passed on.
    held: Vec<u8>,
    /// How many more bytes `held` needs, as far as is known.
    wanted: usize,
}

#[derive(Debug)]
enum Stage {
    /// This many bytes of the preface were read.
    Preface(usize),
    /// This many bytes are passed on unread until the next frame.
    Frames(usize),
    /// Everything is passed on unread: it is not HTTP/2, or h2 will end the connection, or it has ended.
    Unread,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Preface(0)
    }
}

/// What to do with the bytes at the beginning of a frame.
enum Step {
    /// This many bytes are a complete header block, replaced by these bytes if it was repaired.
    Block(usize, Option<Vec<u8>>),
    /// This many bytes are passed on unread, maybe more than were read.
    Pass(usize),
    /// This many more bytes are needed to decide.
    Hold(usize),
    /// h2 will end this connection: the rest is passed on unread.
    GiveUp,
}

impl Repair {
    /// Repairs in place what was just read. Returns how many bytes, from the first, to pass on now; those
    /// after them are held back or, where a value got shorter, no longer needed.
    pub fn rewrite(&mut self, bytes: &mut [u8]) -> usize {
        debug_assert!(self.held.is_empty() || bytes.is_empty());
        let mut at = self.pass_preface(bytes);
        let mut end = bytes.len();
        loop {
            at += self.pass(end - at);
            if at == end {
                return end;
            }
            match step(&bytes[at..end]) {
                Step::Block(size, None) => at += size,
                Step::Block(size, Some(fixed)) => {
                    let fixed_end = at + fixed.len();
                    bytes[at..fixed_end].copy_from_slice(&fixed);
                    bytes.copy_within(at + size..end, fixed_end);
                    end -= size - fixed.len();
                    at = fixed_end;
                }
                Step::Pass(size) => self.stage = Stage::Frames(size),
                Step::Hold(missing) => {
                    self.held.extend_from_slice(&bytes[at..end]);
                    self.wanted = missing;
                    return at;
                }
                Step::GiveUp => self.stage = Stage::Unread,
            }
        }
    }

    /// How many bytes, at most, have to be read and given to [`Repair::hold`] before anything is passed
    /// on; 0 if nothing is held back.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Adds what was read, at most what was wanted, to what is held back.
    pub fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        self.wanted -= bytes.len();
        if self.wanted > 0 {
            return;
        }
        match step(&self.held) {
            Step::Block(_, None) => {}
            Step::Block(_, Some(fixed)) => self.held = fixed,
            // Only a frame's header was held back for it.
            Step::Pass(size) => self.stage = Stage::Frames(size - self.held.len()),
            Step::Hold(missing) => self.wanted = missing,
            Step::GiveUp => self.stage = Stage::Unread,
        }
    }

    /// The client has ended: what is held back is passed on unchanged.
    pub fn end(&mut self) {
        self.wanted = 0;
        self.stage = Stage::Unread;
    }

    /// Takes at most `limit` of the bytes that are no longer held back, to pass on before any other.
    pub fn release(&mut self, limit: usize) -> std::vec::Drain<'_, u8> {
        let ready = if self.wanted == 0 { self.held.len() } else { 0 };
        self.held.drain(..ready.min(limit))
    }

    /// How many bytes of the preface `bytes` begin with.
    fn pass_preface(&mut self, bytes: &[u8]) -> usize {
        let Stage::Preface(seen) = self.stage else {
            return 0;
        };
        let rest = &PREFACE[seen..];
        let count = rest.len().min(bytes.len());
        self.stage = if bytes[..count] != rest[..count] {
            Stage::Unread
        } else if count == rest.len() {
            Stage::Frames(0)
        } else {
            Stage::Preface(seen + count)
        };
        count
    }

    /// How many of the available bytes are passed on unread.
    fn pass(&mut self, available: usize) -> usize {
        match &mut self.stage {
            Stage::Frames(left) => {
                let count = available.min(*left);
                *left -= count;
                count
            }
            Stage::Preface(_) | Stage::Unread => available,
        }
    }
}

fn step(bytes: &[u8]) -> Step {
    match Frame::read(bytes) {
        None => Step::Hold(frame::HEADER - bytes.len()),
        Some(first) if first.begins_block() => match frame::extent(bytes) {
            Extent::Whole(size) => Step::Block(size, fixed(&bytes[..size])),
            Extent::Missing(count) => Step::Hold(count),
            Extent::Odd => Step::GiveUp,
        },
        Some(other) => Step::Pass(other.size()),
    }
}

/// Repairs the frames of a header block. Returns `None` if nothing needs repair.
fn fixed(frames: &[u8]) -> Option<Vec<u8>> {
    let frames = Block::read(frames)?;
    let content = block::fixed(&frames.content())?;
    Some(frames.around(&content))
}
