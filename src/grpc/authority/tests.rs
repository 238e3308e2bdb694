//! Connections written by a real HPACK encoder in every form there is, cut into reads anywhere.

use httlib_hpack::{Decoder, Encoder};
use http::uri::Authority;
use proptest::prelude::*;
use proptest::sample::Index;

use super::frame::{Block, Extent, Frame, HEADER};
use super::*;
use drive::repaired;

mod drive;
mod exhaustive;
mod h2;

const TABLE: u32 = 4096;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// One header list as the decoder gives it.
type List = Vec<(Vec<u8>, Vec<u8>)>;

/// One request, with all that a client is free to choose.
#[derive(Debug, Clone)]
struct Request {
    authority: Vec<u8>,
    authority_form: u8,
    timeout: u32,
    others: Vec<(String, Vec<u8>, u8)>,
    /// How many of the others come before the authority.
    before: Index,
    table_size: Option<u32>,
    padding: Option<u8>,
    priority: bool,
    /// Where the block is cut into CONTINUATION frames, in 256ths of it.
    cuts: Vec<u8>,
    data: Vec<u8>,
}

fn authority() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"localhost".to_vec()),
        Just(b"%2Frun%2Fvault-kms-plugin%2Fkms.sock".to_vec()),
        Just(b"/run/vault-kms-plugin/kms.sock".to_vec()),
        Just("/run/sch\u{fc}ssel [1]/k m\u{15b}.sock".as_bytes().to_vec()),
        Just(b"@abstract".to_vec()),
        Just(vec![b'%'; 300]),
        Just(Vec::new()),
        any::<Vec<u8>>(),
    ]
}

/// Names of the static table's far end, names that come again, and any name.
fn name() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "accept-charset",
        "cookie",
        "user-agent",
        "www-authenticate",
        "te",
        "x-again",
        "x-and-again",
        ":scheme",
        ":status",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[a-z-]{1,20}"]
}

/// Values that come again, and any value.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(b"again".to_vec()), any::<Vec<u8>>()]
}

/// Any flags of the encoder: Huffman or plain, name and value, indexed or not or never, the best.
fn form() -> impl Strategy<Value = u8> {
    0u8..32
}

fn request() -> impl Strategy<Value = Request> {
    let other = (name(), value(), form());
    let wire = (
        proptest::option::weighted(0.2, prop_oneof![0..TABLE, 0u32..40]),
        proptest::option::of(any::<u8>()),
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 0..4),
        proptest::collection::vec(any::<u8>(), 0..100),
    );
    let fields = (
        authority(),
        form(),
        any::<u32>(),
        proptest::collection::vec(other, 0..5),
        any::<Index>(),
    );
    (fields, wire).prop_map(|(fields, wire)| Request {
        authority: fields.0,
        authority_form: fields.1,
        timeout: fields.2,
        others: fields.3,
        before: fields.4,
        table_size: wire.0,
        padding: wire.1,
        priority: wire.2,
        cuts: wire.3,
        data: wire.4,
    })
}

impl Request {
    fn block(&self, encoder: &mut Encoder<'_>) -> Vec<u8> {
        const INDEXED: u8 = Encoder::BEST_FORMAT | Encoder::WITH_INDEXING;
        let mut block = Vec::new();
        if let Some(size) = self.table_size {
            encoder
                .update_max_dynamic_size(size, &mut block)
                .expect("a size");
        }
        let mut put = |name: &[u8], value: &[u8], form: u8| {
            let field = (name.to_vec(), value.to_vec(), form);
            encoder.encode(field, &mut block).expect("a field");
        };
        put(b":method", b"POST", INDEXED);
        let (before, after) = self
            .others
            .split_at(self.before.index(self.others.len() + 1));
        for (name, value, form) in before {
            put(name.as_bytes(), value, *form);
        }
        put(b":authority", &self.authority, self.authority_form);
        let timeout = format!("{}u", self.timeout);
        put(b"grpc-timeout", timeout.as_bytes(), INDEXED);
        for (name, value, form) in after {
            put(name.as_bytes(), value, *form);
        }
        block
    }

    fn frames(&self, encoder: &mut Encoder<'_>) -> Vec<u8> {
        let block = self.block(encoder);
        let mut cuts: Vec<_> = self
            .cuts
            .iter()
            .map(|cut| usize::from(*cut) * block.len() / 256)
            .collect();
        cuts.sort_unstable();
        cuts.push(block.len());
        let mut from = 0;
        let mut bytes = Vec::new();
        for (number, to) in cuts.iter().enumerate() {
            let last = if number + 1 == cuts.len() { 0x4 } else { 0 };
            let part = &block[from..*to];
            from = *to;
            match number {
                0 => self.put_headers(part, last, &mut bytes),
                _ => put_frame(CONTINUATION, last, part, &mut bytes),
            }
        }
        put_frame(DATA, 0, &self.data, &mut bytes);
        bytes
    }

    fn put_headers(&self, part: &[u8], mut flags: u8, bytes: &mut Vec<u8>) {
        let mut payload = Vec::new();
        if let Some(padding) = self.padding {
            flags |= 0x8;
            payload.push(padding);
        }
        if self.priority {
            flags |= 0x20;
            payload.extend_from_slice(&[0, 0, 0, 9, 1]);
        }
        payload.extend_from_slice(part);
        let padding = usize::from(self.padding.unwrap_or(0));
        payload.resize(payload.len() + padding, 0);
        put_frame(HEADERS, flags, &payload, bytes);
    }
}

fn put_frame(kind: u8, flags: u8, payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
    bytes.extend_from_slice(payload);
}

fn connection(requests: &[Request]) -> Vec<u8> {
    let mut encoder = Encoder::with_dynamic_size(TABLE);
    let mut bytes = PREFACE.to_vec();
    for request in requests {
        bytes.extend(request.frames(&mut encoder));
    }
    bytes
}

/// The header lists, and everything else.
fn read_back(bytes: &[u8]) -> (Vec<List>, Vec<Vec<u8>>) {
    let mut decoder = Decoder::with_dynamic_size(TABLE);
    let (mut lists, mut others) = (Vec::new(), Vec::new());
    let mut rest = &bytes[PREFACE.len()..];
    while !rest.is_empty() {
        let size = match frame::extent(rest) {
            Extent::Whole(size) if rest[3] == HEADERS => size,
            _ => Frame::read(rest).expect("a frame").size(),
        };
        let (frames, later) = rest.split_at(size);
        rest = later;
        if frames[3] != HEADERS {
            others.push(frames.to_vec());
            continue;
        }
        // Flags, stream and padding of the first frame are to stay too.
        others.push(frames[3..HEADER].to_vec());
        let mut block = Block::read(frames).expect("a block").content().into_owned();
        let mut list = Vec::new();
        decoder.decode(&mut block, &mut list).expect("a real block");
        let pairs = list.into_iter().map(|(name, value, _)| (name, value));
        lists.push(pairs.collect());
    }
    (lists, others)
}

proptest! {
    // Some forms need two entries of the dynamic table to meet by chance.
    #![proptest_config(ProptestConfig::with_cases(2048))]
    #[test]
    fn every_list_stays_the_same_save_a_bad_authority(
        requests in proptest::collection::vec(request(), 1..8),
        reads in proptest::collection::vec(1usize..200, 1..8),
    ) {
        let sent = connection(&requests);
        let got = repaired(&sent, &reads);
        prop_assert!(got.len() <= sent.len());
        let ((sent_lists, sent_others), (got_lists, got_others)) = (read_back(&sent), read_back(&got));
        prop_assert_eq!(sent_others, got_others);
        prop_assert_eq!(sent_lists.len(), got_lists.len());
        for (sent, got) in sent_lists.into_iter().flatten().zip(got_lists.into_iter().flatten()) {
            let bad = sent.0 == b":authority" && Authority::try_from(&sent.1[..]).is_err();
            if !bad || sent.1.is_empty() {
                prop_assert_eq!(sent, got);
                continue;
            }
            prop_assert_eq!(&sent.0, &got.0);
            prop_assert_eq!(sent.1.len(), got.1.len());
            prop_assert!(Authority::try_from(&got.1[..]).is_ok());
        }
    }
}

proptest! {
    #[test]
    fn how_the_bytes_are_cut_into_reads_changes_nothing(
        requests in proptest::collection::vec(request(), 1..4),
        garbage in any::<Vec<u8>>(),
        reads in proptest::collection::vec(1usize..100, 1..8),
    ) {
        let mut sent = connection(&requests);
        sent.extend(garbage);
        prop_assert_eq!(repaired(&sent, &reads), repaired(&sent, &[usize::MAX]));
    }

    #[test]
    fn what_is_no_http2_goes_by(bytes in any::<Vec<u8>>(), reads in proptest::collection::vec(1usize..50, 1..4)) {
        prop_assert_eq!(repaired(&bytes, &reads), bytes);
    }
}

#[test]
fn a_good_authority_goes_by_byte_for_byte() {
    let mut encoder = Encoder::with_dynamic_size(TABLE);
    let mut sent = PREFACE.to_vec();
    for value in ["localhost", "@abstract", "user@host:80", "[::1]:80", ""] {
        let mut block = Vec::new();
        let field = (
            b":authority".to_vec(),
            value.as_bytes().to_vec(),
            Encoder::HUFFMAN_VALUE | Encoder::BEST_FORMAT,
        );
        encoder.encode(field, &mut block).expect("a field");
        put_frame(HEADERS, 0x4, &block, &mut sent);
    }
    assert_eq!(repaired(&sent, &[7]), sent);
}

#[test]
fn what_h2_will_refuse_goes_by() {
    let headers_without_end = |length: usize| {
        let mut bytes = PREFACE.to_vec();
        put_frame(HEADERS, 0, &vec![0; length], &mut bytes);
        bytes
    };
    let mut interrupted = headers_without_end(3);
    put_frame(HEADERS, 0x4, &[0x82], &mut interrupted);
    let mut endless = headers_without_end(3);
    for _ in 0..100 {
        put_frame(CONTINUATION, 0, &[], &mut endless);
    }
    let mut too_padded = PREFACE.to_vec();
    put_frame(HEADERS, 0xc, &[200, 0x82], &mut too_padded);
    let large = headers_without_end(40_000);
    for sent in [interrupted, endless, too_padded, large] {
        assert_eq!(repaired(&sent, &[1000]), sent);
    }
}
