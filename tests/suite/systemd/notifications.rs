//! The notifications on `NOTIFY_SOCKET`. systemd itself is in `service`.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::process::Signal;

use super::super::harness::daemon::{Builder, Daemon};
use super::super::harness::wait;
use super::LIMIT;

/// The service manager's end of the line.
struct Manager(UnixDatagram);

impl Manager {
    fn at(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// Waits for a message with `text` in it.
    async fn heard(&self, text: &str) -> String {
        wait::until(text, LIMIT, async || {
            let mut message = [0; 4096];
            let length = self.0.recv(&mut message).ok()?;
            let message = String::from_utf8_lossy(&message[..length]).into_owned();
            message.contains(text).then_some(message)
        })
        .await
    }
}

/// Vault is nowhere: being ready does not depend on it.
fn daemon() -> Builder {
    Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x")
}

async fn a_lifecycle_is_notified_to_an_abstract_socket() {
    let name = format!("manager-{:x}", fastrand::u64(..));
    let manager = Manager::at(&SocketAddr::from_abstract_name(&name).unwrap());
    let limit = Duration::from_secs(2).as_micros().to_string();
    let daemon = daemon()
        .env("NOTIFY_SOCKET", &format!("@{name}"))
        .env("WATCHDOG_USEC", &limit)
        .spawn()
        .await;
    manager.heard("READY=1\n").await;
    manager
        .heard("STATUS=no key proven yet; not logged in")
        .await;
    for _ in 0..3 {
        manager.heard("WATCHDOG=1\n").await;
    }
    daemon.signal(Signal::TERM);
    let last = manager.heard("STOPPING=1\n").await;
    assert!(last.contains("EXTEND_TIMEOUT_USEC="), "{last}");
    assert_eq!(daemon.wait_exit(LIMIT).await, 0);
}

async fn a_reload_extends_its_timeout_for_the_validation() {
    let name = format!("manager-{:x}", fastrand::u64(..));
    let manager = Manager::at(&SocketAddr::from_abstract_name(&name).unwrap());
    // Connections to it are made, and nothing ever answers.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", hanging.local_addr().unwrap());
    let daemon = daemon()
        .env("NOTIFY_SOCKET", &format!("@{name}"))
        .spawn()
        .await;
    manager.heard("READY=1\n").await;
    daemon.change_config(&format!("[vault]\naddress = {address:?}"));
    daemon.signal(Signal::HUP);
    let first = manager.heard("RELOADING=1\n").await;
    assert!(first.contains("MONOTONIC_USEC="), "{first}");
    let asked = |message: &str| {
        let micros = message
            .lines()
            .find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
        Duration::from_micros(micros.unwrap().parse().unwrap())
    };
    // The trial takes ten seconds at most.
    assert!(asked(&first) > Duration::from_secs(10), "{first}");
    for _ in 0..2 {
        let more = manager.heard("EXTEND_TIMEOUT_USEC=").await;
        assert!(!more.contains("READY"), "{more}");
        assert!(asked(&more) > Duration::from_secs(10), "{more}");
    }
    manager.heard("READY=1\n").await;
    daemon.logged("configuration rejected").await;
    assert_eq!(daemon.stop().await, 0);
}

async fn a_manager_that_is_busy_hears_of_the_start_and_the_end() {
    let name = format!("manager-{:x}", fastrand::u64(..));
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::at(&address);
    let busy = UnixDatagram::unbound().unwrap();
    busy.set_nonblocking(true).unwrap();
    let fill = || while busy.send_to_addr(b"X=1\n", &address).is_ok() {};
    fill();
    let daemon = daemon()
        .env("NOTIFY_SOCKET", &format!("@{name}"))
        .spawn()
        .await;
    daemon.logged("listening").await;
    manager.heard("READY=1\n").await;
    fill();
    daemon.change_config("[limits]\nmax_waiting = 7");
    daemon.signal(Signal::HUP);
    daemon.logged("configuration reloaded").await;
    manager.heard("RELOADING=1\n").await;
    manager.heard("READY=1\n").await;
    assert_eq!(daemon.stop().await, 0);
}

async fn nothing_is_sent_or_logged_without_a_manager() {
    let daemon = daemon().env("WATCHDOG_USEC", "1000000").spawn().await;
    daemon.logged("listening").await;
    assert_eq!(daemon.stop().await, 0);
    assert!(!daemon.log().contains("systemd"), "{}", daemon.log());
}

async fn a_missing_manager_does_not_stop_the_daemon() {
    let builder = daemon();
    let gone = builder.dir().join("gone").display().to_string();
    let daemon = builder.env("NOTIFY_SOCKET", &gone).spawn().await;
    daemon.logged("cannot notify systemd").await;
    assert_eq!(daemon.stop().await, 0);
}

tests! {
    single a_lifecycle_is_notified_to_an_abstract_socket;
    single a_reload_extends_its_timeout_for_the_validation;
    single a_manager_that_is_busy_hears_of_the_start_and_the_end;
    single nothing_is_sent_or_logged_without_a_manager;
    single a_missing_manager_does_not_stop_the_daemon;
}
