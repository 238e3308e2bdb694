//! Runs a build that takes minutes, and says so while it does.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const REPORT_EVERY: Duration = Duration::from_secs(15);

/// Runs `command` to its end; panics with its own words if it fails.
pub fn run(name: &str, command: &mut Command) {
    let start = Instant::now();
    say(&format!("building {name}, once"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut process = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut pipe = process.stderr.take().expect("standard error is piped");
    let (finished, ended) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut words = Vec::new();
        // What cannot be read is only missing from the report of a failure.
        let _ = pipe.read_to_end(&mut words);
        let _ = finished.send(());
        words
    });
    while ended.recv_timeout(REPORT_EVERY) == Err(RecvTimeoutError::Timeout) {
        say(&format!(
            "still building {name}, {} s",
            start.elapsed().as_secs()
        ));
    }
    let status = process.wait().expect("a build can be waited for");
    let words = reader.join().unwrap_or_default();
    assert!(
        status.success(),
        "building {name} failed ({status}); {command:?} said:\n{}",
        String::from_utf8_lossy(&words)
    );
    say(&format!("built {name} in {} s", start.elapsed().as_secs()));
}

/// Past libtest's capture, so that a person who waits can see why.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "[tests] {line}");
}
