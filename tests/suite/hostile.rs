//! Hostile input: garbage, floods, and clients that read nothing. An honest client keeps working, and
//! memory grows little and is returned.

mod messages;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::harness::daemon::Daemon;
use super::harness::flood::Flood;
use super::harness::h2_frames::{
    self as h2, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM,
    Raw, SETTINGS, WINDOW_UPDATE, frame,
};
use super::harness::kms::KmsClient;
use super::harness::vault::Vault;
use super::{LIMIT, shipped};

/// By how much an attack may make the daemon grow, in KiB.
const GROWTH: u64 = 24 * 1024;
/// What may be left of that, in KiB: connections to Vault, which are kept for 50 s, and what threads
/// keep for their next allocation.
const REST: u64 = 6 * 1024;
/// All the places but that of the genuine client.
const OTHERS: usize = 255;
/// Streams that a connection may have at once.
const STREAMS: u32 = 64;
/// A flood ends after this.
const FLOOD: Duration = Duration::from_secs(2);
/// A silent connection is closed before that.
const GREETING_LIMIT: Duration = Duration::from_secs(15);
/// Where [`hoards`] finds the socket.
const HOARD: &str = "HOSTILE_HOARD";
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;

const STATUS: &str = "/v2.KeyManagementService/Status";
const ENCRYPT: &str = "/v2.KeyManagementService/Encrypt";

/// A shipped daemon under this attack: the genuine client notices nothing, and memory comes back.
/// The daemon, and what the attack brought.
async fn withstands<T: Send + 'static>(
    attack: impl FnOnce(&Path) -> T + Send + 'static,
) -> (Daemon, T) {
    let (daemon, client) = shipped_daemon().await;
    let flood = Flood::lay(&daemon, &client).await;
    let brought = flood.attack(attack).await;
    let damage = flood.lift().await;
    eprintln!("{damage}");
    damage.outcome.expect_no_failure();
    assert!(damage.grown_kib <= GROWTH, "{damage}");
    damage.healed(&daemon, REST).await;
    (daemon, brought)
}

/// Ready, with a client that has a connection already.
async fn shipped_daemon() -> (Daemon, KmsClient) {
    let (_, daemon) = shipped(Vault::shared().await).await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    (daemon, client)
}

/// As many connections as there are places, each greeted.
fn crowd(socket: &Path, settings: &[(u16, u32)]) -> Vec<Raw> {
    let greeted: Vec<_> = (0..OTHERS)
        .filter_map(|_| Raw::greeted(socket, settings).ok())
        .collect();
    // Places of an earlier crowd may not be free yet.
    let count = greeted.len();
    assert!(count > OTHERS / 2, "{count} of {OTHERS} attack");
    greeted
}

/// A few.
fn crowd_of(socket: &Path, count: usize) -> Vec<Raw> {
    (0..count)
        .map(|_| Raw::greeted(socket, &[]).unwrap())
        .collect()
}

/// Each in a thread of its own.
fn in_parallel<T: Send>(raws: Vec<Raw>, work: impl Fn(Raw) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let running = raws.into_iter().map(|raw| scope.spawn(move || work(raw)));
        let running: Vec<_> = running.collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

/// In as many parts, of about the same size.
fn chunked<T>(items: Vec<T>, parts: usize) -> Vec<Vec<T>> {
    let mut all: Vec<Vec<T>> = (0..parts).map(|_| Vec::new()).collect();
    for (at, item) in items.into_iter().enumerate() {
        all[at % parts].push(item);
    }
    all
}

/// Writes until the server closes, or the time is over: how many bursts, and whether it closed.
fn flood(mut raw: Raw, mut burst: impl FnMut(u32) -> Vec<u8>) -> (u32, bool) {
    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() <= FLOOD {
        if raw.send(&burst(round)).is_err() {
            return (round, true);
        }
        raw.discard();
        round += 1;
    }
    (round, false)
}

/// The stream of a client's nth call.
fn stream(call: u32) -> u32 {
    2 * call + 1
}

/// An Encrypt, all of it.
fn encrypt(call: u32, plaintext: &[u8]) -> Vec<u8> {
    let mut bytes = frame(
        HEADERS,
        END_HEADERS,
        stream(call),
        &h2::grpc_headers(ENCRYPT),
    );
    let message = h2::encrypt_request(plaintext);
    let mut parts = message.chunks(16 * 1024).peekable();
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_none() {
            END_STREAM
        } else {
            0
        };
        bytes.extend(frame(DATA, flags, stream(call), part));
    }
    bytes
}

async fn random_bytes_do_no_harm() {
    withstands(|socket| {
        for round in 0..500 {
            let mut bytes = vec![0; 16 * 1024];
            fastrand::fill(&mut bytes);
            let raw = match round % 2 {
                0 => Raw::connect(socket),
                _ => Raw::greeted(socket, &[]),
            };
            // Refused in the middle of it, most often.
            let _ = raw.and_then(|mut raw| raw.send(&bytes));
        }
    })
    .await;
}

async fn five_thousand_connections_do_no_harm_and_make_few_log_lines() {
    let (daemon, ()) = withstands(|socket| {
        let mut held = Vec::new();
        for attempt in 0..5_000 {
            let connected = UnixStream::connect(socket).unwrap();
            if attempt % 4 == 0 {
                held.push(connected);
            }
        }
    })
    .await;
    daemon.logged("too many connections").await;
    let lines = daemon.log().matches("too many connections").count();
    assert!(lines <= 3, "{lines} lines");
}

/// Some say nothing, some stop in the middle of the greeting.
async fn half_open_connections_are_closed() {
    withstands(|socket| {
        let silent = |at: usize| {
            let mut raw = Raw::connect(socket).unwrap();
            raw.send(&h2::PREFACE[..at % h2::PREFACE.len()]).unwrap();
            raw
        };
        for mut raw in (0..OTHERS).map(silent).collect::<Vec<_>>() {
            let closed = raw.read_to_end(GREETING_LIMIT);
            closed.expect("a silent connection is closed");
        }
        assert!(
            Raw::greeted(socket, &[])
                .unwrap()
                .frame()
                .unwrap()
                .is_some()
        );
    })
    .await;
}

/// They answer pings for as long as they like; nothing is wrong with each of them.
async fn a_process_with_all_connections_does_not_keep_others_out() {
    let (daemon, client) = shipped_daemon().await;
    let hoarder = Hoarder::start(daemon.socket());
    // Its own 256th is closed, as are all that it tries beyond that.
    daemon.logged("closed the newest").await;
    let late = KmsClient::connect(daemon.socket());
    late.status().await.unwrap();
    client.encrypt(b"and the first one lives").await.unwrap();
    daemon
        .logged("closed one of the process with the most")
        .await;
    drop(hoarder);
}

/// Another process that holds on to all that it gets.
struct Hoarder(Child);

impl Hoarder {
    fn start(socket: &Path) -> Self {
        let this = std::env::current_exe().unwrap();
        let child = Command::new(this)
            .args(["--exact", "hostile::hoards", "--ignored"])
            .env(HOARD, socket)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Hoarder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hoards() {
    let Some(socket) = std::env::var_os(HOARD) else {
        return;
    };
    let mut held = Vec::new();
    for _ in 0..300 {
        held.extend(Raw::greeted(Path::new(&socket), &[]));
    }
    // Until it is killed, or forgotten.
    std::thread::sleep(LIMIT);
}

async fn streams_that_are_reset_at_once_are_cut_off() {
    let (_, floods) = withstands(|socket| {
        in_parallel(crowd_of(socket, 8), |raw| {
            flood(raw, |round| {
                let calls = round * 32..(round + 1) * 32;
                let reset = |call| {
                    let mut bytes = encrypt(call, &[7; 512]);
                    bytes.extend(frame(RST_STREAM, 0, stream(call), &8_u32.to_be_bytes()));
                    bytes
                };
                calls.flat_map(reset).collect()
            })
        })
    })
    .await;
    let closed = floods.iter().all(|(_, closed)| *closed);
    assert!(closed, "{floods:?}");
}

/// Each call reaches Vault before it is given up.
async fn cancelled_calls_do_not_pile_up() {
    withstands(|socket| {
        in_parallel(crowd_of(socket, 8), |mut raw| {
            let start = Instant::now();
            for round in 0.. {
                let calls = round * 16..(round + 1) * 16;
                let asked: Vec<u8> = calls
                    .clone()
                    .flat_map(|call| encrypt(call, &[7; 512]))
                    .collect();
                let reset = |call| frame(RST_STREAM, 0, stream(call), &8_u32.to_be_bytes());
                if raw.send(&asked).is_err() || start.elapsed() > FLOOD {
                    return;
                }
                // Their acceptance is what is waited for.
                std::thread::sleep(Duration::from_millis(1));
                if raw
                    .send(&calls.flat_map(reset).collect::<Vec<u8>>())
                    .is_err()
                {
                    return;
                }
                raw.discard();
            }
        });
    })
    .await;
}

/// Each connection was read from all the time, so that the attack was one.
fn assert_flooded(floods: &[(u32, bool)]) {
    let enough = floods
        .iter()
        .all(|(bursts, closed)| *bursts > 20 || *closed);
    assert!(enough, "{floods:?}");
}

async fn a_flood_of_settings_harms_nobody_else() {
    let (_, floods) = withstands(|socket| {
        let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(500);
        in_parallel(crowd_of(socket, 4), |raw| flood(raw, |_| settings.clone()))
    })
    .await;
    assert_flooded(&floods);
}

async fn a_flood_of_pings_harms_nobody_else() {
    let (_, floods) = withstands(|socket| {
        let pings = frame(PING, 0, 0, &[7; 8]).repeat(500);
        in_parallel(crowd_of(socket, 4), |raw| flood(raw, |_| pings.clone()))
    })
    .await;
    assert_flooded(&floods);
}

/// Those pongs are never read.
async fn answers_to_pings_that_are_not_read_are_not_buffered() {
    withstands(|socket| {
        let pings = frame(PING, 0, 0, &[7; 8]).repeat(500);
        let raws = crowd(socket, &[]);
        std::thread::scope(|scope| {
            for part in chunked(raws, 8) {
                let pings = &pings;
                scope.spawn(move || {
                    for mut raw in part {
                        raw.write_patience(Duration::from_millis(20));
                        for _ in 0..100 {
                            if raw.send(pings).is_err() {
                                break;
                            }
                        }
                    }
                });
            }
        });
    })
    .await;
}

async fn headers_that_never_end_are_cut_off() {
    let (_, cut_off) = withstands(|socket| {
        let begin = frame(HEADERS, 0, 1, &h2::grpc_headers(STATUS));
        let more = frame(CONTINUATION, 0, 1, &h2::literal("x-more", &[b'x'; 1000]));
        let mut held = Vec::new();
        let mut cut_off = 0;
        for mut raw in crowd(socket, &[]) {
            let sent = raw.send(&begin);
            let sent = sent.and_then(|()| (0..200).try_for_each(|_| raw.send(&more)));
            cut_off += usize::from(sent.is_err());
            held.push(raw);
        }
        (cut_off, held.len())
    })
    .await;
    let (cut_off, attacking) = cut_off;
    assert_eq!(cut_off, attacking);
}

tests! {
    [messages]
    single random_bytes_do_no_harm [Vault];
    single five_thousand_connections_do_no_harm_and_make_few_log_lines [Vault];
    single half_open_connections_are_closed [Vault];
    single a_process_with_all_connections_does_not_keep_others_out [Vault];
    plain hoards soak "is the other process of a test, and tests nothing";
    single streams_that_are_reset_at_once_are_cut_off [Vault];
    single cancelled_calls_do_not_pile_up [Vault];
    single a_flood_of_settings_harms_nobody_else [Vault];
    single a_flood_of_pings_harms_nobody_else [Vault];
    single answers_to_pings_that_are_not_read_are_not_buffered [Vault];
    single headers_that_never_end_are_cut_off [Vault];
}
