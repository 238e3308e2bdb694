//! What systemd is told of the process: `sd_notify(3)`. Where `NOTIFY_SOCKET` is unset, nothing is
//! sent and nothing is said.
//!
//! The words are the crate's; the sending is our own, for two reasons. It must not block: a PID 1
//! that is busy would hold up who only wanted to say that all is well. And the crate takes an
//! abstract `NOTIFY_SOCKET` (`@name`) for a path.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

use super::one_line;

/// Where systemd listens: a path, or `@` and an abstract name.
const SOCKET: &str = "NOTIFY_SOCKET";
/// systemd reads datagrams of 4 KiB; a status is one line on a terminal.
const STATUS_MOST: usize = 1024;

/// Whether anybody listens.
#[must_use]
pub fn is_wanted() -> bool {
    std::env::var_os(SOCKET).is_some_and(|address| !address.is_empty())
}

/// The process serves: at its start, and again after [`reloading`].
pub fn ready() {
    send(&[NotifyState::Ready, NotifyState::Watchdog]);
}

/// The configuration is read again, within this time; [`ready`] has to follow, whatever comes of it.
pub fn reloading(within: Duration) {
    // The time tells systemd that this answers its signal and not an older one.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now, longer(within)]),
        Err(error) => debug!(%error, "cannot tell systemd of a reload"),
    }
}

/// The reload takes this much longer at most. To be said now and then: systemd's clock for a reload
/// (`TimeoutStartSec=`) starts again when the command that sent the signal has ended.
pub fn still_reloading(within: Duration) {
    send(&[longer(within)]);
}

/// The process ends by itself within this time; systemd waits for so long, whatever its own limit.
pub fn stopping(within: Duration) {
    // The drain is the last that is heard of the Supervisor, so its limit is the watchdog's too.
    send(&[NotifyState::Stopping, longer(within), NotifyState::Watchdog]);
}

fn longer(within: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(within.as_micros()).unwrap_or(u32::MAX))
}

/// How things are, in one line for `systemctl status`.
pub fn status(line: &str) {
    send(&[NotifyState::Status(&status_text(line))]);
}

/// The process is alive. Has to be said every [`watchdog_period`].
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`alive`] has to be said: half of what `WatchdogSec=` allows. `None` where nobody
/// watches.
#[must_use]
pub fn watchdog_period() -> Option<Duration> {
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    limit.filter(|_| is_wanted()).map(|limit| limit / 2)
}

/// A message that is lost is no reason to stop: systemd's own limits decide then.
fn send(states: &[NotifyState<'_>]) {
    let Some(address) = std::env::var_os(SOCKET).filter(|address| !address.is_empty()) else {
        return;
    };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    if let Err(error) = send_to(&address, message.as_bytes()) {
        debug!(%error, "cannot notify systemd");
    }
}

fn send_to(address: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &address).map(drop)
}

/// One line of bounded length: a line break would end the field and begin another one.
fn status_text(text: &str) -> String {
    let mut line = one_line(text);
    while line.len() > STATUS_MOST {
        line.pop();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abstract_socket_is_reached_as_a_path_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let name = format!("vault-kms-plugin-{:x}", fastrand::u64(..));
        let abstract_address = SocketAddr::from_abstract_name(&name).expect("a name");
        let at_path = UnixDatagram::bind(&path).expect("a path");
        let at_name = UnixDatagram::bind_addr(&abstract_address).expect("a name");
        for (listener, address) in [
            (at_path, path.into_os_string()),
            (at_name, format!("@{name}").into()),
        ] {
            send_to(&address, b"READY=1\n").expect("sent");
            let mut message = [0; 64];
            let length = listener.recv(&mut message).expect("received");
            assert_eq!(&message[..length], b"READY=1\n");
        }
    }

    #[test]
    fn a_listener_that_reads_nothing_holds_nobody_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let _stalled = UnixDatagram::bind(&path).expect("a path");
        let full = (0..100_000).find_map(|_| send_to(path.as_os_str(), &[b'x'; 512]).err());
        assert_eq!(full.map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        assert_eq!(status_text("a\nMAINPID=1\r"), "a MAINPID=1 ");
        assert_eq!(status_text(&"ä".repeat(1000)).len(), STATUS_MOST);
    }
}
