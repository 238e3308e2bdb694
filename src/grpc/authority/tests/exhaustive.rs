//! Whole connections, cut into reads at every place.

use std::path::Path;

use super::drive::repaired;
use super::*;

/// The seeds of the fuzz target, whose first byte is no part of the connection.
fn connections() -> Vec<Vec<u8>> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/authority");
    let files = std::fs::read_dir(seeds).expect("seeds");
    let mut seeds: Vec<_> = files
        .map(|file| std::fs::read(file.expect("a seed").path()).expect("a seed"))
        .collect();
    seeds.sort_by_key(Vec::len);
    let sent = seeds.iter().map(|seed| [PREFACE, &seed[1..]].concat());
    sent.collect()
}

#[test]
fn two_reads_cut_anywhere_and_reads_of_any_size_change_nothing() {
    for sent in connections() {
        let expected = repaired(&sent, &[usize::MAX]);
        for at in 1..=sent.len() {
            assert_eq!(repaired(&sent, &[at, usize::MAX]), expected, "{at}");
            assert_eq!(repaired(&sent, &[at]), expected, "{at}");
        }
    }
}

#[test]
fn three_reads_of_a_short_connection_cut_anywhere_change_nothing() {
    let connections = connections();
    let sent = connections
        .iter()
        .find(|sent| repaired(sent, &[usize::MAX]) != **sent);
    let sent = sent.expect("a bad authority");
    let expected = repaired(sent, &[usize::MAX]);
    for first in 1..sent.len() {
        for second in 1..=sent.len() - first {
            assert_eq!(
                repaired(sent, &[first, second, usize::MAX]),
                expected,
                "{first} {second}"
            );
        }
    }
}

/// The client may end there: what came is passed on, and of a block that is not whole nothing is changed.
#[test]
fn a_connection_that_ends_anywhere_is_passed_on() {
    for sent in connections() {
        let whole = repaired(&sent, &[usize::MAX]);
        for end in 0..sent.len() {
            let got = repaired(&sent[..end], &[usize::MAX]);
            assert!(got.len() <= end);
            let same = got
                .iter()
                .zip(&whole)
                .take_while(|(one, other)| one == other)
                .count();
            // From the block in which it ends on it is as it was sent.
            assert!(sent[..end].ends_with(&got[same..]), "{end}");
        }
    }
}
