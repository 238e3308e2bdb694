//! HTTP/2 frames (RFC 9113, sections 4.1, 6.2 and 6.10): the position of a header block in them, and
//! the same frames around a shorter one.

use std::borrow::Cow;
use std::ops::Range;

/// The bytes before a frame's payload.
pub(super) const HEADER: usize = 9;
/// The largest header block that is held back, frames and all; h2 refuses one of over 16 KiB.
const MAX_BLOCK: usize = 32 * 1024;
/// h2 itself gives up after five CONTINUATION frames.
const FRAMES_MOST: usize = 16;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The header of a frame.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl Frame {
    /// The frame at the beginning of `bytes`. Returns `None` if its header is incomplete.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER>()?;
        let [l0, l1, l2, kind, flags, stream @ ..] = *header;
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind,
            flags,
            stream,
        })
    }

    /// Returns whether a header block begins with it.
    pub(super) fn begins_block(self) -> bool {
        self.kind == HEADERS
    }

    /// Header and payload.
    pub(super) fn size(self) -> usize {
        HEADER + self.length
    }

    fn continues(self, first: Self) -> bool {
        self.kind == CONTINUATION && self.stream == first.stream
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The range of the header block within its payload.
    fn fragment(self, payload: &[u8]) -> Option<Range<usize>> {
        let mut part = 0..payload.len();
        if self.kind != HEADERS {
            return Some(part);
        }
        if self.has(PADDED) {
            part.start += 1;
            part.end = part.end.checked_sub(usize::from(*payload.first()?))?;
        }
        if self.has(PRIORITY) {
            part.start += 5;
        }
        (part.start <= part.end).then_some(part)
    }
}

/// How far the frames of one header block reach.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The block is complete, with this many bytes.
    Whole(usize),
    /// At least this many bytes are still to come.
    Missing(usize),
    /// It is too large, or followed by a frame that must not follow.
    Odd,
}

/// The extent of the header block at the beginning of `bytes`.
pub(super) fn extent(bytes: &[u8]) -> Extent {
    let mut end = 0;
    let mut first = None;
    for _ in 0..FRAMES_MOST {
        let Some(frame) = Frame::read(&bytes[end..]) else {
            return Extent::Missing(end + HEADER - bytes.len());
        };
        let opening = *first.get_or_insert(frame);
        end += frame.size();
        let in_order = end == frame.size() || frame.continues(opening);
        if !in_order || end > MAX_BLOCK {
            return Extent::Odd;
        }
        if end > bytes.len() {
            return Extent::Missing(end - bytes.len());
        }
        if frame.has(END_HEADERS) {
            return Extent::Whole(end);
        }
    }
    Extent::Odd
}

/// The frames of one whole header block.
pub(super) struct Block<'a> {
    /// Each with its payload and the range of the header block in it.
    frames: Vec<(&'a [u8], &'a [u8], Range<usize>)>,
}

impl<'a> Block<'a> {
    /// Splits what [`extent`] found complete. Returns `None` if its padding is longer than a frame.
    pub(super) fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut frames = Vec::with_capacity(1);
        while let Some(frame) = Frame::read(bytes) {
            let (whole, rest) = bytes.split_at_checked(frame.size())?;
            let (header, payload) = whole.split_at(HEADER);
            frames.push((header, payload, frame.fragment(payload)?));
            bytes = rest;
        }
        Some(Self { frames })
    }

    /// The header block itself.
    pub(super) fn content(&self) -> Cow<'a, [u8]> {
        match &self.frames[..] {
            [(_, payload, part)] => Cow::Borrowed(&payload[part.clone()]),
            frames => frames
                .iter()
                .flat_map(|(_, payload, part)| &payload[part.clone()])
                .copied()
                .collect(),
        }
    }

    /// The same frames around `content`, which is no longer than before: the last ones get shorter.
    pub(super) fn around(&self, mut content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (header, payload, part) in &self.frames {
            let (mine, rest) = content.split_at(part.len().min(content.len()));
            content = rest;
            let length = payload.len() - part.len() + mine.len();
            bytes.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
            bytes.extend_from_slice(&header[3..]);
            bytes.extend_from_slice(&payload[..part.start]);
            bytes.extend_from_slice(mine);
            bytes.extend_from_slice(&payload[part.end..]);
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
