//! Every padding, every cut and every shorter content within bounds, compared with the arithmetic of RFC 9113.

use super::*;

const DATA: u8 = 0;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags, 0, 0, 0, 1]);
    bytes.extend(payload);
    bytes
}

#[test]
fn the_block_of_a_frame_is_what_padding_and_priority_leave() {
    for kind in [DATA, HEADERS, CONTINUATION] {
        for flags in 0..=u8::MAX {
            for length in 0..=12_usize {
                for padding in 0..=u8::MAX {
                    let mut payload = vec![0; length];
                    payload
                        .iter_mut()
                        .take(1)
                        .for_each(|first| *first = padding);
                    let bytes = frame(kind, flags, &payload);
                    let (is_padded, has_priority) = if kind == HEADERS {
                        (flags & 0x8 != 0, flags & 0x20 != 0)
                    } else {
                        (false, false)
                    };
                    let start = usize::from(is_padded) + 5 * usize::from(has_priority);
                    let behind = if is_padded { usize::from(padding) } else { 0 };
                    let expected = (start + behind <= length).then(|| start..length - behind);
                    let read = Frame::read(&bytes).expect("a header");
                    assert_eq!(read.fragment(&payload), expected, "{bytes:x?}");
                }
            }
        }
    }
}

/// Header blocks of one to three frames, each with a part of so many bytes, and their number of bytes.
fn blocks() -> Vec<(Vec<u8>, usize)> {
    let mut blocks = Vec::new();
    for flags in [0, PADDED, PRIORITY, PADDED | PRIORITY] {
        for padding in if flags & PADDED == 0 { 0..1 } else { 0..4_u8 } {
            for parts in 0..216 {
                let parts = [parts % 6, parts / 6 % 6, parts / 36];
                for count in 1..=3 {
                    let mut next = 1..;
                    let mut part = |length: usize| next.by_ref().take(length).collect::<Vec<u8>>();
                    let mut first = Vec::new();
                    first.extend((flags & PADDED != 0).then_some(padding));
                    first.extend([0; 5].iter().filter(|_| flags & PRIORITY != 0));
                    first.extend(part(parts[0]));
                    first.extend(vec![0; usize::from(padding)]);
                    let end = |index| if index + 1 == count { END_HEADERS } else { 0 };
                    let mut bytes = frame(HEADERS, flags | end(0), &first);
                    for (index, length) in parts.iter().enumerate().take(count).skip(1) {
                        bytes.extend(frame(CONTINUATION, end(index), &part(*length)));
                    }
                    blocks.push((bytes, parts[..count].iter().sum()));
                }
            }
        }
    }
    blocks
}

#[test]
fn the_frames_around_every_shorter_content_have_it_and_nothing_else_changes() {
    for (bytes, length) in blocks() {
        let block = Block::read(&bytes).expect("a block");
        let content: Vec<_> = (1..).take(length).collect();
        assert_eq!(*block.content(), content);
        assert_eq!(block.around(&content), bytes);
        for shorter in 0..length {
            let content = &content[..shorter];
            let around = block.around(content);
            assert_eq!(extent(&around), Extent::Whole(around.len()));
            assert_eq!(around.len(), bytes.len() - length + shorter);
            let read = Block::read(&around).expect("a block");
            assert_eq!(*read.content(), *content);
            assert_eq!(read.frames.len(), block.frames.len());
            for (one, other) in read.frames.iter().zip(&block.frames) {
                assert_eq!(one.0[3..], other.0[3..]);
                assert_eq!(one.1[..one.2.start], other.1[..other.2.start]);
                assert_eq!(one.1[one.2.end..], other.1[other.2.end..]);
            }
        }
    }
}

#[test]
fn a_block_that_is_cut_anywhere_misses_at_most_what_is_missing() {
    for (bytes, _) in blocks() {
        for cut in 0..bytes.len() {
            let Extent::Missing(count) = extent(&bytes[..cut]) else {
                panic!("{bytes:x?} {cut}");
            };
            assert!((1..=bytes.len() - cut).contains(&count), "{bytes:x?} {cut}");
        }
        let with_more = [&bytes[..], &[1, 2, 3]].concat();
        assert_eq!(extent(&with_more), Extent::Whole(bytes.len()));
    }
}
