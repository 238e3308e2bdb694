use super::*;

fn object() -> EncryptedObject {
    EncryptedObject {
        encrypted_data: vec![7; 32 + 12 + 16 + 100],
        key_id: "transit1::transit:kms:v3:1795471780".to_owned(),
        wrapped: b"vault:v3:AAAA".to_vec(),
        annotations: [("kms.example.org".to_owned(), b"x".to_vec())].into(),
        kind: 1,
    }
}

fn v2(object: &EncryptedObject) -> Vec<u8> {
    use prost::Message;
    let mut value = b"k8s:enc:kms:v2:vault:".to_vec();
    value.extend(object.encode_to_vec());
    value
}

#[test]
fn every_form_is_distinguished() {
    assert_eq!(
        Stored::parse(b"k8s\0\n\x0c"),
        Ok(Stored::Plain(Encoding::Protobuf))
    );
    assert_eq!(
        Stored::parse(b"{\"a\":1}"),
        Ok(Stored::Plain(Encoding::Json))
    );
    assert_eq!(
        Stored::parse(&[0xd9, 0xd9, 0xf7, 1]),
        Ok(Stored::Plain(Encoding::Cbor))
    );
    let mut local = b"k8s:enc:aescbc:v1:key1:".to_vec();
    local.extend([0; 48]);
    let provider = Stored::parse(&local).expect("valid").provider();
    assert_eq!(provider.to_string(), "aescbc key1");
    let mut v1 = b"k8s:enc:kms:v1:vault:\0\x0dvault:v2:AAAA".to_vec();
    v1.extend([0; 60]);
    let Ok(Stored::KmsV1(kms)) = Stored::parse(&v1) else {
        panic!("not KMS v1");
    };
    assert_eq!(
        (kms.provider, kms.wrapped, kms.data.len()),
        ("vault", &b"vault:v2:AAAA"[..], 60)
    );
    let value = v2(&object());
    let Ok(Stored::KmsV2(kms)) = Stored::parse(&value) else {
        panic!("not KMS v2");
    };
    assert_eq!((kms.provider, &kms.object), ("vault", &object()));
    assert_eq!(kms.object.seed_type(), SeedType::Seed);
}

#[test]
fn a_value_that_is_cut_anywhere_is_never_taken_for_a_whole_one() {
    let whole = v2(&object());
    for length in 0..whole.len() {
        // A cut between two fields leaves a message that lacks one; the order of the fields is free.
        if let Ok(stored) = Stored::parse(&whole[..length]) {
            let Stored::KmsV2(kms) = stored else {
                panic!("{length}: {stored:?}");
            };
            assert!(kms.object.key_id == object().key_id && kms.object.wrapped == object().wrapped);
        }
    }
}

#[test]
fn what_kube_apiserver_rejects_is_damaged() {
    let changed = |change: fn(&mut EncryptedObject)| {
        let mut object = object();
        change(&mut object);
        Stored::parse(&v2(&object))
            .map(|_| ())
            .expect_err("an error")
            .to_string()
    };
    assert!(changed(|object| object.kind = 2).contains("type 2"));
    assert!(changed(|object| object.key_id.clear()).contains("key_id has 0 bytes"));
    assert!(changed(|object| object.wrapped = vec![0; 1025]).contains("1025 bytes"));
    assert!(changed(|object| object.encrypted_data.truncate(59)).contains("at least 60"));
    let big = |object: &mut EncryptedObject| {
        object
            .annotations
            .insert("a.b".to_owned(), vec![0; 32 * 1024]);
    };
    assert!(changed(big).contains("annotations"));
    let text = |value: &[u8]| Stored::parse(value).expect_err("an error").to_string();
    assert_eq!(text(b""), "the value is empty");
    assert_eq!(text(b"k8s:en"), "cut off: it ends inside its prefix");
    assert_eq!(
        text(b"\0\x01\x02\x03\x04"),
        "it begins with 00 01 02 03, as no value that kube-apiserver writes"
    );
    assert!(text(b"k8s:enc:rot13:v1:x:abc").contains("k8s:enc:rot13:v1:"));
    assert!(text(b"k8s:enc:kms:v1:vault:\0\x20abc").contains("the wrapped key is not whole"));
    assert!(
        text(b"k8s:enc:aescbc:v1:key1:0123456789").contains("bytes of the ciphertext are missing")
    );
}

#[test]
fn the_version_of_a_ciphertext_is_read() {
    assert_eq!(transit_version(b"vault:v12:AAAA"), Some(12));
    assert_eq!(transit_version(b"vault:v0:AAAA"), Some(1));
    for not in [
        &b"vault:v1"[..],
        b"vault:v:a",
        b"vault:vx:a",
        b"k8s",
        b"vault:v99999999999:a",
    ] {
        assert_eq!(transit_version(not), None);
    }
}
