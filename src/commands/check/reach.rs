//! The connection to each address: DNS, TCP, TLS, and whether Vault can serve there.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::Report;
use super::dial_target::DialTarget;
use super::format::rounded;
use super::offline::report_build_error;
use crate::session::{self, HEALTH_TIMEOUT};
use crate::telemetry::metrics::Metrics;
use crate::vault::{Address, CallError, Client, Health, ServerCertificate, Settings};

/// For a DNS query, and for a connection: the daemon waits hardly longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A certificate is reported if it expires sooner and less than a quarter of its lifetime is left:
/// automation renews it before that.
const EXPIRY_WARNING: i64 = 14 * DAY;
/// In seconds: Vault forgives a JWT a minute.
const MAX_SKEW: u64 = 30;
/// In seconds.
const DAY: i64 = 24 * 3600;

/// Checks each address. Returns whether one of them can serve logins.
pub(super) async fn check(settings: &Settings, report: &mut Report) -> bool {
    let mut any = false;
    for address in &settings.addresses {
        any |= check_address(settings, address, report).await;
    }
    any
}

async fn check_address(settings: &Settings, address: &Address, report: &mut Report) -> bool {
    if !connects(&DialTarget::of(settings, address), report).await {
        return false;
    }
    // A client for this address alone, so that no other one answers in its place.
    match Client::new(&settings.only(address), Metrics::default()) {
        Ok(client) => serves(&client, address, report).await,
        Err(error) => {
            report_build_error(error, report);
            false
        }
    }
}

async fn connects(target: &DialTarget, report: &mut Report) -> bool {
    match target {
        DialTarget::Socket(path) => connects_to_socket(path, report).await,
        DialTarget::Host {
            host,
            port,
            is_proxy,
        } => {
            let key = if *is_proxy {
                "the proxy's variable (HTTPS_PROXY, VAULT_PROXY_ADDR)"
            } else {
                "vault.address"
            };
            match resolve(host, *port, key, report).await {
                Some(found) => connects_to_any(&found, host, *port, key, report).await,
                None => false,
            }
        }
    }
}

async fn connects_to_socket(path: &Path, report: &mut Report) -> bool {
    let shown = path.display();
    if let Err(error) = UnixStream::connect(path).await {
        let remedy = "start what listens there, or correct vault.address";
        report.unavailable("socket of vault", format!("{shown}: {error}"), remedy);
        return false;
    }
    report.ok("socket of vault", format!("{shown} accepts connections"));
    true
}

/// An IP address needs no query, and no line.
async fn resolve(host: &str, port: u16, key: &str, report: &mut Report) -> Option<Vec<SocketAddr>> {
    const NAME: &str = "dns";
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(vec![SocketAddr::new(ip, port)]);
    }
    let problem = match timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((host, port))).await {
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

async fn connects_to_any(
    found: &[SocketAddr],
    host: &str,
    port: u16,
    key: &str,
    report: &mut Report,
) -> bool {
    let began = Instant::now();
    let problem = match timeout(CONNECT_TIMEOUT, TcpStream::connect(found)).await {
        Ok(Ok(_)) => {
            let took = began.elapsed().as_millis();
            report.ok("tcp", format!("{host}:{port} answered in {took} ms"));
            return true;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    let remedy = format!("start what listens there, open the firewall for it, or correct {key}");
    report.unavailable("tcp", format!("{host}:{port}: {problem}"), &remedy);
    false
}

/// Checks TLS and Vault's health with one request, which is also the daemon's first.
async fn serves(client: &Client, address: &Address, report: &mut Report) -> bool {
    let server = client.server(Instant::now() + HEALTH_TIMEOUT).await;
    if let Err(error @ (CallError::Unreachable { .. } | CallError::TimedOut { .. })) = &server {
        let (name, remedy) = if address.is_tls() {
            let remedy = "does it speak TLS? correct vault.address, or the server's certificate";
            ("tls", remedy)
        } else {
            ("vault", "is it Vault? correct vault.address")
        };
        report.unavailable(name, error.diagnosis().about("vault"), remedy);
        return false;
    }
    if let Some(certificate) = client.server_certificate() {
        report_certificate(&certificate, report);
    }
    if let Some(negotiated) = client.negotiated() {
        report.negotiated(negotiated);
    }
    let server = match server {
        Ok(server) => server,
        Err(error) => {
            // Something may deny this path alone: the login will show.
            report.warning("vault", error.diagnosis().about("vault"));
            return true;
        }
    };
    if let Err(error) = session::check_health(client, Instant::now() + HEALTH_TIMEOUT).await {
        report.unavailable("vault", error.about(address), "see Vault's own log");
        return false;
    }
    let role = if server.health == Health::Standby {
        "standby"
    } else {
        "active"
    };
    compare_clocks(server.time, Timestamp::now().as_second(), report);
    let version = server.version;
    let text = format!("{address} has version {version}, unsealed, {role}");
    report.ok("vault", text);
    true
}

/// Both in seconds since 1970. Certificates and JWTs are judged by one of them, and made by another.
fn compare_clocks(server: i64, own: i64, report: &mut Report) {
    // The server may say any number.
    let ahead = own.saturating_sub(server);
    if server == 0 || ahead.unsigned_abs() <= MAX_SKEW {
        return;
    }
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    let text = format!(
        "the clock of this host is {} {direction} Vault's: set both by NTP",
        rounded(Duration::from_secs(ahead.unsigned_abs()))
    );
    report.warning("clock", text);
}

fn report_certificate(certificate: &ServerCertificate, report: &mut Report) {
    let left = certificate.not_after - Timestamp::now().as_second();
    let text = format!(
        "{}, {} days from now; it is for {}",
        certificate.description,
        left / DAY,
        certificate.names
    );
    if expires_soon(left, certificate.not_after - certificate.not_before) {
        report.warning("tls", format!("{text}: renew it on the server"));
    } else {
        report.ok("tls", text);
    }
}

/// Both in seconds.
fn expires_soon(left: i64, lifetime: i64) -> bool {
    left < EXPIRY_WARNING && left < lifetime / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_by_more_than_vault_tolerates_cause_a_warning() {
        for (server, own, text) in [
            (0, 1_000, None),
            (1_000, 1_030, None),
            (1_000, 970, None),
            (1_000, 1_600, Some("10 minutes ahead of Vault's")),
            (9_200, 2_000, Some("2 hours behind Vault's")),
            (i64::MIN, 2_000, Some("days ahead of Vault's")),
            (i64::MAX, -2_000, Some("days behind Vault's")),
        ] {
            let mut report = Report::default();
            compare_clocks(server, own, &mut report);
            let said = report.steps().first().map(|step| step.text.as_str());
            assert_eq!(said.is_some(), text.is_some(), "{said:?}");
            assert!(said.is_none_or(|said| said.contains(text.unwrap_or_default())));
        }
    }

    #[test]
    fn a_certificate_with_a_lifetime_of_a_day_causes_no_warning() {
        assert!(!expires_soon(DAY / 2, DAY));
        assert!(expires_soon(DAY / 8, DAY));
        assert!(expires_soon(13 * DAY, 365 * DAY));
        assert!(!expires_soon(15 * DAY, 365 * DAY));
    }
}
