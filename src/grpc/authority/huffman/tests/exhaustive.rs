//! Every string within bounds, compared with a decoder that goes bit by bit through the code of a real encoder.

use std::collections::HashMap;

use super::super::{decode, zeros};

/// The bits of EOS, all ones: the longest code.
const EOS_BITS: usize = 30;

/// The code as a real encoder writes it: for each number of bits and code its symbol.
struct Oracle(HashMap<(usize, u32), u8>);

impl Oracle {
    fn new() -> Self {
        Self((0..=u8::MAX).map(|symbol| (code(symbol), symbol)).collect())
    }

    /// As RFC 7541, section 5.2, has it.
    fn decode(&self, encoded: &[u8]) -> Option<Vec<u8>> {
        let (mut text, mut bits, mut window) = (Vec::new(), 0, 0_u32);
        for byte in encoded {
            for at in (0..8).rev() {
                window = window << 1 | u32::from(byte >> at & 1);
                bits += 1;
                if let Some(symbol) = self.0.get(&(bits, window)) {
                    text.push(*symbol);
                    (bits, window) = (0, 0);
                }
                if bits == EOS_BITS {
                    return None;
                }
            }
        }
        let is_padding = bits < 8 && window == (1 << bits) - 1;
        is_padding.then_some(text)
    }
}

fn encoded(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    httlib_huffman::encode(text, &mut encoded).expect("any bytes can be encoded");
    encoded
}

/// The number of bits of a symbol, and its code: eight of it have no padding.
fn code(symbol: u8) -> (usize, u32) {
    let eight = encoded(&[symbol; 8]);
    let bits = eight.len();
    let first = eight.iter().chain(&[0; 4]).take(4);
    let first = first.fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    (bits, first >> (32 - bits))
}

/// The bytes of a string of bits, with so many further bits of padding, all of them ones or not.
fn bytes_of(bits: &[bool], padding: usize, with: bool) -> Vec<u8> {
    let mut bits = bits.to_vec();
    bits.resize(bits.len() + padding, with);
    assert_eq!(bits.len() % 8, 0);
    let byte = |bits: &[bool]| bits.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit));
    bits.chunks(8).map(byte).collect()
}

fn bits_of((bits, code): (usize, u32)) -> impl Iterator<Item = bool> {
    (0..bits).rev().map(move |at| code >> at & 1 == 1)
}

#[test]
fn no_code_begins_another_one_and_together_with_eos_they_leave_none_free() {
    let mut share = 1_u64 << (32 - EOS_BITS);
    for symbol in 0..=u8::MAX {
        let (bits, code) = code(symbol);
        share += 1 << (32 - bits);
        for other in 0..=u8::MAX {
            let (longer, of_other) = self::code(other);
            assert!(
                symbol == other || longer < bits || of_other >> (longer - bits) != code,
                "{symbol} {other}"
            );
        }
    }
    assert_eq!(share, 1 << 32);
}

#[test]
fn every_prefix_of_every_code_is_read_as_what_it_is_with_every_padding() {
    let oracle = Oracle::new();
    for symbol in 0..=u8::MAX {
        for before in [b'0', b'%', 0x0a, symbol] {
            let bits: Vec<_> = bits_of(code(before)).chain(bits_of(code(symbol))).collect();
            for cut in 0..=bits.len() {
                let least = cut.next_multiple_of(8) - cut;
                for (padding, with) in [
                    (least, true),
                    (least, false),
                    (least + 8, true),
                    (least + 8, false),
                    (least + 32, true),
                ] {
                    let encoded = bytes_of(&bits[..cut], padding, with);
                    assert_eq!(decode(&encoded), oracle.decode(&encoded), "{encoded:x?}");
                }
            }
            assert_eq!(
                decode(&encoded(&[before, symbol])),
                Some(vec![before, symbol])
            );
        }
    }
}

#[test]
fn every_string_of_up_to_two_bytes_is_read_as_what_it_is() {
    let oracle = Oracle::new();
    assert_eq!(decode(&[]), Some(Vec::new()));
    let mut accepted = 0;
    for word in 0..=u16::MAX {
        let [first, second] = word.to_be_bytes();
        for encoded in [&[first][..], &[first, second]] {
            let text = decode(encoded);
            assert_eq!(text, oracle.decode(encoded), "{encoded:x?}");
            accepted += usize::from(text.is_some());
        }
    }
    assert!(accepted > 1000, "{accepted}");
}

/// The codes of more than 16 bits, and EOS.
#[test]
fn every_string_of_four_bytes_that_begins_with_sixteen_ones_is_read_as_what_it_is() {
    let oracle = Oracle::new();
    for word in 0..=u16::MAX {
        let [third, fourth] = word.to_be_bytes();
        let encoded = [0xff, 0xff, third, fourth];
        assert_eq!(decode(&encoded), oracle.decode(&encoded), "{encoded:x?}");
    }
}

#[test]
fn every_text_of_up_to_two_bytes_is_read_back_and_cut_anywhere_it_is_never_taken_for_a_longer_one()
{
    let oracle = Oracle::new();
    for word in 0..=u16::MAX {
        let text = word.to_be_bytes();
        for text in [&text[..1], &text] {
            let whole = encoded(text);
            assert_eq!(decode(&whole).as_deref(), Some(text));
            for cut in 0..whole.len() {
                let read = decode(&whole[..cut]);
                assert_eq!(read, oracle.decode(&whole[..cut]), "{text:x?} {cut}");
                assert!(read.is_none_or(|read| text.starts_with(&read)));
            }
        }
    }
}

#[test]
#[ignore = "takes minutes"]
fn every_string_of_three_bytes_and_every_long_code_is_read_as_what_it_is() {
    let oracle = Oracle::new();
    for word in 0..1_u32 << 24 {
        let [_, encoded @ ..] = word.to_be_bytes();
        assert_eq!(decode(&encoded), oracle.decode(&encoded), "{encoded:x?}");
        let [_, end @ ..] = word.to_be_bytes();
        let encoded = [&[0xff], &end[..]].concat();
        assert_eq!(decode(&encoded), oracle.decode(&encoded), "{encoded:x?}");
    }
}

#[test]
fn zeros_are_what_a_real_encoder_writes_in_every_number_that_a_block_can_hold() {
    let mut text = Vec::new();
    for count in 0..3000 {
        let written = zeros(count);
        assert_eq!(written, encoded(&text), "{count}");
        assert_eq!(decode(&written).as_ref(), Some(&text), "{count}");
        text.push(b'0');
    }
}
