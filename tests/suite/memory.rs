//! A moment after the last call, no memory of the process contains a seed, and one place contains the
//! token.
//!
//! Reads `/proc/PID/mem`, which only root may do: the process is not dumpable.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::time::sleep;

use super::harness::certificates::Certificates;
use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::servers;
use super::harness::vault::Vault;
use super::harness::wait;
use super::seed_cache::local_kek;
use super::tls::{NAMED, trusting, vault_with_tls};
use super::{LIMIT, daemon_for, shipped};

/// What the acceptance gives the buffers of living connections.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);
const CALLS: usize = 1_000;
const CALLERS: usize = 16;
/// Memory is searched for pieces of this length: a buffer that was written over in part is found, too.
const PIECE: usize = 8;

/// The seeds of a test, and where pieces of them were found.
struct Canaries(HashMap<[u8; PIECE], &'static str>);

impl Canaries {
    /// The beginning, the middle and the end of each, raw and in base64.
    fn of(seeds: &[[u8; 64]]) -> Self {
        let mut pieces = HashMap::new();
        for seed in seeds {
            let text = STANDARD.encode(seed);
            for (form, bytes) in [("raw", &seed[..]), ("base64", text.as_bytes())] {
                for at in [0, 28, 48] {
                    let piece = bytes[at..at + PIECE].try_into().unwrap();
                    pieces.insert(piece, form);
                }
            }
        }
        Self(pieces)
    }

    fn found_in(&self, memory: &[u8]) -> Vec<&'static str> {
        let windows = memory.windows(PIECE);
        windows
            .filter_map(|window| self.0.get(window).copied())
            .collect()
    }
}

/// What one look at all of the memory found.
#[derive(Debug)]
struct Found {
    seeds: Vec<String>,
    tokens: usize,
    bytes: usize,
}

fn search(pid: u32, canaries: &Canaries, token: &str) -> Found {
    let mut found = Found {
        seeds: Vec::new(),
        tokens: 0,
        bytes: 0,
    };
    for (name, memory) in memory_of(pid) {
        found.bytes += memory.len();
        let forms = canaries.found_in(&memory);
        found
            .seeds
            .extend(forms.iter().map(|form| format!("{form} in {name}")));
        found.tokens += memory
            .windows(token.len())
            .filter(|window| *window == token.as_bytes())
            .count();
    }
    found
}

/// Every mapping that can be read, with its name.
fn memory_of(pid: u32) -> Vec<(String, Vec<u8>)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, access) = (words.next().unwrap(), words.next().unwrap());
        let name = words.nth(3).unwrap_or("anonymous");
        // The kernel's own pages cannot be read this way.
        if !access.starts_with('r') || name.starts_with("[v") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // A mapping can go while it is looked at.
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            all.push((name.to_owned(), bytes));
        }
    }
    all
}

/// Wraps and unwraps each seed, on several connections, through KMS v2 and v1.
async fn call_with(seeds: &[[u8; 64]], clients: &[KmsClient]) {
    let calls = seeds.chunks(seeds.len() / clients.len());
    let callers = calls.zip(clients).map(async |(seeds, client)| {
        for (number, seed) in seeds.iter().enumerate() {
            let back = if number % 2 == 0 {
                let (ciphertext, key_id) = client.encrypt(seed).await.unwrap();
                client.decrypt(&ciphertext, &key_id).await.unwrap()
            } else {
                let ciphertext = client.encrypt_v1(seed).await.unwrap();
                client.decrypt_v1(&ciphertext).await.unwrap()
            };
            assert_eq!(back, seed);
        }
    });
    futures_util::future::join_all(callers).await;
}

async fn search_after_calls(daemon: &Daemon, token: &str) {
    let clients: Vec<_> = (0..CALLERS)
        .map(|_| KmsClient::connect(daemon.socket()))
        .collect();
    clients[0].wait_ok(LIMIT).await;
    let seeds: Vec<[u8; 64]> = (0..CALLS)
        .map(|_| std::array::from_fn(|_| fastrand::u8(..)))
        .collect();
    let canaries = Canaries::of(&seeds);
    call_with(&seeds, &clients).await;
    let at_once = search(daemon.pid(), &canaries, token);
    // Not a hope but the acceptance: from here on there has to be nothing.
    sleep(SETTLES_WITHIN).await;
    // One that is open when the search begins may be closed for being idle before it ends.
    let before = open_to_vault(daemon).await;
    let found = search(daemon.pid(), &canaries, token);
    let open = before.max(open_to_vault(daemon).await);
    eprintln!(
        "{} calls, {} KiB searched: at once {} pieces of seeds and {} tokens, then {} and {}",
        2 * CALLS,
        found.bytes / 1024,
        at_once.seeds.len(),
        at_once.tokens,
        found.seeds.len(),
        found.tokens
    );
    assert!(found.seeds.is_empty(), "{:?}", found.seeds);
    // Whether the search finds anything at all, and whether the token is where it has to be.
    assert!(
        (1..=1 + open).contains(&found.tokens),
        "{found:?}, {open} open"
    );
    // Whoever is connected goes on as if nothing had happened.
    for client in &clients {
        let (ciphertext, key_id) = client.encrypt(&seeds[0]).await.unwrap();
        assert_eq!(
            client.decrypt(&ciphertext, &key_id).await.unwrap(),
            seeds[0]
        );
    }
}

async fn open_to_vault(daemon: &Daemon) -> usize {
    wait::until("the connections to Vault to be known", LIMIT, async || {
        connections_to_vault(daemon.pid())
    })
    .await
}

/// How many TCP connections the process has; all lead to Vault.
fn connections_to_vault(pid: u32) -> Option<usize> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let sockets: Vec<String> = entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.to_owned()))
        .map(|inode| inode.trim_end_matches(']').to_owned())
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    // State 01 is ESTABLISHED; the inode is the tenth word.
    let established = table.lines().skip(1).filter(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words[3] == "01" && sockets.iter().any(|inode| inode == words[9])
    });
    Some(established.count())
}

async fn two_seconds_after_the_calls_memory_contains_no_seed_and_the_token_once() {
    let (fixture, daemon) = shipped(Vault::shared().await).await;
    search_after_calls(&daemon, &fixture.token).await;
}

async fn the_buffers_of_tls_contain_no_seed() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    let daemon = builder.release().spawn().await;
    search_after_calls(&daemon, &fixture.token).await;
}

/// The seeds are there, sealed: of the cache memory contains its key alone, in a page that is locked.
async fn the_seed_cache_holds_no_seed_in_clear() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture).extra("[outage]\nseed_cache = \"memory\"");
    let daemon = builder.release().spawn().await;
    search_after_calls(&daemon, &fixture.token).await;
    let (_, metrics) = daemon.admin("/metrics").await;
    // Each seed was encrypted once, and the first one by each caller after that.
    let encrypted = (CALLS / CALLERS + 1) * CALLERS;
    let entries = format!("vault_kms_plugin_seed_cache_entries {encrypted}\n");
    assert!(metrics.contains(&entries), "{metrics}");
}

/// The local KEK too, of which Vault knows the plaintext; with seeds that it sealed while Vault was away.
async fn the_local_kek_is_nowhere_in_clear() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let proxy = Proxy::start(vault.socket_address());
    let builder = daemon_for(&proxy.address(), &fixture).extra(local_kek::ON);
    let daemon = builder.release().spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    local_kek::ready(&daemon).await;
    let seeds: Vec<[u8; 64]> = (0..64)
        .map(|_| std::array::from_fn(|_| fastrand::u8(..)))
        .collect();
    proxy.fault("", Fault::Refuse);
    let mut wrapped = None;
    for seed in &seeds {
        let answer = client.encrypt_whole(seed).await.unwrap();
        let Some(sealed) = answer.annotations.get(local_kek::ANNOTATION) else {
            panic!("not sealed locally: {answer:?}");
        };
        assert!(!sealed.is_empty());
        let annotations = answer.annotations.clone();
        let back = client.decrypt_whole(&answer.ciphertext, &answer.key_id, annotations);
        assert_eq!(back.await.unwrap(), seed);
        wrapped = Some(answer.ciphertext);
    }
    let path = format!("{}/decrypt/{}", fixture.mount, fixture.key);
    let ciphertext = String::from_utf8(wrapped.unwrap()).unwrap();
    let body = json!({ "ciphertext": ciphertext, "associated_data": local_kek::DATA });
    let answer = vault.expect("POST", &path, Some(body)).await;
    let text = answer["data"]["plaintext"].as_str().unwrap().to_owned();
    let kek = STANDARD.decode(&text).unwrap();
    sleep(SETTLES_WITHIN).await;
    let canaries = Canaries::of(&seeds);
    let found = search(daemon.pid(), &canaries, &fixture.token);
    assert!(found.seeds.is_empty(), "{:?}", found.seeds);
    assert!(found.tokens > 0, "the search finds nothing at all");
    for (name, memory) in memory_of(daemon.pid()) {
        for piece in [&kek[..16], &kek[16..], &text.as_bytes()[..20]] {
            let is_there = memory.windows(piece.len()).any(|window| window == piece);
            assert!(!is_there, "the local KEK in {name}");
        }
    }
}

/// Whatever the environment of the build was: jemalloc shows the settings that it found.
fn the_settings_of_jemalloc_are_part_of_the_program() {
    let mut shows = Command::new(servers::release_daemon());
    shows
        .arg("--version")
        .env("_RJEM_MALLOC_CONF", "stats_print:true");
    let shown = String::from_utf8(shows.output().unwrap().stderr).unwrap();
    for setting in ["retain: false", "dirty_decay_ms: 0", "muzzy_decay_ms: 0"] {
        assert!(shown.contains(&format!("opt.{setting}")), "{shown}");
    }
}

tests! {
    plain the_settings_of_jemalloc_are_part_of_the_program;
    multi two_seconds_after_the_calls_memory_contains_no_seed_and_the_token_once [Vault, Root];
    multi the_buffers_of_tls_contain_no_seed [Vault, Root];
    multi the_seed_cache_holds_no_seed_in_clear [Vault, Root];
    multi the_local_kek_is_nowhere_in_clear [Vault, Root];
}
