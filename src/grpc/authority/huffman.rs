//! The Huffman code of HPACK (RFC 7541, appendix B), as far as an `:authority` needs it: reading
//! any string, and writing one of zeros.

/// The symbols by the length of their code in bits. The code is canonical: within this list each
/// code is the one before plus one, shifted to its length. After the last comes EOS.
const CODE: [(u32, &[u8]); 21] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, b"\\\xc3\xd0"),
    (20, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (21, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (
        22,
        b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\
          \xc4\xc6\xe4\xe8\xe9",
    ),
    (
        23,
        b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\
          \xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef",
    ),
    (24, b"\x09\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (25, b"\xc7\xcf\xea\xeb"),
    (
        26,
        b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    ),
    (
        27,
        b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    ),
    (
        28,
        b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\
          \x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9",
    ),
    (30, b"\x0a\x0d\x16"),
];

/// The bits of a zero's code, all of them 0. No symbol has fewer.
const ZERO_BITS: usize = 5;

/// Decodes a string. Returns `None` if `encoded` is not Huffman-coded.
pub(super) fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let end = encoded.len() * 8;
    let mut text = Vec::with_capacity(end / ZERO_BITS);
    let mut at = 0;
    while !is_padding(encoded, at) {
        let (symbol, bits) = symbol(window(encoded, at))?;
        at += bits as usize;
        if at > end {
            return None;
        }
        text.push(symbol);
    }
    Some(text)
}

/// A string of `count` zeros.
pub(super) fn zeros(count: usize) -> Vec<u8> {
    let bits = count * ZERO_BITS;
    let mut encoded = vec![0; bits.div_ceil(8)];
    if let Some(last) = encoded.last_mut() {
        *last = u8::MAX.checked_shr(8 - padding_of(bits)).unwrap_or(0);
    }
    encoded
}

/// How many bits of padding a string of `bits` bits ends in.
fn padding_of(bits: usize) -> u32 {
    (bits.next_multiple_of(8) - bits) as u32
}

/// The rest from bit `at` on is less than a byte, all ones.
fn is_padding(encoded: &[u8], at: usize) -> bool {
    let left = encoded.len() * 8 - at;
    left < 8 && window(encoded, at) == u32::MAX
}

/// The 32 bits from bit `at` on, ones where `encoded` has ended.
fn window(encoded: &[u8], at: usize) -> u32 {
    let mut bytes = [u8::MAX; 8];
    let rest = &encoded[(at / 8).min(encoded.len())..];
    let count = rest.len().min(5);
    bytes[..count].copy_from_slice(&rest[..count]);
    (u64::from_be_bytes(bytes) << (at % 8) >> 32) as u32
}

/// The symbol whose code `window` begins with, and that code's length.
fn symbol(window: u32) -> Option<(u8, u32)> {
    let (mut first, mut length) = (0, 0);
    for (bits, symbols) in CODE {
        first <<= bits - length;
        length = bits;
        let index = (window >> (32 - bits)).wrapping_sub(first) as usize;
        if let Some(symbol) = symbols.get(index) {
            return Some((*symbol, bits));
        }
        first += symbols.len() as u32;
    }
    None
}

#[cfg(test)]
mod tests {
    mod exhaustive;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_a_real_encoder_wrote_is_read(text in any::<Vec<u8>>()) {
            let mut encoded = Vec::new();
            httlib_huffman::encode(&text, &mut encoded).expect("any bytes can be encoded");
            prop_assert_eq!(decode(&encoded), Some(text));
        }

        #[test]
        fn a_string_of_zeros_is_what_a_real_encoder_writes(count in 0usize..300) {
            let mut encoded = Vec::new();
            httlib_huffman::encode(&vec![b'0'; count], &mut encoded).expect("zeros can be encoded");
            prop_assert_eq!(zeros(count), encoded);
        }
    }

    #[test]
    fn what_no_encoder_writes_is_refused() {
        for (encoded, why) in [
            (&[0xff][..], "padding of a whole byte"),
            (&[0b0000_0000], "padding of zeros"),
            (&[0xff, 0xff, 0xff, 0xff], "EOS"),
            (&[0b1111_1000, 0xff], "a symbol and padding of a whole byte"),
        ] {
            assert_eq!(decode(encoded), None, "{why}");
        }
    }
}
