//! A header block (RFC 7541, section 6): finds each literal `:authority` that the server would
//! reject and replaces it by one of the same decoded length.
//!
//! The length matters: an entry of the dynamic table counts name, value and 32, so both ends keep
//! evicting the same entries, and every index means to the server what the client meant.

use http::uri::Authority;

use super::huffman;

/// `:authority` in the static table (RFC 7541, appendix A). Every encoder finds it there before it
/// would find it in its dynamic table, so no table has to be kept here.
const AUTHORITY_INDEX: usize = 1;
/// The same name as a literal, for an encoder that uses no table.
const AUTHORITY_NAME: &[u8] = b":authority";
/// Larger than any integer in a block.
const INTEGER_MOST: usize = 1 << 24;

/// The block with every invalid `:authority` replaced; never longer than `block`. Returns `None` if
/// there is none, or if the block cannot be read.
pub(super) fn fixed(block: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader { block, at: 0 };
    let mut fixed = None;
    let mut copied = 0;
    while reader.at < block.len() {
        let Some(value) = reader.field()? else {
            continue;
        };
        if let Some(better) = replacement(&value.text?) {
            let fixed = fixed.get_or_insert_with(|| Vec::with_capacity(block.len()));
            fixed.extend_from_slice(&block[copied..value.start]);
            fixed.extend_from_slice(&better);
            copied = reader.at;
        }
    }
    let mut fixed: Vec<u8> = fixed?;
    fixed.extend_from_slice(&block[copied..]);
    Some(fixed)
}

/// A string literal that decodes to as many characters as `value` and is a valid authority. Returns
/// `None` if `value` is valid itself. No encoding of `value` is shorter.
fn replacement(value: &[u8]) -> Option<Vec<u8>> {
    // The same check as in h2 (its server.rs, `convert_poll_message`).
    if value.is_empty() || Authority::try_from(value).is_ok() {
        return None;
    }
    let zeros = huffman::zeros(value.len());
    let mut literal = Vec::with_capacity(zeros.len() + 4);
    put_huffman_length(zeros.len(), &mut literal);
    literal.extend_from_slice(&zeros);
    Some(literal)
}

/// The length of a Huffman-coded string (RFC 7541, sections 5.1 and 5.2).
fn put_huffman_length(length: usize, literal: &mut Vec<u8>) {
    const HUFFMAN: u8 = 0x80;
    const PREFIX: usize = 0x7f;
    if length < PREFIX {
        return literal.push(HUFFMAN | length as u8);
    }
    literal.push(HUFFMAN | PREFIX as u8);
    let mut rest = length - PREFIX;
    while rest >= 0x80 {
        literal.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    literal.push(rest as u8);
}

/// A literal value of `:authority` and the position of its string literal.
struct Value {
    start: usize,
    /// Decoded, if possible.
    text: Option<Vec<u8>>,
}

struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads one field. The outer nothing: it cannot be read. The inner: it is no literal
    /// `:authority`.
    fn field(&mut self) -> Option<Option<Value>> {
        let name_bits = match *self.block.get(self.at)? {
            0x80.. => return self.integer(7).map(|_| None), // indexed
            0x40..=0x7f => 6,                               // with incremental indexing
            0x20..=0x3f => return self.integer(5).map(|_| None), // dynamic table size update
            0x00..=0x1f => 4,                               // never indexed, or without indexing
        };
        let is_authority = match self.integer(name_bits)? {
            0 => self.string()?.decoded().as_deref() == Some(AUTHORITY_NAME),
            index => index == AUTHORITY_INDEX,
        };
        let start = self.at;
        let value = self.string()?;
        Some(is_authority.then(|| Value {
            start,
            text: value.decoded(),
        }))
    }

    fn string(&mut self) -> Option<Encoded<'a>> {
        let huffman = self.block.get(self.at)? & 0x80 != 0;
        let length = self.integer(7)?;
        let bytes = self.block.get(self.at..self.at + length)?;
        self.at += length;
        Some(Encoded { bytes, huffman })
    }

    /// An integer whose first byte keeps `bits` bits for it (RFC 7541, section 5.1).
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let prefix = (1 << bits) - 1;
        let mut value = self.byte()? & prefix;
        if value < prefix {
            return Some(value);
        }
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            value += (byte & 0x7f) << shift;
            if value > INTEGER_MOST {
                return None;
            }
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
            if shift > 21 {
                return None;
            }
        }
    }

    fn byte(&mut self) -> Option<usize> {
        let byte = *self.block.get(self.at)?;
        self.at += 1;
        Some(usize::from(byte))
    }
}

/// A string literal as encoded in the block.
struct Encoded<'a> {
    bytes: &'a [u8],
    huffman: bool,
}

impl Encoded<'_> {
    fn decoded(&self) -> Option<Vec<u8>> {
        if self.huffman {
            huffman::decode(self.bytes)
        } else {
            Some(self.bytes.to_vec())
        }
    }
}

#[cfg(test)]
mod tests;
