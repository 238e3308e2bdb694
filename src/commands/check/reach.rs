//! The way to each address: its name, a connection, TLS, and whether Vault can serve there.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::Report;
use crate::session::{self, Diagnosis};
use crate::telemetry::metrics::Metrics;
use crate::vault::{Address, CallError, Client, Health, Hop, ServerCertificate, Settings};

/// For a look at a name, and for a connection: the daemon itself gives a connection hardly more.
const STEP_LIMIT: Duration = Duration::from_secs(2);
/// How long Vault may take to tell its health, as in the daemon.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
/// A certificate that ends sooner, and has less than a quarter of its life left, is told of: one
/// that is renewed by a machine is renewed before.
const ENDS_SOON: i64 = 14 * DAY;
/// In seconds.
const DAY: i64 = 24 * 3600;

/// Looks at each address: whether one of them can be logged into.
pub(super) async fn reach(settings: &Settings, report: &mut Report) -> bool {
    let mut any = false;
    for address in &settings.addresses {
        any |= one(settings, address, report).await;
    }
    any
}

async fn one(settings: &Settings, address: &Address, report: &mut Report) -> bool {
    if !connects(&settings.first_hop(address), report).await {
        return false;
    }
    // Alone, so that no other address answers in its place.
    match Client::new(&settings.only(address), Metrics::default()) {
        Ok(client) => serves(&client, address, report).await,
        Err(error) => {
            let remedy = format!("correct that file, or name another one in {}", error.key());
            report.error("certificates", error.to_string(), &remedy);
            false
        }
    }
}

async fn connects(hop: &Hop, report: &mut Report) -> bool {
    match hop {
        Hop::Socket(path) => connects_to_socket(path, report).await,
        Hop::Host { host, port, .. } => match resolve(host, *port, key_of(hop), report).await {
            Some(found) => connects_to_any(&found, hop, report).await,
            None => false,
        },
    }
}

/// What names it.
fn key_of(hop: &Hop) -> &'static str {
    match hop {
        Hop::Host { is_proxy: true, .. } => "the proxy's variable (HTTPS_PROXY, VAULT_PROXY_ADDR)",
        _ => "vault.address",
    }
}

async fn connects_to_socket(path: &Path, report: &mut Report) -> bool {
    let place = path.display();
    match UnixStream::connect(path).await {
        Ok(_) => report.ok("socket of vault", format!("{place} accepts connections")),
        Err(error) => {
            let remedy = "start what listens there, or correct vault.address";
            report.unavailable("socket of vault", format!("{place}: {error}"), remedy);
            return false;
        }
    }
    true
}

/// An address needs no look-up, and no line.
async fn resolve(host: &str, port: u16, key: &str, report: &mut Report) -> Option<Vec<SocketAddr>> {
    const NAME: &str = "dns";
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(vec![SocketAddr::new(ip, port)]);
    }
    let problem = match timeout(STEP_LIMIT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.collect();
            if !found.is_empty() {
                let shown: Vec<_> = found.iter().map(|one| one.ip().to_string()).collect();
                report.ok(NAME, format!("{host} is {}", shown.join(", ")));
                return Some(found);
            }
            "it has no address".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    let remedy = format!("correct {key}, or the name servers of this host (/etc/resolv.conf)");
    report.unavailable(NAME, format!("{host}: {problem}"), &remedy);
    None
}

async fn connects_to_any(found: &[SocketAddr], hop: &Hop, report: &mut Report) -> bool {
    let Hop::Host { host, port, .. } = hop else {
        return false;
    };
    let began = Instant::now();
    let problem = match timeout(STEP_LIMIT, TcpStream::connect(found)).await {
        Ok(Ok(_)) => {
            let took = began.elapsed().as_millis();
            report.ok("tcp", format!("{host}:{port} answered in {took} ms"));
            return true;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    let remedy = format!(
        "start what listens there, open the firewall for it, or correct {}",
        key_of(hop)
    );
    report.unavailable("tcp", format!("{host}:{port}: {problem}"), &remedy);
    false
}

/// TLS and Vault's health come with one request, which is also the daemon's first.
async fn serves(client: &Client, address: &Address, report: &mut Report) -> bool {
    let asked = client.server(Instant::now() + HEALTH_LIMIT).await;
    if let Err(error @ (CallError::Unreachable { .. } | CallError::TimedOut { .. })) = &asked {
        let name = if address.is_tls() { "tls" } else { "vault" };
        let (cause, remedy) = unreachable(&error.to_string(), address);
        report.unavailable(name, format!("vault: {cause}"), &remedy);
        return false;
    }
    if let Some(certificate) = client.server_certificate() {
        tell(&certificate, report);
    }
    let (health, version) = match asked {
        Ok(server) => (server.health, server.version),
        Err(error) => {
            // Something may deny the path alone: the login will tell.
            report.warning("vault", format!("vault: {error}"));
            return true;
        }
    };
    match session::reach(client, Instant::now() + HEALTH_LIMIT).await {
        Ok(()) => {
            let role = if health == Health::Standby {
                "standby"
            } else {
                "active"
            };
            report.ok(
                "vault",
                format!("{address} has version {version}, unsealed, {role}"),
            );
            true
        }
        Err(trouble) => {
            let cause = format!("{address}: {}", trouble.cause);
            report.diagnosis(
                "vault",
                &Diagnosis { cause, ..trouble },
                "look at vault's own log",
            );
            false
        }
    }
}

/// What TLS says of a certificate tells what to do; the rest does not.
fn unreachable(text: &str, address: &Address) -> (String, String) {
    let told = text.rsplit_once("; ").or_else(|| {
        let (cause, remedy) = text.rsplit_once(": set ")?;
        Some((cause, &text[text.len() - remedy.len() - "set ".len()..]))
    });
    if let Some((cause, remedy)) = told {
        return (cause.to_owned(), remedy.to_owned());
    }
    let remedy = match address.is_tls() {
        true => "does it speak TLS? correct vault.address, or the server's certificate",
        false => "is it vault? correct vault.address",
    };
    (text.to_owned(), remedy.to_owned())
}

fn tell(certificate: &ServerCertificate, report: &mut Report) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let left = certificate.not_after - now;
    let words = format!(
        "{}, {} days from now; it is for {}",
        certificate.words,
        left / DAY,
        certificate.names
    );
    match ends_soon(left, certificate.not_after - certificate.not_before) {
        true => report.warning("tls", format!("{words}: renew it on the server")),
        false => report.ok("tls", words),
    }
}

/// In seconds: what is left, of how much.
fn ends_soon(left: i64, whole: i64) -> bool {
    left < ENDS_SOON && left < whole / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_lives_for_a_day_is_no_news() {
        assert!(!ends_soon(DAY / 2, DAY));
        assert!(ends_soon(DAY / 8, DAY));
        assert!(ends_soon(13 * DAY, 365 * DAY));
        assert!(!ends_soon(15 * DAY, 365 * DAY));
    }

    #[test]
    fn what_tls_says_is_taken_apart() {
        let address = Address::try_new("https://vault.example:8200").expect("an address");
        let split = |text| unreachable(text, &address);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            split("a: expired; renew it"),
            pair("a: expired", "renew it")
        );
        assert_eq!(
            split("is for a and not for b: set vault.tls_server_name or the address"),
            pair(
                "is for a and not for b",
                "set vault.tls_server_name or the address"
            )
        );
        assert!(
            split("connection closed")
                .1
                .starts_with("does it speak TLS?")
        );
    }
}
