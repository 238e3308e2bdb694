//! What else the plugin is asked while 64 callers encrypt: its Status, and its metrics.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::SEED;
use super::bare::Bare;
use super::figures::{Series, processor_of};
use super::grpc::{Connection, Prepared};
use super::harness::daemon::Daemon;
use super::harness::scrape::Metrics;
use super::harness::vault::{Fixture, Vault};

const CALLERS: usize = 64;
/// How often Status is asked.
const STATUS_CALLS: usize = 2_000;
/// How often the metrics are, under load and at rest.
const SCRAPES: usize = 200;
const DURATION: &str = "vault_kms_plugin_call_duration_seconds";

/// Callers that encrypt, until this is dropped.
struct Load {
    stop: CancellationToken,
    callers: JoinSet<()>,
}

/// All of it as text.
pub(super) async fn measured(vault: &Vault, fixture: &Fixture, daemon: &Daemon) -> String {
    let load = Load::begin(daemon).await;
    let before = Metrics::of(daemon).await;
    let status = status(vault, fixture, daemon).await;
    let inside = within_a_millisecond(&before, &Metrics::of(daemon).await);
    let mut scrape = Series::new("scrape of /metrics");
    for _ in 0..SCRAPES {
        scrape.add(scraped(daemon).await);
    }
    load.end().await;
    let cost = processor_of_a_scrape(daemon).await;
    format!(
        "while {CALLERS} callers encrypt        p50       p99\n{status}{}\
         inside the process {:.2} % of all Status calls take 1 ms at most (goal: 99)\n\
         a scrape takes {:.0} us of the processor: {:.3} % of one for a scrape each second (goals: 5 ms, 1 %)\n",
        scrape.row(),
        inside * 100.0,
        cost.as_secs_f64() * 1e6,
        cost.as_secs_f64() * 100.0,
    )
}

impl Load {
    async fn begin(daemon: &Daemon) -> Self {
        let stop = CancellationToken::new();
        let mut callers = JoinSet::new();
        let connection = Connection::open(daemon.socket()).await;
        for _ in 0..CALLERS {
            let (connection, stop) = (connection.clone(), stop.clone());
            callers.spawn(async move {
                let call = Prepared::encrypt(&SEED);
                while !stop.is_cancelled() {
                    connection.call(&call).await;
                }
            });
        }
        Self { stop, callers }
    }

    async fn end(self) {
        self.stop.cancel();
        self.callers.join_all().await;
    }
}

/// Status beside an empty call to a bare server, in turns.
async fn status(vault: &Vault, fixture: &Fixture, daemon: &Daemon) -> String {
    let bare = Bare::start(vault, fixture).await;
    let (ours, empty) = (
        Connection::open(daemon.socket()).await,
        Connection::open(&bare.socket()).await,
    );
    let call = Prepared::status();
    let (mut status, mut bare_call) = (Series::new("Status"), Series::new("empty call"));
    for _ in 0..STATUS_CALLS {
        for (connection, series) in [(&ours, &mut status), (&empty, &mut bare_call)] {
            let begun = Instant::now();
            connection.call(&call).await;
            series.add(begun.elapsed());
        }
    }
    let ratio = |percent| {
        status.percentile(percent).as_secs_f64() / bare_call.percentile(percent).as_secs_f64()
    };
    format!(
        "{}{}Status is {:.2} x an empty call at p50, {:.2} x at p99 (goal: at most 1.5)\n",
        status.row(),
        bare_call.row(),
        ratio(50),
        ratio(99),
    )
}

/// The part of the Status calls between two scrapes that the plugin answered within 1 ms.
fn within_a_millisecond(before: &Metrics, after: &Metrics) -> f64 {
    let labels = [("operation", "status")];
    let quick = after.at_most(DURATION, &labels, 0.001) - before.at_most(DURATION, &labels, 0.001);
    let all = after.observed(DURATION, &labels) - before.observed(DURATION, &labels);
    quick / all
}

/// From the connection to the last byte.
async fn scraped(daemon: &Daemon) -> Duration {
    let begun = Instant::now();
    let stream = TcpStream::connect(daemon.admin_address()).await;
    let mut stream = stream.expect("the probes are served");
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let written = stream.write_all(request.as_bytes()).await;
    written.expect("it reads");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer).await;
    read.expect("a whole answer");
    let taken = begun.elapsed();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    taken
}

async fn processor_of_a_scrape(daemon: &Daemon) -> Duration {
    let before = processor_of(daemon.pid());
    for _ in 0..SCRAPES {
        scraped(daemon).await;
    }
    let taken = processor_of(daemon.pid()).saturating_sub(before);
    taken / u32::try_from(SCRAPES).expect("a small number")
}
