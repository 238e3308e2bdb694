//! The socket: its mode, a stale one, one in use, a file that is no socket, and its removal.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use super::LIMIT;
use super::harness::daemon::{Builder, Daemon};
use super::harness::wait;

/// The socket is there long before anybody is logged in, so no Vault is needed here.
fn nowhere() -> Builder {
    Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x")
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

async fn only_its_owner_may_use_it_and_it_goes_with_the_daemon() {
    let daemon = nowhere().spawn().await;
    let mode = std::fs::metadata(daemon.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
    let beside: Vec<_> = std::fs::read_dir(daemon.socket().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(beside.is_empty(), "temporary names are left: {beside:?}");
    assert_eq!(daemon.stop().await, 0);
    assert!(!daemon.socket().exists());
}

async fn mode_owner_and_group_are_set() {
    let daemon = nowhere()
        .extra("[socket]\nmode = \"0660\"\ngroup = \"daemon\"\nowner = \"1\"")
        .spawn()
        .await;
    let metadata = std::fs::metadata(daemon.socket()).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o660);
    // 1 or 2, by distribution.
    let group = nix::unistd::Group::from_name("daemon").unwrap().unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (1, group.gid.as_raw()));
}

async fn a_stale_socket_is_replaced() {
    let builder = nowhere();
    drop(UnixListener::bind(builder.socket()).unwrap());
    assert!(is_socket(builder.socket()));
    let daemon = builder.spawn().await;
    UnixStream::connect(daemon.socket()).unwrap();
}

async fn the_socket_of_a_killed_daemon_is_replaced() {
    let daemon = nowhere().spawn().await;
    daemon.kill();
    assert!(is_socket(daemon.socket()));
    daemon.restart().await;
    UnixStream::connect(daemon.socket()).unwrap();
}

async fn a_socket_in_use_is_not_replaced() {
    let first = nowhere().spawn().await;
    let socket = first.socket().to_str().unwrap();
    let second = nowhere().listen(socket).spawn_raw();
    assert_eq!(second.wait_exit(LIMIT).await, 69);
    assert!(second.log().contains("already serves"), "{}", second.log());
    UnixStream::connect(first.socket()).unwrap();
}

async fn a_file_that_is_no_socket_is_never_changed() {
    let builder = nowhere();
    std::fs::write(builder.socket(), "precious").unwrap();
    let daemon = builder.spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    assert!(daemon.log().contains("is no socket"), "{}", daemon.log());
    assert_eq!(
        std::fs::read_to_string(daemon.socket()).unwrap(),
        "precious"
    );
}

async fn a_socket_that_another_process_replaced_is_not_removed() {
    let daemon = nowhere().spawn().await;
    std::fs::remove_file(daemon.socket()).unwrap();
    let _other = UnixListener::bind(daemon.socket()).unwrap();
    assert_eq!(daemon.stop().await, 0);
    assert!(is_socket(daemon.socket()));
}

async fn a_missing_directory_is_reported() {
    let builder = nowhere();
    let lost = builder.dir().join("missing/kms.sock");
    let daemon = builder.listen(lost.to_str().unwrap()).spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 69);
    assert!(
        daemon.log().contains("create its directory first"),
        "{}",
        daemon.log()
    );
}

async fn an_abstract_socket_works() {
    let builder = nowhere();
    let name = format!("@vault-kms-plugin-test-{}", std::process::id());
    let state = format!("[state]\ndir = \"{}\"", builder.dir().display());
    let daemon = builder.listen(&name).extra(&state).spawn().await;
    let second = nowhere().listen(&name).extra(&state).spawn_raw();
    assert_eq!(second.wait_exit(LIMIT).await, 69);
    assert_eq!(daemon.stop().await, 0);
}

async fn a_peer_that_is_not_allowed_is_rejected_and_logged_now_and_then() {
    let daemon = nowhere()
        .extra("[socket]\nallow_uids = [4242]")
        .spawn()
        .await;
    let client = super::harness::kms::KmsClient::connect(daemon.socket());
    assert!(client.version_v1().await.is_err());
    daemon.logged("rejected a connection").await;
    for _ in 0..500 {
        UnixStream::connect(daemon.socket()).unwrap();
    }
    let second = wait::until("another line", LIMIT, async || {
        UnixStream::connect(daemon.socket()).unwrap();
        refusals(&daemon).into_iter().nth(1)
    });
    let second = second.await;
    let [pid, uid, gid, more] =
        ["pid", "uid", "gid", "suppressed"].map(|name| second[name].as_u64());
    assert_eq!(pid, Some(u64::from(std::process::id())), "{second}");
    assert_eq!((uid, gid), (Some(getuid()), Some(getgid())), "{second}");
    assert!(more >= Some(500), "{second}");
    assert!(refusals(&daemon).len() <= 3, "{}", daemon.log());
}

fn refusals(daemon: &Daemon) -> Vec<serde_json::Value> {
    let mut lines = daemon.log_lines();
    lines.retain(|line| {
        line["message"]
            .as_str()
            .is_some_and(|it| it.starts_with("rejected a"))
    });
    lines
}

fn getuid() -> u64 {
    u64::from(rustix::process::getuid().as_raw())
}

fn getgid() -> u64 {
    u64::from(rustix::process::getgid().as_raw())
}

/// A socket whose owner accepts nothing, with a full queue: as that of a stopped process.
fn unresponsive(path: &Path) -> Vec<OwnedFd> {
    let flags = SocketFlags::NONBLOCK;
    let socket = || socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let address = SocketAddrUnix::new(path).unwrap();
    let mut held = vec![socket()];
    bind(&held[0], &address).unwrap();
    listen(&held[0], 0).unwrap();
    loop {
        let client = socket();
        let connected = connect(&client, &address);
        held.push(client);
        if connected.is_err() {
            return held;
        }
    }
}

async fn a_socket_whose_owner_is_stopped_delays_neither_start_nor_reload() {
    let builder = nowhere();
    let _owner = unresponsive(builder.socket());
    let daemon = builder.spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 69);
    assert!(daemon.log().contains("already serves"), "{}", daemon.log());
    assert!(is_socket(daemon.socket()));

    let daemon = nowhere().spawn().await;
    let other = daemon.dir().join("other.sock");
    let _owner = unresponsive(&other);
    daemon.change_config(&format!("[socket]\npath = {other:?}"));
    daemon.signal(rustix::process::Signal::HUP);
    daemon.logged("configuration rejected").await;
    assert!(daemon.log().contains("already serves"), "{}", daemon.log());
    UnixStream::connect(daemon.socket()).unwrap();
}

async fn a_stale_socket_that_another_process_has_locked_is_not_replaced() {
    let builder = nowhere();
    drop(UnixListener::bind(builder.socket()).unwrap());
    let inode = || std::fs::symlink_metadata(builder.socket()).unwrap().ino();
    let before = inode();
    let lock = std::fs::File::create(builder.dir().join("kms.sock.lock")).unwrap();
    lock.lock().unwrap();
    let second = nowhere().listen(builder.socket().to_str().unwrap());
    let second = second.spawn_raw();
    assert_eq!(second.wait_exit(LIMIT).await, 69);
    let expected = format!(
        "another process has locked {0}.lock and is about to serve {0}",
        builder.socket().display()
    );
    assert!(second.log().contains(&expected), "{}", second.log());
    assert_eq!(inode(), before);
    drop(lock);
    second.start();
    second.wait_listening().await;
}

async fn one_of_several_that_start_together_serves() {
    let first = nowhere();
    drop(UnixListener::bind(first.socket()).unwrap());
    let socket = first.socket().to_str().unwrap().to_owned();
    let all: Vec<_> = (0..6).map(|_| nowhere().listen(&socket)).collect();
    let all: Vec<_> = all.into_iter().map(Builder::spawn_raw).collect();
    let running = wait::until("all but one to end", LIMIT, async || {
        let running: Vec<_> = all.iter().filter(|it| it.exited().is_none()).collect();
        (running.len() <= 1).then_some(running)
    })
    .await;
    assert_eq!(running.len(), 1);
    running[0].wait_listening().await;
    let ended = all.iter().filter_map(Daemon::exited);
    assert_eq!(ended.collect::<Vec<_>>(), [69; 5]);
    assert_eq!(running[0].stop().await, 0);
    assert!(!Path::new(&socket).exists());
}

/// kube-apiserver's user on some distributions.
async fn nobody_is_admitted_with_a_warning_if_listed() {
    let daemon = nowhere()
        .extra("[socket]\nallow_uids = [0, 65534]")
        .spawn()
        .await;
    daemon
        .logged("65534 (nobody) admits every process of that user")
        .await;
}

tests! {
    single a_socket_whose_owner_is_stopped_delays_neither_start_nor_reload;
    single a_stale_socket_that_another_process_has_locked_is_not_replaced;
    single nobody_is_admitted_with_a_warning_if_listed [Root];
    multi one_of_several_that_start_together_serves;
    single only_its_owner_may_use_it_and_it_goes_with_the_daemon;
    single mode_owner_and_group_are_set [Root];
    single a_stale_socket_is_replaced;
    single the_socket_of_a_killed_daemon_is_replaced;
    single a_socket_in_use_is_not_replaced;
    single a_file_that_is_no_socket_is_never_changed;
    single a_socket_that_another_process_replaced_is_not_removed;
    single a_missing_directory_is_reported;
    single an_abstract_socket_works;
    single a_peer_that_is_not_allowed_is_rejected_and_logged_now_and_then;
}
