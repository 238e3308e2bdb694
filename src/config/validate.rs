//! Makes a checked configuration of a raw one. Each default stands here with its reason.

mod auth;
mod certificate;
mod proxies;
mod socket;
mod vault;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use toml::Value;
use tracing::level_filters::LevelFilter;

use super::raw::{self, Leaf, Raw};
use super::reader::{ConfigError, ConfigErrors, Reader};
use super::{Config, Environment};
use crate::admin;
use crate::grpc::KmsVersion;
use crate::keys::{self, HealthLimits, KeyId};
use crate::telemetry::{self, Format};

/// Loopback: kubelet's probes and a node's agent reach it, the network does not.
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8790);
/// All kube-apiservers share one Vault: a red readyz on all at once takes the API away.
const TOLERANCE: Duration = Duration::from_secs(600);
/// The key is looked at every 33 s at the latest: below this a healthy idle plugin would look ill.
const TOLERANCE_LEAST: Duration = Duration::from_secs(60);
/// After an hour an operator has to decide; writes stop.
const FAIL_AFTER: Duration = Duration::from_secs(3600);
/// More than a control plane ever asks at once; each costs a few kilobytes.
const MAX_WAITING: u32 = 1024;
/// Of each operation: while one batch is at Vault another one can be on its way.
const MAX_IN_FLIGHT: u32 = 2;
/// More would split what could leave together, and ask Vault more for the same.
const MAX_IN_FLIGHT_MOST: u32 = 8;

pub(super) fn config(
    mut raw: Raw,
    environment: &Environment,
    errors: Vec<ConfigError>,
) -> Result<Config, ConfigErrors> {
    let mut reader = Reader { errors };
    let mut warnings = Vec::new();
    let kms_version = kms_version(&mut reader, raw.kms_version);
    let (socket, peers) = socket::socket(&mut reader, raw.socket);
    let certificate = certificate::certificate(&mut reader, &mut raw.vault, &mut raw.auth);
    let (vault, namespace) = vault::vault(
        &mut reader,
        raw.vault,
        certificate.clone(),
        environment,
        &mut warnings,
    );
    if let (Some(vault), true) = (&vault, certificate::is_cert(raw.auth.method.as_ref())) {
        certificate::needs_tls(&mut reader, &vault.addresses);
    }
    let key = vault::transit_key(
        &mut reader,
        "transit",
        raw.transit.mount,
        raw.transit.key,
        Some(namespace.clone()),
    );
    let decrypt_also = vault::decrypt_also(&mut reader, raw.transit.decrypt_also, &namespace);
    let state_file = socket::state_file(&mut reader, raw.state.dir, socket.as_ref());
    let around = auth::Around {
        environment,
        certificate: certificate.as_ref(),
        state_file: state_file.as_deref(),
    };
    let auth = auth::auth(&mut reader, raw.auth, namespace, around, &mut warnings);
    // Elsewhere empty is missing; here it is an answer.
    let turned_off = raw.admin.listen == Some(Value::String(String::new()));
    let admin = reader.parsed("admin.listen", raw.admin.listen, |text| {
        text.parse::<admin::Address>()
    });
    let log = log(&mut reader, raw.log);
    let limits = health(&mut reader, raw.health);
    let max_waiting = max_waiting(&mut reader, raw.limits.max_waiting);
    let max_in_flight = max_in_flight(&mut reader, raw.transit.max_in_flight);
    let accept_replaced = accept_replaced(&mut reader, raw.transit.accept_replaced);
    let (Some(socket), Some(vault), Some(key), Some(auth), Some(state_file)) =
        (socket, vault, key, auth, state_file)
    else {
        return Err(reader.errors.into());
    };
    if !reader.errors.is_empty() {
        return Err(reader.errors.into());
    }
    Ok(Config {
        socket,
        peers,
        kms_version,
        max_waiting,
        vault,
        auth,
        keys: keys::Settings {
            key,
            decrypt_also,
            accept_replaced,
            limits,
            max_in_flight,
            state_file,
        },
        admin: match turned_off {
            true => admin::Address::Off,
            false => admin.unwrap_or(admin::Address::Tcp(ADMIN)),
        },
        log,
        warnings,
        fingerprint: super::Fingerprint::default(),
    })
}

fn kms_version(reader: &mut Reader, leaf: Leaf) -> KmsVersion {
    let read = reader.parsed("kms_version", leaf, |text| match text {
        "v2" => Ok(KmsVersion::V2),
        "v2beta1" => Ok(KmsVersion::V2Beta1),
        _ => Err(format!(
            "{text:?} is neither v2 nor v2beta1 (for Kubernetes 1.27 and 1.28)"
        )),
    });
    read.unwrap_or(KmsVersion::V2)
}

fn log(reader: &mut Reader, raw: raw::Log) -> telemetry::Settings {
    let level = reader.parsed("log.level", raw.level, |text| {
        text.parse::<LevelFilter>()
            .map_err(|_| format!("{text:?} is none of error, warn, info, debug, trace"))
    });
    let format = reader.parsed("log.format", raw.format, |text| match text {
        "auto" => Ok(Format::Auto),
        "journald" => Ok(Format::Journald),
        "json" => Ok(Format::Json),
        "text" => Ok(Format::Text),
        _ => Err(format!("{text:?} is none of auto, journald, json, text")),
    });
    telemetry::Settings {
        level: level.unwrap_or(LevelFilter::INFO),
        format: format.unwrap_or(Format::Auto),
    }
}

fn health(reader: &mut Reader, raw: raw::Health) -> HealthLimits {
    let tolerance = reader.duration("health.tolerance", raw.tolerance);
    let fail_after = reader.duration("health.fail_after", raw.fail_after);
    let limits = HealthLimits {
        tolerance: tolerance.unwrap_or(TOLERANCE),
        fail_after: fail_after.unwrap_or(FAIL_AFTER),
    };
    if limits.tolerance < TOLERANCE_LEAST {
        reader.refuse(
            "health.tolerance",
            "is shorter than 1m: the key is looked at every 30s",
        );
    }
    if limits.tolerance > limits.fail_after {
        reader.refuse(
            "health.fail_after",
            "comes before health.tolerance: make it the longer one",
        );
    }
    limits
}

fn max_waiting(reader: &mut Reader, leaf: Leaf) -> usize {
    let key = "limits.max_waiting";
    let number = reader.number(key, leaf).unwrap_or(MAX_WAITING);
    if number == 0 {
        reader.refuse(key, "has to be at least 1");
    }
    number as usize
}

/// A key_id as an error text gives it.
fn accept_replaced(reader: &mut Reader, leaf: Leaf) -> Option<String> {
    let key = "transit.accept_replaced";
    let key_id = reader.text(key, leaf)?;
    if !KeyId::is_ours(&key_id) {
        reader.refuse(
            key,
            "must be a key_id as the error about the replaced key gives it: transit1:…",
        );
        return None;
    }
    Some(key_id)
}

fn max_in_flight(reader: &mut Reader, leaf: Leaf) -> usize {
    let key = "transit.max_in_flight";
    let number = reader.number(key, leaf).unwrap_or(MAX_IN_FLIGHT);
    if !(1..=MAX_IN_FLIGHT_MOST).contains(&number) {
        reader.refuse(key, format!("has to be 1 to {MAX_IN_FLIGHT_MOST}"));
    }
    number as usize
}
