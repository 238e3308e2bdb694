//! The plugin in ten seconds: `cargo run -p quickstart`.
//!
//! Builds and starts the real daemon with a Transit server in memory, then plays kube-apiserver:
//! encrypts, decrypts, rotates the key and switches Transit off. With `--vault` it uses the server of
//! `VAULT_ADDR` and `VAULT_TOKEN` instead, with a key of its own that it deletes at the end.

#[expect(dead_code, unreachable_pub, reason = "a part of the tests' harness")]
#[path = "../../../tests/suite/harness/child.rs"]
mod child;
#[expect(dead_code, unreachable_pub, reason = "a part of the tests' harness")]
#[path = "../../../tests/suite/harness/kms.rs"]
mod kms;
#[path = "../../../tests/suite/harness/memory_transit.rs"]
mod memory_transit;
mod plugin;
mod say;
mod server;
#[expect(dead_code, unreachable_pub, reason = "a part of the tests' harness")]
#[path = "../../../tests/suite/harness/wait.rs"]
mod wait;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tonic::{Code, Status};
use vault_kms_plugin::grpc::proto::v2::StatusResponse;

use kms::KmsClient;
use memory_transit::MemoryTransit;
use plugin::Plugin;
use say::{answer, short, step, why};
use server::Server;

/// How long the plugin may take to notice what changed at Transit.
const NOTICE_LIMIT: Duration = Duration::from_secs(6);
/// How often Status is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A result of the quickstart; the error says what was expected and what came.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What kube-apiserver keeps in etcd of a seed.
struct EncryptedSeed {
    ciphertext: Vec<u8>,
    key_id: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let vault = match arguments.as_slice() {
        [] => false,
        [only] if only == "--vault" => true,
        _ => {
            eprintln!("usage: quickstart [--vault]");
            return ExitCode::from(64);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into);
    match runtime.and_then(|runtime| runtime.block_on(quickstart(vault))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe quickstart failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The tour, and the cleaning up after it, however it ended. `vault`: with a real server.
async fn quickstart(vault: bool) -> Outcome {
    let program = plugin::build()?;
    let mut server = Server::choose(vault).await?;
    let toured = tokio::select! {
        toured = tour(&mut server, &program) => toured,
        _ = tokio::signal::ctrl_c() => Err("it was interrupted".into()),
    };
    let cleaned = server.clean_up().await;
    toured.and(cleaned)
}

async fn tour(server: &mut Server, program: &Path) -> Outcome {
    let mut plugin = Plugin::start(server, program)?;
    say::title(server, &plugin);
    let walked = walk(server, &mut plugin).await;
    walked.map_err(|error| plugin.explained(&*error))
}

async fn walk(server: &mut Server, plugin: &mut Plugin) -> Outcome {
    let kms = plugin.connect().await?;
    let seed: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    let first = status(&kms).await?;
    let encrypted = encrypt(&kms, &seed, &first).await?;
    decrypt(&kms, &seed, &encrypted).await?;
    let second = rotate(&kms, server, &first).await?;
    reread(&kms, &seed, &encrypted, &second).await?;
    match server.memory() {
        Some(transit) => outage(&kms, transit, plugin, &seed, &second).await?,
        None => {
            step("An outage of Transit: skipped");
            why("Only the in-memory server is ours to switch off.");
        }
    }
    stop(plugin).await
}

async fn status(kms: &KmsClient) -> Outcome<StatusResponse> {
    step("Status: does the plugin work, and with which key?");
    let status = status_where(kms, "ok", |status| status.healthz == "ok").await?;
    let StatusResponse {
        version,
        healthz,
        key_id,
    } = &status;
    answer(&format!(
        "healthz {healthz}, version {version}, key_id {}",
        short(key_id)
    ));
    why(
        "kube-apiserver asks this about once a minute. `ok` means that the plugin has proven the \
         key by an encryption and a decryption; the key_id names its current version.",
    );
    Ok(status)
}

async fn encrypt(kms: &KmsClient, seed: &[u8], status: &StatusResponse) -> Outcome<EncryptedSeed> {
    step("Encrypt: encrypt a new 32-byte seed");
    let start = Instant::now();
    let (ciphertext, key_id) = answered("Encrypt", kms.encrypt(seed).await)?;
    let text = String::from_utf8_lossy(&ciphertext);
    answer(&format!("ciphertext {} in {}", short(&text), taken(start)));
    expect(key_id == status.key_id, "the key_id of Status", &key_id)?;
    why(
        "From the seed kube-apiserver derives the keys for its Secrets. etcd gets the encrypted \
         seed and the key_id, never the seed. It is Transit's own text: any Transit client that \
         may use the key can decrypt it, even without this plugin.",
    );
    Ok(EncryptedSeed { ciphertext, key_id })
}

async fn decrypt(kms: &KmsClient, seed: &[u8], encrypted: &EncryptedSeed) -> Outcome {
    step("Decrypt: decrypt it, as kube-apiserver does when it starts");
    let start = Instant::now();
    decrypts_to(kms, seed, encrypted).await?;
    answer(&format!("the same 32 bytes, in {}", taken(start)));
    Ok(())
}

async fn rotate(
    kms: &KmsClient,
    server: &mut Server,
    before: &StatusResponse,
) -> Outcome<StatusResponse> {
    step(&format!(
        "Rotation: vault write -f {}/keys/{}/rotate",
        memory_transit::MOUNT,
        server.key()
    ));
    server.rotate().await?;
    let start = Instant::now();
    why(
        "By itself the plugin sees this within half a minute. This tour is shorter: a KMS v1 \
         Encrypt uses the latest version, and its response makes the plugin refresh the key now.",
    );
    answered("Encrypt of KMS v1", kms.encrypt_v1(b"a nudge").await)?;
    let is_new = |status: &StatusResponse| status.key_id != before.key_id;
    let after = status_where(kms, "a new key_id", is_new).await?;
    answer(&format!(
        "Status: key_id {} (after {})",
        short(&after.key_id),
        taken(start)
    ));
    why(
        "A changed key_id makes kube-apiserver encrypt a new seed and write with that from then \
         on, without a restart or a change of its configuration.",
    );
    Ok(after)
}

async fn reread(
    kms: &KmsClient,
    seed: &[u8],
    old: &EncryptedSeed,
    now: &StatusResponse,
) -> Outcome {
    step("Old and new: data written before the rotation stays readable");
    decrypts_to(kms, seed, old).await?;
    answer("the old ciphertext decrypts to the same seed");
    let (ciphertext, key_id) = answered("Encrypt", kms.encrypt(seed).await)?;
    expect(key_id == now.key_id, "the key_id of Status", &key_id)?;
    let text = String::from_utf8_lossy(&ciphertext);
    answer(&format!("a new Encrypt gives {}", short(&text)));
    Ok(())
}

async fn outage(
    kms: &KmsClient,
    transit: &mut MemoryTransit,
    plugin: &mut Plugin,
    seed: &[u8],
    before: &StatusResponse,
) -> Outcome {
    step("An outage: Transit is switched off");
    transit.stop().await;
    let start = Instant::now();
    let status = answered("Status", kms.status().await)?;
    expect(status.healthz == "ok", "healthz ok", &status.healthz)?;
    expect(
        status.key_id == before.key_id,
        "the same key_id",
        &status.key_id,
    )?;
    answer(&format!(
        "Status: still ok, same key_id, in {}",
        taken(start)
    ));
    why(
        "kube-apiserver holds its seeds in memory and goes on reading and writing. So the plugin \
         reports an outage only after ten minutes (health.tolerance).",
    );
    refused(kms, seed).await?;
    recovery(kms, transit, plugin, seed).await
}

/// An Encrypt in the outage.
async fn refused(kms: &KmsClient, seed: &[u8]) -> Outcome {
    let start = Instant::now();
    let Err(error) = kms.encrypt(seed).await else {
        return Err("expected that Encrypt fails without Transit, got a ciphertext".into());
    };
    expect(
        error.code() == Code::Unavailable && start.elapsed() < kms.timeout,
        "UNAVAILABLE within the deadline",
        &described(&error),
    )?;
    answer(&format!("Encrypt: UNAVAILABLE in {}", taken(start)));
    answer(error.message());
    why(
        "Only a new seed needs Transit. The plugin retries until shortly before kube-apiserver's \
         three-second deadline, and then reports the cause.",
    );
    Ok(())
}

async fn recovery(
    kms: &KmsClient,
    transit: &mut MemoryTransit,
    plugin: &mut Plugin,
    seed: &[u8],
) -> Outcome {
    step("Recovery: Transit is back");
    transit.resume().await?;
    let start = Instant::now();
    answered("Encrypt", kms.encrypt(seed).await)?;
    plugin.expect_running()?;
    answer(&format!(
        "Encrypt works in {}, in the same process {}",
        taken(start),
        plugin.pid()
    ));
    Ok(())
}

async fn stop(plugin: &mut Plugin) -> Outcome {
    step("SIGTERM: the plugin finishes the calls in flight and stops");
    let code = plugin.stop().await?;
    expect(code == 0, "exit code 0", &code.to_string())?;
    answer("exit code 0");
    say::line("\nDone: every step succeeded.");
    Ok(())
}

async fn decrypts_to(kms: &KmsClient, seed: &[u8], encrypted: &EncryptedSeed) -> Outcome {
    let plaintext = kms.decrypt(&encrypted.ciphertext, &encrypted.key_id).await;
    let same = answered("Decrypt", plaintext)? == seed;
    expect(same, "the seed that was encrypted", "other bytes")
}

/// Asks for Status until `good` holds.
async fn status_where(
    kms: &KmsClient,
    what: &str,
    good: impl Fn(&StatusResponse) -> bool,
) -> Outcome<StatusResponse> {
    let start = Instant::now();
    loop {
        let status = kms.status().await;
        if let Ok(status) = &status
            && good(status)
        {
            return Ok(status.clone());
        }
        if start.elapsed() >= NOTICE_LIMIT {
            let last = match &status {
                Ok(status) => format!("{status:?}"),
                Err(error) => described(error),
            };
            return Err(format!("expected {what} of Status, got {last}").into());
        }
        sleep(ASK_EVERY).await;
    }
}

fn answered<T>(call: &str, answer: Result<T, Status>) -> Outcome<T> {
    answer
        .map_err(|error| format!("expected an answer to {call}, got {}", described(&error)).into())
}

fn expect(good: bool, expected: &str, got: &str) -> Outcome {
    if good {
        Ok(())
    } else {
        Err(format!("expected {expected}, got {got}").into())
    }
}

fn described(error: &Status) -> String {
    format!("{:?}: {}", error.code(), error.message())
}

fn taken(since: Instant) -> String {
    let millis = since.elapsed().as_secs_f64() * 1000.0;
    if millis < 100.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{:.1} s", millis / 1000.0)
    }
}
