//! The forms of stored values, as kube-apiserver's own code writes them (`tests/stored_values/`).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use vault_kms_plugin::etcd::stored::{
    Encoding, Local, LocalKind, SeedType, Stored, transit_version,
};

use super::super::harness::servers;

/// `yes`: the samples are written again, to be committed.
const REWRITE: &str = "REWRITE_EXPECTED";

fn bytes(sample: &Value, name: &str) -> Vec<u8> {
    STANDARD
        .decode(sample[name].as_str().unwrap_or_default())
        .unwrap()
}

/// Checks every part of a sample that can be read without a key. Returns its form.
fn check(line: &str) -> String {
    let sample: Value = serde_json::from_str(line).unwrap();
    let form = sample["form"].as_str().unwrap();
    let (value, plaintext) = (bytes(&sample, "value"), bytes(&sample, "plaintext"));
    let local = |kind, overhead: usize| {
        let length = plaintext.len() + overhead;
        let data = &value[value.len() - length..];
        Stored::Local(Local {
            kind,
            key_name: "key1",
            data,
        })
    };
    // PKCS#7 always adds a byte.
    let padded = 16 - plaintext.len() % 16;
    let stored = Stored::parse(&value).unwrap();
    match form {
        "identity protobuf" => assert_eq!(stored, Stored::Plain(Encoding::Protobuf)),
        "identity JSON" => assert_eq!(stored, Stored::Plain(Encoding::Json)),
        "identity CBOR" => assert_eq!(stored, Stored::Plain(Encoding::Cbor)),
        "aescbc" => assert_eq!(stored, local(LocalKind::AesCbc, 16 + padded)),
        "aesgcm" => assert_eq!(stored, local(LocalKind::AesGcm, 12 + 16)),
        "secretbox" => assert_eq!(stored, local(LocalKind::Secretbox, 24 + 16)),
        _ => {
            let (provider, wrapped, data) = match &stored {
                Stored::KmsV1(kms) => (kms.provider, kms.wrapped, kms.data),
                Stored::KmsV2(kms) => {
                    assert_eq!(kms.object.key_id, sample["key_id"]);
                    let seed_type = kms.object.seed_type();
                    assert_eq!(form, format!("kms v2 {}", seed_type.as_str()));
                    let bytes = &kms.object.encrypted_data[..];
                    let skipped = if seed_type == SeedType::Seed { 32 } else { 0 };
                    (kms.provider, &kms.object.wrapped[..], &bytes[skipped..])
                }
                other => panic!("{form}: {other:?}"),
            };
            assert_eq!(
                (provider, wrapped),
                ("vault", &bytes(&sample, "wrapped")[..])
            );
            assert_eq!(transit_version(wrapped), Some(3));
            let overhead = if form.ends_with("CBC") {
                16 + padded
            } else {
                12 + 16
            };
            assert_eq!(data.len(), plaintext.len() + overhead, "{form}");
        }
    }
    form.to_owned()
}

fn stored_values(mode: &str, input: &str) -> String {
    let mut program = Command::new(servers::stored_values());
    program
        .arg(mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = program.spawn().unwrap();
    process
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{mode}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/stored_values.jsonl")
}

fn every_form_of_kube_apiserver_is_read_in_all_its_parts() {
    let text = std::fs::read_to_string(golden()).unwrap();
    let forms: Vec<_> = text.lines().map(check).collect();
    assert_eq!(forms.len(), 10, "{forms:?}");
}

fn what_kube_apiserver_writes_now_is_read_equally() {
    let written = stored_values("write", "");
    let forms: Vec<_> = written.lines().map(check).collect();
    let text = std::fs::read_to_string(golden()).unwrap();
    let expected: Vec<_> = text.lines().map(check).collect();
    assert_eq!(forms, expected);
    if std::env::var(REWRITE).is_ok_and(|value| value == "yes") {
        std::fs::write(golden(), written).unwrap();
    }
}

fn kube_apiserver_reads_the_samples_and_no_changed_one() {
    let text = std::fs::read_to_string(golden()).unwrap();
    let samples: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let read = stored_values("read", &text);
    for (sample, line) in samples.iter().zip(read.lines()) {
        let read: Value = serde_json::from_str(line).unwrap();
        assert_eq!(read["plaintext"], sample["plaintext"], "{line}");
    }
    // Under another key of etcd a value of AES-GCM cannot be read: the key is authenticated.
    let moved = samples.iter().map(|sample| {
        let mut sample = sample.clone();
        sample["etcd_key"] = "/registry/secrets/default/other".into();
        sample.to_string() + "\n"
    });
    let read = stored_values("read", &moved.collect::<String>());
    let fails: BTreeMap<_, _> = read
        .lines()
        .map(|line| {
            let read: Value = serde_json::from_str(line).unwrap();
            (
                read["form"].as_str().unwrap().to_owned(),
                read["error"].is_string(),
            )
        })
        .collect();
    let failing: Vec<_> = fails
        .iter()
        .filter(|(_, fails)| **fails)
        .map(|(form, _)| form.as_str())
        .collect();
    let sealed = [
        "aesgcm",
        "kms v1 AES-GCM",
        "kms v2 AES_GCM_KEY",
        "kms v2 HKDF_SHA256_XNONCE_AES_GCM_SEED",
    ];
    assert_eq!(failing, sealed);
}

tests! {
    plain every_form_of_kube_apiserver_is_read_in_all_its_parts;
    plain what_kube_apiserver_writes_now_is_read_equally [Go];
    plain kube_apiserver_reads_the_samples_and_no_changed_one [Go];
}
