//! Messages, calls and answers that are too large, never end, or are never read.

use super::*;

async fn messages_over_the_limit_are_refused_and_freed() {
    withstands(|socket| {
        let mut refused = 0;
        for mut raw in crowd(socket, &[]) {
            // As much as the windows allow, and it is announced as five times that.
            let mut bytes = frame(HEADERS, END_HEADERS, 1, &h2::grpc_headers(ENCRYPT));
            let message = h2::encrypt_request(&vec![7; 320 * 1024]);
            for part in message[..48 * 1024].chunks(16 * 1024) {
                bytes.extend(frame(DATA, 0, 1, part));
            }
            raw.send(&bytes).unwrap();
            refused += usize::from(answered(&mut raw, 1).is_some());
        }
        assert_eq!(refused, OTHERS);
    })
    .await;
}

/// Whether this stream was answered, or reset, before the server's patience or ours ended.
fn answered(raw: &mut Raw, stream: u32) -> Option<u8> {
    loop {
        let frame = raw.frame().ok()??;
        if frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM) {
            return Some(frame.kind);
        }
        if frame.kind == GOAWAY {
            return None;
        }
    }
}

/// Reads until so many calls were answered, or the server is gone.
fn answers(raw: &mut Raw, mut calls: usize) {
    while calls > 0 {
        match raw.frame() {
            Ok(Some(frame)) if frame.stream > 0 && frame.flags & END_STREAM != 0 => calls -= 1,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// Every stream of every connection holds most of a message and never its end.
async fn messages_that_never_end_do_not_fill_the_memory() {
    withstands(|socket| {
        let raws = crowd(socket, &[]);
        let start = Instant::now();
        std::thread::scope(|scope| {
            let work = |part: Vec<Raw>| {
                part.into_iter()
                    .map(|mut raw| {
                        let _ = unfinished(&mut raw, start);
                        raw
                    })
                    .collect::<Vec<_>>()
            };
            let held: Vec<_> = chunked(raws, 8)
                .into_iter()
                .map(|part| scope.spawn(move || work(part)))
                .collect();
            held.into_iter()
                .map(|it| it.join().unwrap())
                .collect::<Vec<_>>()
        });
    })
    .await;
}

fn unfinished(raw: &mut Raw, start: Instant) -> io::Result<()> {
    const PART: usize = 16 * 1024;
    raw.policy(Duration::from_millis(50));
    let message = h2::encrypt_request(&[7; 60 * 1024]);
    let mut window = 65_535;
    for call in 0..STREAMS {
        raw.send(&frame(
            HEADERS,
            END_HEADERS,
            stream(call),
            &h2::grpc_headers(ENCRYPT),
        ))?;
        for part in message[..3 * PART].chunks(PART) {
            while window < PART {
                if start.elapsed() > 3 * FLOOD {
                    return Ok(());
                }
                match raw.frame()? {
                    Some(frame) if frame.kind == WINDOW_UPDATE && frame.stream == 0 => {
                        let more = frame.payload.try_into().map(u32::from_be_bytes);
                        window += more.unwrap() as usize;
                    }
                    Some(_) => {}
                    None => return Ok(()),
                }
            }
            window -= PART;
            raw.send(&frame(DATA, 0, stream(call), part))?;
        }
    }
    Ok(())
}

/// Every stream of every connection is opened, and nothing comes on it.
async fn calls_that_never_begin_do_not_fill_the_memory() {
    withstands(|socket| {
        let mut held = crowd(socket, &[]);
        for raw in &mut held {
            let open = |call| {
                frame(
                    HEADERS,
                    END_HEADERS,
                    stream(call),
                    &h2::grpc_headers(ENCRYPT),
                )
            };
            let _ = raw.send(&(0..STREAMS).flat_map(open).collect::<Vec<u8>>());
        }
        // All of them were read once the last one is.
        for raw in &mut held {
            let _ = raw.send(&frame(PING, 0, 0, &[7; 8]));
        }
        for raw in &mut held {
            while matches!(raw.frame(), Ok(Some(frame)) if frame.kind != PING) {}
        }
    })
    .await;
}

/// Large answers, and a window that lets none of them out.
async fn answers_that_are_not_read_do_not_fill_the_memory() {
    withstands(|socket| {
        let mut held = crowd(socket, &[(INITIAL_WINDOW, 0)]);
        let start = Instant::now();
        let call = h2::encrypt_request(&[7; 40 * 1024]);
        for raw in &mut held {
            let _ = raw.send(&encrypt(0, &call));
        }
        for raw in &mut held {
            if start.elapsed() < 3 * FLOOD {
                answered(raw, 1);
            }
        }
    })
    .await;
}

async fn sixteen_calls_on_each_of_all_connections_harm_nobody_else() {
    withstands(|socket| {
        for _ in 0..2 {
            let mut raws = crowd(socket, &[]);
            for raw in &mut raws {
                let calls = (0..16).flat_map(|call| encrypt(call, &[7; 32]));
                let _ = raw.send(&calls.collect::<Vec<u8>>());
            }
            for raw in &mut raws {
                answers(raw, 16);
            }
        }
    })
    .await;
}

tests! {
    single messages_over_the_limit_are_refused_and_freed [Vault];
    single messages_that_never_end_do_not_fill_the_memory [Vault];
    single calls_that_never_begin_do_not_fill_the_memory [Vault];
    single answers_that_are_not_read_do_not_fill_the_memory [Vault];
    single sixteen_calls_on_each_of_all_connections_harm_nobody_else [Vault];
}
