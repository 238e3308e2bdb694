use prost::Message;

use super::*;
use crate::etcd::proto::KeyValue;

const SIZE: usize = 4096;

/// An element: a key with its value, or a key with the number of a page.
enum Element<'a> {
    Value(&'a [u8], Vec<u8>),
    Bucket(&'a [u8], Vec<u8>),
    Child(&'a [u8], u64),
}

/// Writes a page of one or more pages' size.
fn page(id: u64, elements: &[Element<'_>]) -> Vec<u8> {
    let is_branch = matches!(elements.first(), Some(Element::Child(..)));
    let mut table = Vec::new();
    let mut data = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let position = (16 * (elements.len() - index) + data.len()) as u32;
        let words = match element {
            Element::Value(key, value) | Element::Bucket(key, value) => {
                data.extend([*key, value].concat());
                let flags = u32::from(matches!(element, Element::Bucket(..)));
                [flags, position, key.len() as u32, value.len() as u32]
            }
            Element::Child(key, child) => {
                data.extend(*key);
                [position, key.len() as u32, *child as u32, 0]
            }
        };
        table.extend(words.map(u32::to_le_bytes).concat());
    }
    let mut bytes = [&id.to_le_bytes()[..], &[2 - u8::from(is_branch), 0]].concat();
    bytes.extend((elements.len() as u16).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend([table, data].concat());
    let overflow = bytes.len().div_ceil(SIZE) - 1;
    bytes[12..16].copy_from_slice(&(overflow as u32).to_le_bytes());
    bytes.resize((overflow + 1) * SIZE, 0);
    bytes
}

fn meta(id: u64, root: u64, end: u64, transaction: u64) -> Vec<u8> {
    let words32 = [0xED0C_DAED, 2, SIZE as u32, 0_u32];
    let mut fields = words32.map(u32::to_le_bytes).concat();
    fields.extend(
        [root, 0, u64::MAX, end, transaction]
            .map(u64::to_le_bytes)
            .concat(),
    );
    let sum = fields.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = [
        &id.to_le_bytes()[..],
        &4_u16.to_le_bytes(),
        &[0; 6],
        &fields,
        &sum.to_le_bytes(),
    ]
    .concat();
    bytes.resize(SIZE, 0);
    bytes
}

/// A database of these pages, the first of which is number 2 and the root.
fn database(pages: &[Vec<u8>]) -> Vec<u8> {
    let body = pages.concat();
    let end = 2 + (body.len() / SIZE) as u64;
    [meta(0, 2, end, 7), meta(1, 9, 9, 6), body].concat()
}

fn bucket(page: u64) -> Vec<u8> {
    [page.to_le_bytes(), [0; 8]].concat()
}

fn revision(main: i64, is_tombstone: bool) -> Vec<u8> {
    let mut key = [&main.to_be_bytes()[..], b"_", &[0; 8]].concat();
    key.extend(is_tombstone.then_some(b't'));
    key
}

fn stored(name: &str, value: &str) -> Vec<u8> {
    let pair = KeyValue {
        key: format!("/registry/{name}").into_bytes().into(),
        value: value.as_bytes().to_vec().into(),
        ..KeyValue::default()
    };
    pair.encode_to_vec()
}

/// A leaf of revisions: number, whether it is a deletion, key, value.
fn revisions(id: u64, all: &[(i64, bool, &str, &str)]) -> Vec<u8> {
    let entries: Vec<_> = all
        .iter()
        .map(|(main, is_tombstone, name, value)| {
            (revision(*main, *is_tombstone), stored(name, value))
        })
        .collect();
    let elements: Vec<_> = entries
        .iter()
        .map(|(key, value)| Element::Value(key, value.clone()))
        .collect();
    page(id, &elements)
}

fn root(compacted: Option<i64>) -> Vec<u8> {
    let values = compacted
        .map(|main| revision(main, false))
        .unwrap_or_default();
    let inline = page(0, &[Element::Value(b"finishedCompactRev", values)]);
    let meta = [&bucket(0)[..], &inline[..200]].concat();
    page(
        2,
        &[
            Element::Bucket(b"key", bucket(3)),
            Element::Bucket(b"meta", meta),
        ],
    )
}

fn read_shown(bytes: &[u8]) -> Result<Vec<String>, String> {
    let (_, records) = read(bytes, "/registry/").map_err(|error| error.to_string())?;
    let shown = records.iter().map(|record| {
        let (key, value) = (
            String::from_utf8_lossy(&record.key[10..]),
            String::from_utf8_lossy(&record.value),
        );
        let state = if record.is_current {
            "current"
        } else {
            "older"
        };
        format!("{} {key}={value} {state}", record.mod_revision)
    });
    Ok(shown.collect())
}

const HISTORY: [(i64, bool, &str, &str); 7] = [
    (2, false, "a", "1"),
    (3, false, "b", "1"),
    (4, false, "a", "2"),
    (5, true, "b", ""),
    (6, false, "c", "1"),
    (7, false, "a", "3"),
    (8, false, "b", "2"),
];

#[test]
fn the_newest_revision_of_a_key_is_current() {
    let whole = database(&[root(None), revisions(3, &HISTORY)]);
    let expected = [
        "8 b=2 current",
        "7 a=3 current",
        "6 c=1 current",
        "4 a=2 older",
        "3 b=1 older",
        "2 a=1 older",
    ];
    assert_eq!(read_shown(&whole).expect("valid"), expected);
    assert_eq!(read(&whole, "/registry/").expect("valid").0, 8);
}

#[test]
fn what_was_replaced_up_to_the_compaction_is_nobodys() {
    let at = |compacted| {
        read_shown(&database(&[root(Some(compacted)), revisions(3, &HISTORY)])).expect("valid")
    };
    let now = ["8 b=2 current", "7 a=3 current", "6 c=1 current"];
    // At revision 4 `a` is 2 and `b` is 1; at 5 `b` is deleted.
    assert_eq!(at(4), [&now[..], &["4 a=2 older", "3 b=1 older"]].concat());
    assert_eq!(at(5), [&now[..], &["4 a=2 older"]].concat());
    assert_eq!(at(7), now);
    // The last revision of all was a deletion, and compacted away.
    let gone = database(&[root(Some(9)), revisions(3, &HISTORY[..1])]);
    assert_eq!(read(&gone, "/registry/").expect("valid").0, 9);
}

#[test]
fn a_tree_of_pages_is_read_to_its_end() {
    let [first, second] = [2, 6].map(|main| revision(main, false));
    let branch = page(3, &[Element::Child(&first, 4), Element::Child(&second, 5)]);
    let tree = database(&[
        root(None),
        branch,
        revisions(4, &HISTORY[..4]),
        revisions(5, &HISTORY[4..]),
    ]);
    assert_eq!(
        read_shown(&tree),
        read_shown(&database(&[root(None), revisions(3, &HISTORY)]))
    );
    let large = "x".repeat(3 * SIZE);
    let overflow = database(&[root(None), revisions(3, &[(2, false, "large", &large)])]);
    let (_, records) = read(&overflow, "/registry/").expect("valid");
    assert_eq!(records[0].value.len(), 3 * SIZE);
}

#[test]
fn the_valid_meta_page_with_the_newest_transaction_counts() {
    let mut whole = database(&[root(None), revisions(3, &HISTORY)]);
    let expected = read_shown(&whole);
    // The second is valid, and older: its root is wrong.
    whole[SIZE + 16 + 8] ^= 1;
    assert_eq!(read_shown(&whole), expected);
    let second = meta(1, 2, 4, 8);
    whole[SIZE..2 * SIZE].copy_from_slice(&second);
    whole[20] ^= 1;
    assert_eq!(read_shown(&whole), expected);
    whole[SIZE + 64] ^= 1;
    assert!(
        read_shown(&whole)
            .expect_err("an error")
            .contains("version of bbolt")
    );
}

#[test]
fn every_kind_of_damage_is_an_error() {
    let error = |pages: &[Vec<u8>]| read_shown(&database(pages)).expect_err("an error");
    let keys = [2, 6].map(|main| revision(main, false));
    // Pages that refer to themselves, to each other, twice to one, and beyond the end.
    let child = |to: &[u64]| {
        let elements: Vec<_> = to
            .iter()
            .zip(&keys)
            .map(|(to, key)| Element::Child(key, *to))
            .collect();
        page(3, &elements)
    };
    assert!(error(&[root(None), child(&[3])]).contains("too deep"));
    let twice = [root(None), child(&[4, 4]), revisions(4, &HISTORY)];
    assert!(error(&twice).contains("not in order"));
    assert!(error(&[root(None), child(&[99])]).contains("it refers to page 99, and there are 4"));
    assert!(error(&[root(None), child(&[0])]).contains("it refers to page 0"));
    assert!(
        error(&[root(None), child(&[4]), page(4, &[])]).contains("page 4 is damaged: it is empty")
    );
    let mut odd = revisions(3, &HISTORY);
    odd[8] = 16;
    assert!(error(&[root(None), odd]).contains("neither a branch nor a leaf"));
    let mut lying = revisions(3, &HISTORY);
    lying[10..12].copy_from_slice(&u16::MAX.to_le_bytes());
    assert!(error(&[root(None), lying]).contains("not as many elements"));
    let mut beyond = revisions(3, &HISTORY);
    beyond[28..32].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(error(&[root(None), beyond]).contains("beyond its end"));
    let mut overflow = revisions(3, &HISTORY);
    overflow[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(error(&[root(None), overflow]).contains("goes on beyond the last page"));
    assert!(error(&[root(None), revisions(7, &HISTORY)]).contains("number of another one"));
    let other = page(3, &[Element::Value(b"no revision", Vec::new())]);
    assert!(error(&[root(None), other]).contains("no revision"));
    let broken = page(3, &[Element::Value(&keys[0], vec![0xff; 3])]);
    assert!(error(&[root(None), broken]).contains("the value of revision 2 is damaged"));
    assert!(error(&[page(2, &[])]).contains("no bucket of keys"));
    let short = page(2, &[Element::Bucket(b"key", vec![0; 3])]);
    assert!(error(&[short]).contains("a bucket of it is cut off"));
    let whole = database(&[root(None), revisions(3, &HISTORY)]);
    assert!(
        read_shown(&whole[..3 * SIZE])
            .expect_err("an error")
            .contains("has 12288 of 16384 bytes")
    );
}

/// What any damage to any byte leads to: never a panic, nor a loop without end.
#[test]
fn no_change_of_bytes_is_more_than_an_error() {
    let [first, second] = [2, 6].map(|main| revision(main, false));
    let branch = page(3, &[Element::Child(&first, 4), Element::Child(&second, 5)]);
    let whole = database(&[
        root(Some(3)),
        branch,
        revisions(4, &HISTORY[..4]),
        revisions(5, &HISTORY[4..]),
    ]);
    let used: Vec<_> = (0..whole.len())
        .filter(|at| whole[*at] != 0 || at % SIZE < 128)
        .collect();
    let mut random = fastrand::Rng::with_seed(18);
    let interesting = [0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0xfe, 0xff];
    let mut errors = 0;
    for _ in 0..20_000 {
        let mut changed = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = used[random.usize(..used.len())];
            changed[at] = match random.usize(..3) {
                0 => interesting[random.usize(..interesting.len())],
                1 => random.u8(..),
                _ => changed[at] ^ (1 << random.u8(..8)),
            };
        }
        if random.usize(..8) == 0 {
            changed.truncate(random.usize(..changed.len()));
        }
        errors += usize::from(read(&changed, "/registry").is_err());
    }
    assert!(errors > 1_000, "{errors}");
}
