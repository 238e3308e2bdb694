//! Every key_id of parts within bounds, and every text within bounds as a key_id: parts and text determine each other.

use super::super::*;
use crate::vault::{KeyName, KeyVersion, MountPath, Namespace};

/// What separates the parts of a key_id, what an encoded character consists of, and what is encoded.
const CHARS: &str = ":%2Fv1a-/\u{e9}";
const VERSIONS: [u32; 6] = [1, 2, 10, 11, 12, u32::MAX];
const CREATED: [i64; 8] = [0, 1, -1, 10, 11, 1_714_000_000, i64::MIN, i64::MAX];
const SUFFIXES: [Option<&str>; 7] = [
    None,
    Some("1"),
    Some("-1"),
    Some("v1"),
    Some("a.b_c-1"),
    Some("."),
    Some("0123456789abcdef0123456789abcdef"),
];

/// Every text of up to so many of the characters.
fn texts(chars: &str, most: usize) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut from = 0;
    for _ in 0..most {
        let longer: Vec<_> = texts[from..]
            .iter()
            .flat_map(|text| chars.chars().map(move |c| format!("{text}{c}")))
            .collect();
        from = texts.len();
        texts.extend(longer);
    }
    texts
}

/// Two different parts with the same text would be read as one of them.
fn check(parts: &KeyIdParts) {
    let text = parts.to_string();
    assert_eq!(KeyIdParts::parse(&text).as_ref(), Some(parts), "{text}");
}

fn parts(namespace: &str, mount: &str, key: &str) -> KeyIdParts {
    KeyIdParts {
        namespace: namespace.to_owned(),
        mount: mount.to_owned(),
        key: key.to_owned(),
        version: 1,
        created: 1,
        suffix: None,
    }
}

#[test]
fn any_texts_as_the_parts_of_a_key_make_a_key_id_of_their_own() {
    let short = texts(CHARS, 1);
    let long = texts(CHARS, 3);
    for text in &long {
        for one in &short {
            for other in &short {
                check(&parts(text, one, other));
                check(&parts(one, text, other));
                check(&parts(one, other, text));
            }
        }
    }
}

#[test]
fn any_version_time_and_suffix_make_a_key_id_of_their_own() {
    for name in texts(CHARS, 1) {
        for version in VERSIONS {
            for created in CREATED {
                for suffix in SUFFIXES {
                    check(&KeyIdParts {
                        version,
                        created,
                        suffix: suffix.map(str::to_owned),
                        ..parts(&name, &name, &name)
                    });
                }
            }
        }
    }
}

/// The key_id that is made of a key, for each key that can be configured.
#[test]
fn the_key_id_of_every_key_is_read_as_its_parts_and_is_of_no_other_key_or_stamp() {
    let paths = texts("a/v1.~", 3);
    let namespaces: Vec<_> = paths
        .iter()
        .filter_map(|it| Namespace::try_new(it).ok())
        .collect();
    let mounts: Vec<_> = paths
        .iter()
        .filter_map(|it| MountPath::try_new(it).ok())
        .collect();
    let names: Vec<_> = texts("av1-", 2)
        .iter()
        .filter_map(|it| KeyName::try_new(it).ok())
        .collect();
    assert!(namespaces.len() > 50 && mounts.len() > 50 && names.len() > 10);
    let stamp = |version, created| VersionStamp {
        version: KeyVersion::try_new(version).expect("a version"),
        created,
    };
    for namespace in &namespaces {
        for mount in &mounts {
            for name in &names {
                let key = TransitKey {
                    namespace: namespace.clone(),
                    mount: mount.clone(),
                    name: name.clone(),
                };
                let key_id = KeyId::with_suffix(&key, stamp(1, 1), Some("1"));
                let expected = KeyIdParts {
                    suffix: Some("1".to_owned()),
                    ..parts(namespace.as_str(), mount.as_str(), name.as_str())
                };
                assert_eq!(KeyIdParts::parse(key_id.as_str()), Some(expected));
                assert_eq!(key_id.version_of(&key), Some(1));
            }
        }
    }
    let key = |mount: &MountPath, name: &KeyName| TransitKey {
        namespace: Namespace::default(),
        mount: mount.clone(),
        name: name.clone(),
    };
    for mount in mounts.iter().take(20) {
        for name in names.iter().take(8) {
            let ours = key(mount, name);
            for (version, created, suffix) in [(1, 1, None), (1, 11, Some("1")), (11, 1, Some("1"))]
            {
                let key_id = KeyId::with_suffix(&ours, stamp(version, created), suffix);
                for other_mount in mounts.iter().take(20) {
                    for other_name in names.iter().take(8) {
                        let other = key(other_mount, other_name);
                        let is_same = other == ours;
                        assert_eq!(KeyId::names(key_id.as_str(), &other), is_same);
                        assert_eq!(key_id.version_of(&other), is_same.then_some(version));
                        for of in [stamp(1, 1), stamp(1, 11), stamp(11, 1), stamp(1, 111)] {
                            let is_of = is_same && of == stamp(version, created);
                            assert_eq!(key_id.is_of(&other, of), is_of, "{key_id} {of:?}");
                        }
                    }
                }
            }
        }
    }
}

/// Of all texts with these characters one is the key_id of a key, a version, a time and a suffix.
fn every_text_is_canonical(most: usize) {
    let mut read = 0;
    for text in texts(":%2Fv10-+", most) {
        for text in [format!("transit1:{text}"), format!("transit1::a:b:v{text}")] {
            if let Some(parts) = KeyIdParts::parse(&text) {
                assert_eq!(parts.to_string(), text);
                read += 1;
            }
        }
    }
    assert!(read > 100, "{read}");
}

#[test]
fn no_two_texts_are_read_as_the_same_parts() {
    every_text_is_canonical(6);
}

#[test]
#[ignore = "takes minutes"]
fn no_two_longer_texts_are_read_as_the_same_parts() {
    every_text_is_canonical(7);
}

#[test]
#[ignore = "takes minutes"]
fn longer_texts_as_the_parts_of_a_key_make_a_key_id_of_their_own() {
    let all = texts(CHARS, 2);
    for namespace in &all {
        for mount in &all {
            for key in &all {
                check(&parts(namespace, mount, key));
            }
        }
    }
}
