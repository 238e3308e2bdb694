//! From exec to a socket that accepts, while Vault is away.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::figures::{Series, millis};
use super::harness::child::clean_environment;
use super::harness::daemon::Daemon;
use super::harness::servers::release_daemon;

const STARTS: usize = 20;
/// Nobody listens on the discard port.
const NO_VAULT: &str = "http://127.0.0.1:9";
const PAUSE: Duration = Duration::from_micros(200);
const LIMIT: Duration = Duration::from_secs(5);

/// Killed when dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The figures as text.
pub(super) fn measured() -> String {
    let mut series = Series::new("exec to socket");
    for _ in 0..STARTS {
        series.add(start());
    }
    let (median, most) = (series.percentile(50), series.percentile(100));
    format!(
        "{} over {STARTS} starts without Vault\n\n{:<22}{:>10}   (goal: at most 20 ms)\n{:<22}{:>10}",
        series.name(),
        "median",
        millis(median),
        "longest",
        millis(most),
    )
}

/// Not through the harness: its cradle, a shell, would be measured too.
fn start() -> Duration {
    let builder = Daemon::builder()
        .vault(NO_VAULT)
        .transit("transit", "kms")
        .token("hvs.nobody")
        .extra("[log]\nlevel = \"info\"");
    let config = builder.write_file("config.toml", &builder.config_text());
    let mut command = Command::new(release_daemon());
    command.arg("serve").arg("--config").arg(config);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    clean_environment(&mut command);
    let begun = Instant::now();
    let _started = Started(command.spawn().expect("the daemon can be started"));
    wait_for(builder.socket(), begun);
    begun.elapsed()
}

fn wait_for(socket: &Path, begun: Instant) {
    while UnixStream::connect(socket).is_err() {
        assert!(begun.elapsed() < LIMIT, "no socket within {LIMIT:?}");
        sleep(PAUSE);
    }
}
