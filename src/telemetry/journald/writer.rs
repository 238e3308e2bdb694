//! The queue before the journal, and the thread that empties it. Whoever logs never waits.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::record;

/// Lines that may wait for a stalled journal; the next ones are dropped and counted.
const QUEUE: usize = 4096;
/// How long the thread is blocked before it looks whether the process ends.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);
/// A journal that is gone is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// A journal that is always too slow is told so no more often than this.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// What waits at the end of the process gets this long.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// A thread can be joined, but not with a limit.
const FLUSH_LOOK: Duration = Duration::from_millis(5);

/// Where lines go in.
pub(super) struct Queue {
    lines: SyncSender<Message>,
    shared: Arc<Shared>,
}

/// The thread; when dropped, what waits is written, for a moment.
#[derive(Debug)]
pub(in crate::telemetry) struct Writer {
    lines: SyncSender<Message>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Stop,
}

#[derive(Debug, Default)]
struct Shared {
    dropped: AtomicU64,
    stopping: AtomicBool,
}

/// The thread's side.
struct Outlet {
    socket: UnixDatagram,
    path: PathBuf,
    shared: Arc<Shared>,
    reported: Option<Instant>,
}

pub(super) fn start(path: &Path) -> io::Result<(Queue, Writer)> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    let (lines, waiting) = sync_channel(QUEUE);
    let shared = Arc::new(Shared::default());
    let mut outlet = Outlet {
        socket,
        path: path.to_owned(),
        shared: shared.clone(),
        reported: None,
    };
    let thread = thread::Builder::new().name("log".to_owned());
    let thread = thread.spawn(move || outlet.empty(&waiting))?;
    let queue = Queue {
        lines: lines.clone(),
        shared: shared.clone(),
    };
    let writer = Writer {
        lines,
        shared,
        thread,
    };
    Ok((queue, writer))
}

impl Queue {
    /// Takes a line, or counts it as dropped.
    pub(super) fn push(&self, line: Vec<u8>) {
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        // A full queue needs no waking: the thread is at work and sees the flag.
        let _ = self.lines.try_send(Message::Stop);
        let begin = Instant::now();
        while !self.thread.is_finished() && begin.elapsed() < FLUSH_LIMIT {
            thread::sleep(FLUSH_LOOK);
        }
    }
}

impl Outlet {
    /// Until the process ends.
    fn empty(&mut self, waiting: &Receiver<Message>) {
        loop {
            let message = match self.shared.dropped.load(Ordering::Relaxed) {
                0 => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                _ => waiting.recv_timeout(REPORT_EVERY),
            };
            match message {
                Ok(Message::Line(line)) if self.deliver(&line) => self.report(),
                Ok(Message::Line(_)) => {
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => self.report(),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Says how many lines were lost, once the journal works again.
    fn report(&mut self) {
        let lately = self.reported.is_some_and(|at| at.elapsed() < REPORT_EVERY);
        if lately || self.shared.dropped.load(Ordering::Relaxed) == 0 {
            return;
        }
        let count = self.shared.dropped.swap(0, Ordering::Relaxed);
        self.reported = Some(Instant::now());
        if !self.deliver(&record::of_dropped(count)) {
            self.shared.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Hands a line over, however long the journal takes; whether it was taken.
    fn deliver(&self, line: &[u8]) -> bool {
        loop {
            let Err(error) = self.socket.send_to(line, &self.path) else {
                return true;
            };
            match error.kind() {
                // Stalled: the timeout was the wait.
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                // Gone, or just starting again.
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => thread::sleep(LOOK_AGAIN),
                // This line can never be sent: it is too long, say.
                _ => return false,
            }
            if self.shared.stopping.load(Ordering::Relaxed) {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn journal(path: &Path) -> UnixDatagram {
        let journal = UnixDatagram::bind(path).expect("a path");
        journal.set_read_timeout(Some(LIMIT)).expect("a socket");
        journal
    }

    fn next(journal: &UnixDatagram) -> Vec<u8> {
        let mut line = vec![0; 4096];
        let length = journal.recv(&mut line).expect("a line");
        line.truncate(length);
        line
    }

    #[test]
    fn a_stalled_journal_delays_nobody_and_learns_how_much_it_missed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let stalled = journal(&path);
        let (queue, _writer) = start(&path).expect("a thread");
        let begin = Instant::now();
        let lines = 3 * QUEUE;
        for _ in 0..lines {
            queue.push(b"line".to_vec());
        }
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        let (mut taken, mut lost) = (0, 0);
        while taken + lost < lines {
            let line = String::from_utf8_lossy(&next(&stalled)).into_owned();
            match line.split_once("dropped count=") {
                Some((_, rest)) => {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    lost += digits.parse::<usize>().expect("a number");
                }
                None => taken += 1,
            }
        }
        assert_eq!(taken + lost, lines);
        assert!(lost >= QUEUE, "{lost}");
    }

    #[test]
    fn lines_wait_for_a_journal_that_comes_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let (queue, _writer) = start(&path).expect("a thread");
        queue.push(b"early".to_vec());
        let late = journal(&path);
        assert_eq!(next(&late), b"early");
    }

    #[test]
    fn the_end_of_the_process_writes_what_waits_but_does_not_wait_for_a_stalled_journal() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        let reading = journal(&path);
        let (queue, writer) = start(&path).expect("a thread");
        queue.push(b"last".to_vec());
        drop(writer);
        assert_eq!(next(&reading), b"last");

        let gone = dir.path().join("gone");
        let (queue, writer) = start(&gone).expect("a thread");
        queue.push(b"lost".to_vec());
        let begin = Instant::now();
        drop(writer);
        assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
    }
}
