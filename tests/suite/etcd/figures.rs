//! The figures of a scan: time and memory at a million values, compared with etcdctl in the same run.
//!
//! `MEASURED` has the commands to compare, separated by `;`, each with `ENDPOINT` or `SNAPSHOT` for what it reads:
//! `MEASURED='vault-kmsctl audit --endpoints ENDPOINT'`; `VALUES` is how many values there are.

use std::fs::{self, File};
use std::io::{Write, stderr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use serde_json::json;

use super::super::harness::http;
use super::super::harness::kubernetes::Etcd;
use super::super::harness::servers::{Server, binary};
use super::*;

const PER_TRANSACTION: usize = 128;
const WRITERS: usize = 4;
const RUNS: usize = 3;

/// A value of about 1 KiB as KMS v2 stores it, with one seed for all.
fn value(n: usize) -> Vec<u8> {
    use prost::Message;
    let mut random = fastrand::Rng::with_seed(n as u64);
    let object = vault_kms_plugin::etcd::stored::EncryptedObject {
        encrypted_data: (0..850).map(|_| random.u8(..)).collect(),
        key_id: "transit1::transit:kms:v3:1795471780".to_owned(),
        wrapped: b"vault:v3:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTA="
            .to_vec(),
        kind: 1,
        ..Default::default()
    };
    [b"k8s:enc:kms:v2:vault:".to_vec(), object.encode_to_vec()].concat()
}

async fn fill(etcd: &Etcd, values: usize) {
    let client = http::builder(None)
        .pool_max_idle_per_host(WRITERS)
        .build()
        .unwrap();
    let url = format!("{}/v3/kv/txn", etcd.address());
    let writers = (0..WRITERS).map(|writer| {
        let (client, url) = (&client, &url);
        async move {
            let first = (writer..values.div_ceil(PER_TRANSACTION)).step_by(WRITERS);
            for start in first.map(|chunk| chunk * PER_TRANSACTION) {
                let puts = (start..values.min(start + PER_TRANSACTION)).map(|n| {
                    let key = key(&format!("secrets/namespace-{}/secret-{n}", n % 1_000));
                    json!({ "requestPut": { "key": STANDARD.encode(key), "value": STANDARD.encode(value(n)) } })
                });
                let body = json!({ "success": puts.collect::<Vec<_>>() }).to_string();
                let answer = client.post(url).body(body).send().await.unwrap();
                assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
            }
        }
    });
    join_all(writers).await;
}

/// Runs a command to its end: the seconds, and its peak memory in KiB, which is read while it runs.
fn measure(command: &[String], output: &std::path::Path) -> (f64, u64) {
    let start = Instant::now();
    let mut process = Command::new(&command[0]);
    let (to, errors) = (
        File::create(output).unwrap(),
        output.with_extension("errors"),
    );
    process.args(&command[1..]).stdin(Stdio::null()).stdout(to);
    process.stderr(File::create(&errors).unwrap());
    let mut process = process.spawn().unwrap();
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(now.unwrap_or(0));
        if let Some(status) = process.try_wait().unwrap() {
            let seconds = start.elapsed().as_secs_f64();
            // 1 is for findings, of an audit alone.
            let errors = fs::read_to_string(errors).unwrap();
            let is_audit = command.iter().any(|word| word == "audit");
            assert!(
                status.success() || (is_audit && status.code() == Some(1)),
                "{command:?}: {status}: {errors}"
            );
            return (seconds, peak);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn say(line: &str) {
    // A reader that has gone is no reason to fail.
    let _ = writeln!(stderr(), "{line}");
}

async fn soak_figures_of_a_scan() {
    let number = std::env::var("VALUES")
        .ok()
        .and_then(|number| number.parse().ok());
    let values = number.unwrap_or(1_000_000);
    let etcd = Etcd::start_with(vec![
        "--quota-backend-bytes=8589934592".to_owned(),
        "--snapshot-count=10000".to_owned(),
    ])
    .await;
    let start = Instant::now();
    fill(&etcd, values).await;
    say(&format!(
        "wrote {values} values in {} s",
        start.elapsed().as_secs()
    ));
    let dir = tempfile::tempdir().unwrap();
    let (output, snapshot) = (dir.path().join("output"), dir.path().join("snapshot.db"));
    let etcdctl = binary(Server::Etcdctl).display().to_string();
    let endpoints = format!("--endpoints={}", etcd.address());
    // As kube-apiserver does every 5 minutes: else every value would come a second time, as an event.
    let written = etcd
        .transaction(&[(key("leases/last"), Some(b"{}".to_vec()))])
        .await;
    let compact = [
        &etcdctl,
        &endpoints,
        "--command-timeout=600s",
        "compaction",
        "--physical",
    ];
    let mut compact: Vec<_> = compact.map(ToString::to_string).into();
    compact.push(written.to_string());
    say(&format!(
        "compacted in {:.1} s",
        measure(&compact, &output).0
    ));
    let save: Vec<_> = [
        &etcdctl,
        &endpoints,
        "snapshot",
        "save",
        snapshot.to_str().unwrap(),
    ]
    .map(ToString::to_string)
    .into();
    let (seconds, _) = measure(&save, &output);
    let bytes = fs::metadata(&snapshot).unwrap().len();
    say(&format!(
        "snapshot of {bytes} bytes saved in {seconds:.1} s"
    ));
    let mut commands = vec![
        [
            &etcdctl,
            &endpoints,
            "--command-timeout=600s",
            "get",
            "--prefix",
            PREFIX,
        ]
        .map(ToString::to_string)
        .to_vec(),
    ];
    let measured = std::env::var("MEASURED").unwrap_or_default();
    for command in measured
        .split(';')
        .filter(|command| !command.trim().is_empty())
    {
        let words = command.split_whitespace();
        let words = words.map(|word| {
            word.replace("ENDPOINT", &etcd.address())
                .replace("SNAPSHOT", snapshot.to_str().unwrap())
        });
        commands.push(words.collect());
    }
    for _ in 0..RUNS {
        for command in &commands {
            let (seconds, peak) = measure(command, &output);
            let mut text = fs::read_to_string(&output).unwrap_or_default();
            text.truncate(
                text.char_indices()
                    .nth(300)
                    .map_or(text.len(), |(at, _)| at),
            );
            let text = if command[0] == etcdctl {
                ""
            } else {
                text.trim_end()
            };
            say(&format!(
                "{seconds:7.2} s {:6} MiB  {}  {text}",
                peak / 1024,
                command.join(" ")
            ));
        }
    }
}

tests! {
    multi soak_figures_of_a_scan [Kubernetes, EtcdTools] soak "takes minutes and 5 GiB of disk, and asserts nothing";
}
