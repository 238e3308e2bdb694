//! Every integer and every field within bounds, compared with what RFC 7541 says of it and a real decoder.

use httlib_hpack::Decoder;

use super::*;

/// With this bit a string is Huffman-coded.
const HUFFMAN: u8 = 0x80;
/// `:method: GET` and `:scheme: http` of the static table.
const BEFORE: u8 = 0x82;
const AFTER: u8 = 0x86;

/// The integer as section 5.1 writes it, with so many further bytes that add nothing.
fn integer(value: usize, bits: u32, flags: u8, more: usize) -> Vec<u8> {
    let prefix = (1 << bits) - 1;
    if value < prefix {
        return vec![flags | value as u8];
    }
    let mut bytes = vec![flags | prefix as u8];
    let mut rest = value - prefix;
    while rest >= 0x80 {
        bytes.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    for _ in 0..more {
        *bytes.last_mut().expect("a byte") |= 0x80;
        bytes.push(0);
    }
    bytes
}

/// As h2 reads it (`hpack/decoder.rs`, `decode_int`), and how many bytes it has.
fn as_h2_reads(bytes: &[u8], bits: u32) -> Option<(u64, usize)> {
    let prefix = (1 << bits) - 1;
    let mut value = u64::from(*bytes.first()?) & prefix;
    if value < prefix {
        return Some((value, 1));
    }
    for (index, byte) in bytes[1..].iter().take(4).enumerate() {
        value += u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 2));
        }
    }
    None
}

fn read(bytes: &[u8], bits: u32) -> Option<(usize, usize)> {
    let mut reader = Reader {
        block: bytes,
        at: 0,
    };
    let value = reader.integer(bits)?;
    Some((value, reader.at))
}

#[test]
fn an_integer_is_what_was_written_at_every_boundary_in_every_form_and_cut_anywhere_none() {
    for bits in 4..=7 {
        let prefix = (1 << bits) - 1;
        let powers = (0..=28).map(|power| 1_usize << power);
        let near = powers.flat_map(|power| [power - 1, power, power + 1]);
        let near = near.flat_map(|value| [value, value + prefix - 1, value + prefix]);
        for value in (0..5000).chain(near) {
            for more in 0..4 {
                let flags = [0, 0xff << bits & 0xff, 0x80, 0x40];
                for flags in flags.map(|flags| flags as u8 & !(prefix as u8)) {
                    let bytes = integer(value, bits, flags, more);
                    let is_short = bytes.len() <= 5 && value <= INTEGER_MOST;
                    let expected = is_short.then_some((value, bytes.len()));
                    assert_eq!(read(&bytes, bits), expected, "{value} {bytes:x?}");
                    for cut in 0..bytes.len() {
                        assert_eq!(read(&bytes[..cut], bits), None, "{value} {bytes:x?}");
                    }
                }
            }
        }
    }
}

#[test]
fn any_bytes_are_the_integer_that_h2_reads() {
    const ANY: [u8; 8] = [0, 1, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xff];
    for bits in 4..=7 {
        for first in 0..=u8::MAX {
            for number in 0..ANY.len().pow(5) {
                let rest = (0..5).map(|place| ANY[number / ANY.len().pow(place) % ANY.len()]);
                let bytes: Vec<_> = [first].into_iter().chain(rest).collect();
                let expected = as_h2_reads(&bytes, bits)
                    .map(|(value, length)| (value as usize, length))
                    .filter(|(value, _)| *value <= INTEGER_MOST);
                assert_eq!(read(&bytes, bits), expected, "{bytes:x?}");
                // With a smaller one the others do not matter.
                if first & ((1 << bits) - 1) < (1 << bits) - 1 {
                    break;
                }
            }
        }
    }
}

#[test]
fn the_length_of_every_replacement_is_read_back() {
    for length in 0..40_000 {
        let mut literal = Vec::new();
        put_huffman_length(length, &mut literal);
        assert_eq!(literal, integer(length, 7, HUFFMAN, 0));
        assert_eq!(read(&literal, 7), Some((length, literal.len())));
    }
}

/// A string literal, Huffman-coded or not.
fn string(text: &[u8], is_huffman: bool) -> Vec<u8> {
    if !is_huffman {
        return [integer(text.len(), 7, 0, 0), text.to_vec()].concat();
    }
    let mut encoded = Vec::new();
    httlib_huffman::encode(text, &mut encoded).expect("any bytes can be encoded");
    [integer(encoded.len(), 7, HUFFMAN, 0), encoded].concat()
}

/// The forms of a literal field: its flags, and how many bits its index has.
const LITERALS: [(u8, u32); 3] = [(0x40, 6), (0, 4), (0x10, 4)];

/// Every form of the name of a literal field, with the flags of this one, and whether it is `:authority`.
fn names(flags: u8, bits: u32) -> Vec<(Vec<u8>, bool)> {
    let with_text = |text: &[u8], is_huffman| [vec![flags], string(text, is_huffman)].concat();
    vec![
        (integer(1, bits, flags, 0), true),
        (integer(2, bits, flags, 0), false),
        (integer(38, bits, flags, 0), false),
        (with_text(b":authority", false), true),
        (with_text(b":authority", true), true),
        (with_text(b":authoritx", false), false),
        (with_text(b"authority", true), false),
        (with_text(b"", false), false),
    ]
}

fn decoded(block: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = Vec::new();
    let mut decoder = Decoder::with_dynamic_size(4096);
    decoder
        .decode(&mut block.to_vec(), &mut list)
        .expect("a real block");
    list.into_iter()
        .map(|(name, value, _)| (name, value))
        .collect()
}

/// No byte, each byte, and each two of those that differ to an `:authority`.
fn values() -> Vec<Vec<u8>> {
    let some: Vec<_> = b"\0 %/2F:@[]a0Z-._~!$\"#<\\^`{|}\x7f\x80\xc3\xff".to_vec();
    let two = some
        .iter()
        .flat_map(|one| some.iter().map(|other| vec![*one, *other]));
    let one = (0..=u8::MAX).map(|one| vec![one]);
    [Vec::new()].into_iter().chain(one).chain(two).collect()
}

#[test]
fn of_every_field_only_a_bad_authority_is_replaced_and_cut_anywhere_nothing_is_made_up() {
    let mut replaced = 0;
    for (flags, bits) in LITERALS {
        for (name, is_authority) in names(flags, bits) {
            for value in values() {
                let is_bad =
                    is_authority && !value.is_empty() && Authority::try_from(&value[..]).is_err();
                for is_huffman in [false, true] {
                    let field = [&name[..], &string(&value, is_huffman)].concat();
                    let block = [&[BEFORE], &field[..], &[AFTER]].concat();
                    for cut in 0..block.len() {
                        let is_whole = cut == block.len() - 1;
                        let found = fixed(&block[..cut]).is_some();
                        assert_eq!(found, is_bad && is_whole, "{block:x?} {cut}");
                    }
                    let Some(better) = fixed(&block) else {
                        assert!(!is_bad, "{block:x?}");
                        continue;
                    };
                    replaced += 1;
                    assert!(is_bad && better.len() <= block.len(), "{block:x?}");
                    let mut expected = decoded(&block);
                    expected[1].1 = vec![b'0'; value.len()];
                    assert_eq!(decoded(&better), expected, "{block:x?}");
                }
            }
        }
    }
    assert!(replaced > 1000, "{replaced}");
}

#[test]
fn a_value_of_any_length_is_replaced_by_one_of_its_length_and_no_longer_encoding() {
    for length in 1..2000 {
        let mut value = vec![b'0'; length];
        value[length / 2] = b'%';
        for is_huffman in [false, true] {
            let field = [&[0x41], &string(&value, is_huffman)[..]].concat();
            let better = fixed(&field).expect("a bad authority");
            assert!(better.len() <= field.len(), "{length}");
            let zeros = (b":authority".to_vec(), vec![b'0'; length]);
            assert_eq!(decoded(&better), [zeros], "{length}");
        }
    }
}

/// What h2 refuses is left to it: a value that is not of the Huffman code.
#[test]
fn a_value_of_any_two_bytes_that_is_not_huffman_coded_is_not_touched() {
    for word in 0..=u16::MAX {
        let [first, second] = word.to_be_bytes();
        let field = [0x41, HUFFMAN | 2, first, second];
        let text = huffman::decode(&[first, second]);
        let is_bad = text.is_some_and(|text| Authority::try_from(&text[..]).is_err());
        assert_eq!(fixed(&field).is_some(), is_bad, "{field:x?}");
    }
}

#[test]
fn a_bad_authority_is_found_behind_every_field_of_any_other_form_and_nothing_before_it_changes() {
    let bad = [&[0x41], &string(b"%", false)[..]].concat();
    let better = fixed(&bad).expect("a bad authority");
    let indexed = (1..5000).map(|index| integer(index, 7, 0x80, 0));
    let updates = (0..5000).map(|size| integer(size, 5, 0x20, 0));
    let literals = LITERALS.into_iter().flat_map(|(flags, bits)| {
        let indices = (2..5000).map(move |index| integer(index, bits, flags, 0));
        indices.map(|index| [index, string(b"%", true)].concat())
    });
    for before in indexed.chain(updates).chain(literals) {
        let block = [&before[..], &bad].concat();
        let expected = [&before[..], &better].concat();
        assert_eq!(fixed(&block), Some(expected), "{block:x?}");
    }
}
