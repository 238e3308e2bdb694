//! Notifications for systemd: `sd_notify(3)`. Without `NOTIFY_SOCKET` nothing is sent.
//!
//! The crate formats the messages; they are sent here, for two reasons. Sending must not block: a busy
//! PID 1 would delay the caller. And the crate takes an abstract `NOTIFY_SOCKET` (`@name`) for a path.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

use super::{bounded, one_line};

/// Where systemd listens: a path, or `@` and an abstract name.
const SOCKET: &str = "NOTIFY_SOCKET";
/// systemd reads datagrams of 4 KiB; a status is one line on a terminal.
const MAX_STATUS: usize = 1024;
/// How soon a message is sent again that systemd did not take, because its queue was full.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Returns whether systemd listens.
#[must_use]
pub fn is_wanted() -> bool {
    address().is_some()
}

/// The process serves: sent at the start, and after each [`reloading`].
pub fn ready() {
    send_surely(&[NotifyState::Ready, NotifyState::Watchdog]);
}

/// A reload begins and ends within this time; [`ready`] must follow, whatever its outcome.
pub fn reloading(within: Duration) {
    // The time shows systemd that this answers its signal and not an older one.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send_surely(&[NotifyState::Reloading, now, longer(within)]),
        Err(error) => debug!(%error, "cannot notify systemd of a reload"),
    }
}

/// The reload ends within this time from now. Has to be repeated: systemd's timeout for a reload
/// (`TimeoutStartSec=`) restarts when the command that sent the signal has ended.
pub fn still_reloading(within: Duration) {
    send(&[longer(within)]);
}

/// The process ends within this time; systemd waits that long, whatever its own limit.
pub fn stopping(within: Duration) {
    // The Supervisor notifies no watchdog while it drains, so the drain's limit applies to it too.
    send_surely(&[NotifyState::Stopping, longer(within), NotifyState::Watchdog]);
}

fn longer(within: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(within.as_micros()).unwrap_or(u32::MAX))
}

/// The status line of `systemctl status`.
pub fn status(line: &str) {
    send(&[NotifyState::Status(&status_text(line))]);
}

/// The process is alive. Has to be sent every [`watchdog_period`].
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`alive`] has to be sent: half of what `WatchdogSec=` allows. Returns `None` without a
/// watchdog.
#[must_use]
pub fn watchdog_period() -> Option<Duration> {
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    limit.filter(|_| is_wanted()).map(|limit| limit / 2)
}

/// A message that is superseded by the next one: only logs a failure.
fn send(states: &[NotifyState<'_>]) {
    if let Some(address) = address()
        && let Err(error) = send_to(&address, message_of(states).as_bytes())
    {
        debug!(%error, "cannot notify systemd");
    }
}

/// A message that systemd waits for. If its queue is full, a thread sends it as soon as it is not,
/// and every later one after it.
fn send_surely(states: &[NotifyState<'_>]) {
    static LATER: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
    let Some(address) = address() else { return };
    let message = message_of(states);
    let mut later = LATER.lock().unwrap_or_else(PoisonError::into_inner);
    if later.is_empty() {
        match send_to(&address, message.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return debug!(%error, "cannot notify systemd"),
            Ok(()) => return,
        }
    }
    later.push_back(message);
    if later.len() == 1 {
        let thread = thread::Builder::new().name("notify".to_owned());
        let sent = thread.spawn(move || send_later(&address, &LATER));
        if let Err(error) = sent {
            debug!(%error, "cannot notify systemd");
            later.clear();
        }
    }
}

/// Sends what is queued, in order, until nothing is left.
fn send_later(address: &OsStr, queue: &Mutex<VecDeque<String>>) {
    let queue = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some(message) = queue().front().cloned() else {
            return;
        };
        match send_to(address, message.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(RETRY_INTERVAL);
                continue;
            }
            Err(error) => debug!(%error, "cannot notify systemd"),
            Ok(()) => {}
        }
        let mut queue = queue();
        queue.pop_front();
        if queue.is_empty() {
            return;
        }
    }
}

fn address() -> Option<OsString> {
    std::env::var_os(SOCKET).filter(|address| !address.is_empty())
}

fn message_of(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
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
    bounded(&one_line(text), MAX_STATUS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abstract_socket_works_like_a_path() {
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
    fn a_listener_that_reads_nothing_blocks_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let _stalled = UnixDatagram::bind(&path).expect("a path");
        let full = (0..100_000).find_map(|_| send_to(path.as_os_str(), &[b'x'; 512]).err());
        assert_eq!(full.map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        assert_eq!(status_text("a\nMAINPID=1\r"), "a MAINPID=1 ");
        let long = status_text(&"ä".repeat(1000));
        assert!(long.len() <= MAX_STATUS && long.len() > MAX_STATUS - 4);
    }
}
