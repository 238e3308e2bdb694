//! The published test vector of bao-kms-provider, and what is wrong with values that differ from it.

use serde_json::Value;

use super::*;

/// The vector; its source is named in it.
fn golden() -> Value {
    let text = include_str!("../../../tests/golden/bao_kms_provider.json");
    serde_json::from_str(text).expect("JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn labels(golden: &Value) -> BoundLabels {
    BoundLabels {
        provider_name: text(&golden["provider_name"]),
        cluster_id: text(&golden["cluster_id"]),
        instance_id: text(&golden["instance_id"]),
    }
}

fn annotations(golden: &Value) -> Annotations {
    let all = golden["annotations"].as_object().expect("an object");
    all.iter()
        .map(|(name, value)| (name.clone(), text(value).into_bytes()))
        .collect()
}

fn version(number: u32) -> KeyVersion {
    KeyVersion::try_new(number).expect("a version")
}

fn read(annotations: &Annotations) -> Result<CarriedLabels, String> {
    let key_id = text(&golden()["key_id"]);
    CarriedLabels::read(Some(&key_id), Some(annotations), version(3))
}

#[test]
fn the_associated_data_of_the_published_vector_is_rebuilt_byte_for_byte() {
    let golden = golden();
    let carried = read(&annotations(&golden)).expect("labels");
    let labels = labels(&golden);
    assert_eq!(labels.canonical(&carried), text(&golden["canonical"]));
    let data = labels.associated_data(&carried);
    assert_eq!(data.as_str(), text(&golden["associated_data"]));
}

#[test]
fn a_namespace_is_part_of_it_between_the_instance_and_the_mount() {
    let golden = golden();
    let mut annotations = annotations(&golden);
    let namespace = hash("admin/workload-a");
    annotations.insert(NAMESPACE_HASH.to_owned(), namespace.clone().into_bytes());
    let carried = read(&annotations).expect("labels");
    let expected = text(&golden["canonical"]).replace(
        "\"transit_mount_hash\"",
        &format!("\"openbao_namespace_hash\":\"{namespace}\",\"transit_mount_hash\""),
    );
    assert_eq!(labels(&golden).canonical(&carried), expected);
}

#[test]
fn a_name_is_escaped_as_go_escapes_it() {
    let escaped = go_string("a\"b\\c<d>&\u{2028}\u{2029}é");
    assert_eq!(escaped, r#""a\"b\\c\u003cd\u003e\u0026\u2028\u2029é""#);
    assert!(BoundLabels::check("a\u{7}").is_err());
}

#[test]
fn each_label_that_is_missing_or_wrong_is_named() {
    let whole = annotations(&golden());
    let needed = [
        PROVIDER,
        FORM,
        KEY_ID_HASH,
        KEY_VERSION,
        MOUNT_HASH,
        KEY_HASH,
    ];
    for name in needed {
        let mut without = whole.clone();
        without.remove(name);
        let error = read(&without).expect_err("it is needed");
        assert_eq!(error, format!("its annotation {name} is missing"));
        let mut empty = whole.clone();
        empty.insert(name.to_owned(), Vec::new());
        assert_eq!(read(&empty).expect_err("empty"), error);
        let mut wrong = whole.clone();
        wrong.insert(name.to_owned(), b"4".to_vec());
        assert!(read(&wrong).expect_err("wrong").contains(name));
    }
    let mut other = whole.clone();
    other.insert(KEY_ID_HASH.to_owned(), hash("obk2.other").into_bytes());
    let error = read(&other).expect_err("another key_id");
    assert!(error.ends_with("is not that of its key_id"), "{error}");
    // What the associated data does not depend on may be anything.
    let mut newer = whole;
    newer.insert("plugin-version.kms.openbao.org".to_owned(), b"v9".to_vec());
    assert!(read(&newer).is_ok());
}

#[test]
fn a_ciphertext_of_another_version_or_a_foreign_key_id_is_a_contradiction() {
    let (golden, key_id) = (golden(), text(&golden()["key_id"]));
    let annotations = annotations(&golden);
    let other = CarriedLabels::read(Some(&key_id), Some(&annotations), version(4));
    assert!(other.expect_err("version").contains("of version 4"));
    for foreign in [None, Some("1"), Some("transit1::transit:kms:v3:1")] {
        let read = CarriedLabels::read(foreign, Some(&annotations), version(3));
        assert!(read.expect_err("key_id").starts_with("its key_id"));
    }
    assert!(CarriedLabels::read(Some(&key_id), None, version(3)).is_err());
}

#[test]
fn a_value_is_bound_if_its_key_id_or_an_annotation_says_so() {
    let annotations = annotations(&golden());
    let none = Annotations::new();
    for (key_id, annotations, expected) in [
        (Some("obk2.x"), None, true),
        (Some("obk2.x"), Some(&none), true),
        (Some("1"), Some(&annotations), true),
        (None, None, false),
        (Some("transit1::transit:kms:v3:1"), Some(&none), false),
    ] {
        assert_eq!(is_bound(key_id, annotations), expected, "{key_id:?}");
    }
    let kleidi = Annotations::from([("v2.kleidi.beezy.dev".to_owned(), b"1".to_vec())]);
    assert!(!is_bound(Some("kleidi-kms-plugin_1_x"), Some(&kleidi)));
}
