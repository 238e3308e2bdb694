//! The queue of records, and the thread that writes them. Logging never waits.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::output::Output;
use super::record::Record;
use crate::telemetry::events;
use crate::telemetry::log_throttle::LogThrottle;
use crate::telemetry::settings::Format;

/// Records that may wait for a stalled reader; the next ones are dropped and counted.
const QUEUE: usize = if cfg!(miri) { 64 } else { 4096 };
/// How often the thread looks for a reader that is gone.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Dropped lines are reported at most this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the process waits until what is queued is written.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

thread_local! {
    /// On the log thread: the events of its own. They must not depend on space in the queue.
    static OWN: RefCell<Option<Vec<Record>>> = const { RefCell::new(None) };
}

/// Copies each event into the queue.
pub(in crate::telemetry) struct QueueLayer {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

/// Changes the format of the lines while the process runs.
#[derive(Debug, Clone)]
pub(in crate::telemetry) struct Formats(Arc<Shared>);

/// The running thread. When dropped, it waits until what is queued is written, up to
/// [`FLUSH_LIMIT`].
#[derive(Debug)]
pub(in crate::telemetry) struct Writer {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    finished: Mutex<Receiver<()>>,
}

enum Message {
    Record(Record),
    /// Wakes the thread, which then reports that lines were dropped.
    Dropped,
    /// Wakes the thread, which then sees that it has to stop.
    Stop,
}

#[derive(Debug)]
struct Shared {
    format: Mutex<Format>,
    dropped: AtomicU64,
    stopping: AtomicBool,
}

/// What the thread works with.
pub(super) struct Worker {
    queue: Receiver<Message>,
    shared: Arc<Shared>,
    /// Disconnects when the thread ends.
    _finished: Sender<()>,
    open: Open,
    format: Format,
    output: Box<dyn Output>,
    reports: LogThrottle,
}

/// Makes the output for a format.
type Open = Box<dyn Fn(Format) -> Box<dyn Output> + Send>;

/// A queue, and what empties it.
pub(super) fn new(format: Format, open: Open) -> (QueueLayer, Formats, Writer, Worker) {
    let (queue, records) = sync_channel(QUEUE);
    let (running, finished) = channel();
    let shared = Arc::new(Shared {
        format: Mutex::new(format),
        dropped: AtomicU64::new(0),
        stopping: AtomicBool::new(false),
    });
    let layer = QueueLayer {
        queue: queue.clone(),
        shared: shared.clone(),
    };
    let writer = Writer {
        queue,
        shared: shared.clone(),
        finished: Mutex::new(finished),
    };
    let worker = Worker {
        queue: records,
        shared: shared.clone(),
        _finished: running,
        output: open(format),
        open,
        format,
        reports: LogThrottle::new(REPORT_INTERVAL),
    };
    (layer, Formats(shared), writer, worker)
}

/// Runs the worker on a thread of its own.
pub(super) fn spawn(worker: Worker) -> io::Result<()> {
    let thread = thread::Builder::new().name("log".to_owned());
    thread.spawn(move || worker.run()).map(drop)
}

impl<S: Subscriber> Layer<S> for QueueLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let record = Record::of(event);
        let other = OWN.with_borrow_mut(|own| match own {
            Some(own) => {
                own.push(record);
                None
            }
            None => Some(record),
        });
        if let Some(record) = other
            && self.queue.try_send(Message::Record(record)).is_err()
        {
            self.count_dropped();
        }
    }
}

impl QueueLayer {
    /// Counts a line for which there was no space. The thread may have emptied the queue meanwhile, have found that
    /// nothing was dropped, and wait for the next line. Sequentially consistent: if there is no space for the message
    /// either, the thread sees the number once it has emptied the queue.
    fn count_dropped(&self) {
        if self.shared.dropped.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = self.queue.try_send(Message::Dropped);
        }
    }
}

impl Formats {
    /// Writes in this format from the next record on.
    pub(in crate::telemetry) fn set(&self, format: Format) {
        *self.0.format.lock().unwrap_or_else(PoisonError::into_inner) = format;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        // A full queue needs no wake-up: the thread is running and sees the flag.
        let _ = self.queue.try_send(Message::Stop);
        let finished = self
            .finished
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let _ = finished.recv_timeout(FLUSH_LIMIT);
    }
}

impl Worker {
    /// Writes records until the process ends.
    pub(super) fn run(mut self) {
        OWN.set(Some(Vec::new()));
        loop {
            match self.next() {
                Ok(Message::Record(record)) => {
                    if self.write(&record) {
                        self.report();
                    } else {
                        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Message::Dropped) => self.report(),
                Err(RecvTimeoutError::Timeout) if !self.is_stopping() => self.report(),
                Ok(Message::Stop) | Err(_) => return,
            }
        }
    }

    fn next(&self) -> Result<Message, RecvTimeoutError> {
        if self.is_stopping() {
            return self.queue.recv_timeout(Duration::ZERO);
        }
        match self.shared.dropped.load(Ordering::SeqCst) {
            0 => {
                let message = self.queue.recv();
                message.map_err(|_| RecvTimeoutError::Disconnected)
            }
            _ => self.queue.recv_timeout(REPORT_INTERVAL),
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Relaxed)
    }

    /// Reports how many lines were dropped, once the reader reads again.
    fn report(&mut self) {
        let has_dropped = self.shared.dropped.load(Ordering::SeqCst) > 0;
        if !has_dropped || self.reports.allow(false, Instant::now()).is_none() {
            return;
        }
        let count = self.shared.dropped.swap(0, Ordering::SeqCst);
        events::LinesDropped { count }.emit();
        let own = OWN.with_borrow_mut(|own| own.as_mut().map(std::mem::take));
        for record in own.into_iter().flatten() {
            if !self.write(&record) {
                self.shared.dropped.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Writes a record once there is a reader. Returns `false` if the process ends before.
    fn write(&mut self, record: &Record) -> bool {
        loop {
            self.follow_format();
            if self.output.is_ready() {
                self.output.write(record);
                return true;
            }
            if self.is_stopping() {
                return false;
            }
            thread::sleep(RETRY_INTERVAL);
        }
    }

    /// Opens another output if a reload changed the format.
    fn follow_format(&mut self) {
        let format = self.shared.format.lock();
        let format = *format.unwrap_or_else(PoisonError::into_inner);
        if format != self.format {
            self.output = (self.open)(format);
            self.format = format;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::os::unix::net::UnixDatagram;
    use std::path::{Path, PathBuf};

    use tracing::Dispatch;
    use tracing::dispatcher::with_default;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Sends the text of each event to a socket, with the number of dropped lines.
    struct Socket(PathBuf);

    /// Sends it to a channel, from when there is a reader.
    struct Memory {
        has_reader: Arc<AtomicBool>,
        lines: Sender<String>,
    }

    struct Text(String);

    impl Output for Memory {
        fn is_ready(&mut self) -> bool {
            self.has_reader.load(Ordering::Relaxed)
        }

        fn write(&mut self, record: &Record) {
            let _ = self.lines.send(text_of(record));
        }
    }

    impl Output for Socket {
        fn is_ready(&mut self) -> bool {
            let socket = UnixDatagram::unbound().expect("a socket");
            socket.connect(&self.0).is_ok()
        }

        fn write(&mut self, record: &Record) {
            let socket = UnixDatagram::unbound().expect("a socket");
            let _ = socket.send_to(text_of(record).as_bytes(), &self.0);
        }
    }

    fn text_of(record: &Record) -> String {
        let mut text = Text(String::new());
        record.replay(|event| event.record(&mut text));
        text.0
    }

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0 += &format!("{}={value:?} ", field.name());
        }
    }

    /// A log whose lines go to this socket.
    fn start(path: &Path) -> (Dispatch, Writer) {
        let path = path.to_owned();
        run(move || Socket(path.clone()))
    }

    fn run<O: Output + 'static>(open: impl Fn() -> O + Send + 'static) -> (Dispatch, Writer) {
        let open = Box::new(move |_| -> Box<dyn Output> { Box::new(open()) });
        let (layer, _, writer, worker) = new(Format::Json, open);
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        let of_worker = dispatch.clone();
        thread::spawn(move || with_default(&of_worker, || worker.run()));
        (dispatch, writer)
    }

    fn log(dispatch: &Dispatch, line: &str) {
        with_default(dispatch, || tracing::debug!("{line}"));
    }

    fn reader(path: &Path) -> UnixDatagram {
        let reader = UnixDatagram::bind(path).expect("a path");
        reader.set_read_timeout(Some(LIMIT)).expect("a socket");
        reader
    }

    fn next(reader: &UnixDatagram) -> String {
        let mut line = vec![0; 4096];
        let length = reader.recv(&mut line).expect("a line");
        String::from_utf8_lossy(&line[..length]).into_owned()
    }

    #[test]
    fn a_stalled_reader_delays_nobody_and_learns_how_much_it_missed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("reader");
        let stalled = reader(&path);
        let (dispatch, _writer) = start(&path);
        let begin = Instant::now();
        let lines = 3 * QUEUE;
        for _ in 0..lines {
            log(&dispatch, "line");
        }
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        let (mut taken, mut lost) = (0, 0);
        while taken + lost < lines {
            let line = next(&stalled);
            match count_of(&line) {
                Some(count) => {
                    assert!(line.contains("message=log lines were dropped"), "{line}");
                    lost += count;
                }
                None => taken += 1,
            }
        }
        assert_eq!(taken + lost, lines);
        assert!(lost >= QUEUE, "{lost}");
    }

    /// The number of dropped lines in a line that reports it.
    fn count_of(line: &str) -> Option<usize> {
        let (_, rest) = line.split_once("count=")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// Also run by Miri, whose memory is weaker than that of most processors.
    #[test]
    fn each_line_of_several_threads_is_written_in_its_order_or_counted_once() {
        const THREADS: usize = 3;
        const LINES: usize = QUEUE / 2;
        let (lines, written) = channel();
        let has_reader = Arc::new(AtomicBool::new(false));
        let reads = has_reader.clone();
        let (dispatch, _writer) = run(move || Memory {
            has_reader: reads.clone(),
            lines: lines.clone(),
        });
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let dispatch = &dispatch;
                scope.spawn(move || {
                    for number in 0..LINES {
                        log(dispatch, &format!("{thread} {number}"));
                    }
                });
            }
        });
        has_reader.store(true, Ordering::Relaxed);
        let (mut taken, mut lost) = (0, 0);
        let mut next = [0; THREADS];
        while taken + lost < THREADS * LINES {
            let line = written.recv_timeout(LIMIT).expect("a line");
            if let Some(count) = count_of(&line) {
                lost += count;
                continue;
            }
            taken += 1;
            let mut numbers = line.trim_start_matches("message=").split_whitespace();
            let mut number = || numbers.next().expect("a number").parse().expect("a number");
            let (thread, number): (usize, usize) = (number(), number());
            assert!(number >= next[thread], "{line}");
            next[thread] = number + 1;
        }
        assert_eq!(taken + lost, THREADS * LINES);
        assert!(lost > 0 && taken >= QUEUE, "{taken} {lost}");
    }

    /// Its thread was interrupted between the attempt to queue it and its counting.
    #[test]
    fn a_line_that_is_counted_once_the_queue_is_empty_is_reported_without_another_line() {
        let (lines, written) = channel();
        let open = Box::new(move |_| -> Box<dyn Output> {
            Box::new(Memory {
                has_reader: Arc::new(AtomicBool::new(true)),
                lines: lines.clone(),
            })
        });
        let (layer, _, _writer, worker) = new(Format::Json, open);
        let interrupted = QueueLayer {
            queue: layer.queue.clone(),
            shared: layer.shared.clone(),
        };
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        let of_worker = dispatch.clone();
        thread::spawn(move || with_default(&of_worker, || worker.run()));
        log(&dispatch, "before");
        assert_eq!(
            written.recv_timeout(LIMIT).as_deref(),
            Ok("message=before ")
        );
        // Nothing shows that the thread waits for a line; it does a moment later.
        thread::sleep(Duration::from_millis(100));
        interrupted.count_dropped();
        let report = written.recv_timeout(LIMIT).expect("a report");
        assert_eq!(count_of(&report), Some(1), "{report}");
    }

    #[test]
    fn lines_wait_for_a_reader_that_comes_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("reader");
        let (dispatch, _writer) = start(&path);
        log(&dispatch, "early");
        let late = reader(&path);
        assert_eq!(next(&late), "message=early ");
    }

    #[test]
    fn the_end_of_the_process_writes_what_waits_but_does_not_wait_for_a_stalled_reader() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("reader");
        let reading = reader(&path);
        let (dispatch, writer) = start(&path);
        log(&dispatch, "last");
        drop(writer);
        assert_eq!(next(&reading), "message=last ");

        let gone = dir.path().join("gone");
        let (dispatch, writer) = start(&gone);
        log(&dispatch, "lost");
        let begin = Instant::now();
        drop(writer);
        assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
    }
}
