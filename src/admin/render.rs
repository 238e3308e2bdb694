//! A report as text: one line per subject, its error right below.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::report::{Key, Peer, Report, SeedCache, Session, Version};
use crate::system::one_line;

/// As of `now`.
pub(super) fn render(report: &Report, now: Timestamp) -> String {
    let mut out = String::new();
    let up = span(Duration::from_secs(report.uptime_seconds));
    let mut line = |name: &str, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<12}{}", one_line(&text));
    };
    line("plugin", format!("{}, up {up}", report.version));
    line(
        "ready",
        match &report.reason {
            None => "yes: Status returns ok".to_owned(),
            Some(reason) => {
                let code = report.reason_code.unwrap_or_default();
                format!("NO ({code}): {reason}")
            }
        },
    );
    line("session", of_session(&report.session, now));
    if let Some(error) = &report.session.error {
        line("", format!("last error: {error}"));
    }
    of_key(&report.key, now, &mut line);
    if let Some(cache) = &report.seed_cache {
        line("seed cache", of_seed_cache(cache));
    }
    let calls = &report.calls;
    line(
        "calls",
        format!(
            "{} in the last {} minutes, {} failed, {} waiting now",
            calls.all, calls.minutes, calls.failed, calls.waiting
        ),
    );
    if report.peers.is_empty() {
        line("connected", "nobody".to_owned());
    } else {
        let peers: Vec<_> = report.peers.iter().map(of_peer).collect();
        line("connected", peers.join("; "));
    }
    let reload = report.last_reload.as_ref();
    line(
        "last reload",
        match reload.map(|reload| (reload.at, &reload.refused)) {
            None => "none since the start".to_owned(),
            Some((at, None)) => format!("applied {}", when(at, now)),
            Some((at, Some(reason))) => format!("REFUSED {}: {reason}", when(at, now)),
        },
    );
    out
}

fn of_session(session: &Session, now: Timestamp) -> String {
    let mut text = match (session.active, session.until) {
        (false, _) => format!("NONE, by {}", session.method),
        (true, None) => format!("by {}, without an end", session.method),
        (true, Some(until)) => format!(
            "by {}, until {until} ({})",
            session.method,
            when(until, now)
        ),
    };
    if let Some(next) = session.next_step {
        let what = if session.active {
            "renewed"
        } else {
            "next try"
        };
        let _ = write!(text, ", {what} {}", when(next, now));
    }
    text
}

fn of_key(key: &Key, now: Timestamp, line: &mut impl FnMut(&str, String)) {
    let version = |it: &Version| format!("version {} of {}, {}", it.version, it.created, it.key_id);
    match (&key.announced, &key.proven) {
        (None, None) => line("key", "NONE proven yet".to_owned()),
        (Some(announced), proven) => {
            line("key", format!("{}, announced", version(announced)));
            line("", announced.key_id_hash.clone());
            if let Some(proven) = proven.as_ref().filter(|&it| it != announced) {
                line(
                    "",
                    format!("{}, announced by the next Status", version(proven)),
                );
            }
        }
        (None, Some(proven)) => {
            line(
                "key",
                format!("{}, nobody asked for Status yet", version(proven)),
            );
            line("", proven.key_id_hash.clone());
        }
    }
    if let Some(success) = key.last_success {
        line("vault", format!("last success {}", when(success, now)));
    }
    if let Some(error) = &key.error {
        let kind = if key.verdict {
            "only an operator can fix it"
        } else {
            "last error"
        };
        line("", format!("{kind}: {error}"));
    }
}

fn of_seed_cache(cache: &SeedCache) -> String {
    let seconds = |seconds| span(Duration::from_secs(seconds));
    let state = if cache.serving {
        "ANSWERS while vault fails"
    } else {
        "not needed now"
    };
    let age = match cache.age_seconds {
        Some(age) => format!(", last success with vault {} ago", seconds(age)),
        None => String::new(),
    };
    let max_age = seconds(cache.max_age_seconds);
    let kek = match cache.local_kek_ready {
        Some(true) => ", local KEK ready",
        Some(false) => ", NO local KEK",
        None => "",
    };
    format!(
        "{} seeds, {state}{age}, kept for {max_age}{kek}",
        cache.entries
    )
}

fn of_peer(peer: &Peer) -> String {
    let process = match peer.pid {
        Some(pid) => format!("pid {pid} "),
        None => String::new(),
    };
    let Peer {
        uid,
        gid,
        connections,
        ..
    } = peer;
    format!("{process}uid {uid} gid {gid}: {connections}")
}

/// The distance from now.
fn when(moment: Timestamp, now: Timestamp) -> String {
    let seconds = moment.as_second() - now.as_second();
    let distance = span(Duration::from_secs(seconds.unsigned_abs()));
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {distance}"),
        _ => format!("{distance} ago"),
    }
}

fn span(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
