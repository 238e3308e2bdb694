//! Turns a raw configuration into a valid one. Each default has its reason beside it.

mod auth;
mod certificate;
mod defaults;
mod drop_in;
mod outage;
mod proxies;
mod socket;
mod vault;

use std::time::Duration;

use toml::Value;
use tracing::level_filters::LevelFilter;

use super::error::ConfigErrors;
use super::raw::{self, Raw, RawValue};
use super::reader::Reader;
use super::{Config, Environment};
use crate::admin;
use crate::diagnosis::Diagnosis;
use crate::drop_in::Secret;
use crate::grpc::KmsVersion;
use crate::keys::{self, HealthLimits, KeyId};
use crate::telemetry::{self, Format};
pub(super) use defaults::{defaults, keys_set};
pub(super) use socket::{default_socket, socket_path};

/// All kube-apiservers share one Vault: if all are unready at once, the API is gone.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(600);
/// The key is read at least every 33 s: below this a healthy idle plugin would be reported
/// unhealthy.
const MIN_TOLERANCE: Duration = Duration::from_secs(60);
/// After an hour an operator must decide; writes stop.
const DEFAULT_FAIL_AFTER: Duration = Duration::from_secs(3600);
/// More calls than a control plane ever sends at once; each costs a few kilobytes.
const DEFAULT_MAX_WAITING: u32 = 1024;
/// More would split batches, and send Vault more requests for the same items.
const MAX_IN_FLIGHT_LIMIT: u32 = 8;

pub(super) fn config(
    mut raw: Raw,
    environment: &Environment,
    secrets: &[Secret],
    mut reader: Reader,
) -> Result<Config, ConfigErrors> {
    let kms_version = kms_version(&mut reader, raw.kms_version);
    let (socket, peers) = socket::socket(&mut reader, raw.socket);
    let certificate = certificate::certificate(&mut reader, &mut raw.vault, &mut raw.auth);
    let (vault, namespace) = vault::vault(&mut reader, raw.vault, certificate.clone(), environment);
    if let Some(vault) = &vault
        && certificate::is_cert(raw.auth.method.as_ref())
    {
        certificate::needs_tls(&mut reader, &vault.addresses);
    }
    let key = vault::transit_key(
        &mut reader,
        "transit",
        raw.transit.mount,
        raw.transit.key,
        Some(namespace.clone()),
    );
    let (decrypt_also, bound) =
        vault::decrypt_also(&mut reader, raw.transit.decrypt_also, &namespace);
    let state_file = socket::state_file(&mut reader, raw.state.dir, socket.as_ref());
    let context = auth::Context {
        environment,
        certificate: certificate.as_ref(),
        state_file: state_file.as_deref(),
        secrets,
    };
    let auth = auth::auth(&mut reader, raw.auth, namespace, context);
    // Elsewhere empty means missing; here it means off.
    let is_off = raw.admin.listen == Some(Value::String(String::new()));
    let admin = reader.parsed("admin.listen", raw.admin.listen, |text| {
        text.parse::<admin::Address>()
    });
    if let Some(admin) = admin.as_ref().filter(|it| it.is_on_the_network()) {
        reader.warnings.push(format!(
            "admin.listen: other hosts reach {admin}, where /metrics, /readyz and /livez ask for no login \
             (/status is for this host alone): let a firewall admit Prometheus only"
        ));
    }
    let admin = if is_off {
        admin::Address::Off
    } else {
        admin.unwrap_or_default()
    };
    let drop_in = drop_in::drop_in(&mut reader, raw.drop_in, &admin);
    let outage = outage::outage(&mut reader, raw.outage, drop_in.as_ref());
    let log = log(&mut reader, raw.log);
    let limits = health(&mut reader, raw.health);
    let max_waiting = max_waiting(&mut reader, raw.limits.max_waiting);
    let max_in_flight = max_in_flight(&mut reader, raw.transit.max_in_flight);
    let accept_replaced = accept_replaced(&mut reader, raw.transit.accept_replaced);
    let key_id_suffix = key_id_suffix(&mut reader, raw.transit.key_id_suffix);
    let (Some(socket), Some(vault), Some(key), Some(auth), Some(state_file)) =
        (socket, vault, key, auth, state_file)
    else {
        return Err(reader.into_errors());
    };
    if !reader.errors.is_empty() {
        return Err(reader.into_errors());
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
            bound,
            accept_replaced,
            key_id_suffix,
            limits,
            max_in_flight,
            state_file,
        },
        outage,
        admin,
        drop_in,
        log,
        warnings: reader.warnings,
        origins: reader.origins,
        fingerprint: super::Fingerprint::default(),
    })
}

fn kms_version(reader: &mut Reader, value: RawValue) -> KmsVersion {
    let read = reader.parsed("kms_version", value, |text| match text {
        "v2" => Ok(KmsVersion::V2),
        "v2beta1" => Ok(KmsVersion::V2Beta1),
        _ => Err(
            Diagnosis::new(format!("{text:?} is neither v2 nor v2beta1"))
                .with_remedy("use v2beta1 for Kubernetes 1.27 and 1.28, else v2"),
        ),
    });
    read.unwrap_or(KmsVersion::V2)
}

fn log(reader: &mut Reader, raw: raw::Log) -> telemetry::Settings {
    let level = reader.parsed("log.level", raw.level, |text| {
        text.parse::<LevelFilter>().map_err(|_| {
            Diagnosis::new(format!("{text:?} is not a level"))
                .with_remedy("use error, warn, info, debug or trace")
        })
    });
    let format = reader.parsed("log.format", raw.format, |text| match text {
        "auto" => Ok(Format::Auto),
        "journald" => Ok(Format::Journald),
        "json" => Ok(Format::Json),
        "text" => Ok(Format::Text),
        _ => Err(Diagnosis::new(format!("{text:?} is not a format"))
            .with_remedy("use auto, journald, json or text")),
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
        tolerance: tolerance.unwrap_or(DEFAULT_TOLERANCE),
        fail_after: fail_after.unwrap_or(DEFAULT_FAIL_AFTER),
    };
    if limits.tolerance < MIN_TOLERANCE {
        let cause = "must be at least 1m: the key is read every 30s";
        reader.error("health.tolerance", cause);
    }
    if limits.tolerance > limits.fail_after {
        reader.error("health.fail_after", "must be at least health.tolerance");
    }
    limits
}

fn max_waiting(reader: &mut Reader, value: RawValue) -> usize {
    let key = "limits.max_waiting";
    let number = reader.number(key, value).unwrap_or(DEFAULT_MAX_WAITING);
    if number == 0 {
        reader.error(key, "must be at least 1");
    }
    number as usize
}

/// A key_id as an error text gives it.
fn accept_replaced(reader: &mut Reader, value: RawValue) -> Option<String> {
    let key = "transit.accept_replaced";
    let key_id = reader.text(key, value)?;
    if !KeyId::is_ours(&key_id) {
        reader.error(
            key,
            "must be a key_id as the error about the replaced key gives it: transit1:…",
        );
        return None;
    }
    Some(key_id)
}

fn key_id_suffix(reader: &mut Reader, value: RawValue) -> Option<String> {
    let key = "transit.key_id_suffix";
    let suffix = reader.text(key, value)?;
    if !KeyId::is_suffix(&suffix) {
        reader.error(
            key,
            "must be 1 to 32 letters, digits, dots, underscores or hyphens",
        );
        return None;
    }
    Some(suffix)
}

fn max_in_flight(reader: &mut Reader, value: RawValue) -> Option<usize> {
    let key = "transit.max_in_flight";
    let number = reader.number(key, value)?;
    if !(1..=MAX_IN_FLIGHT_LIMIT).contains(&number) {
        let cause = format!("must be between 1 and {MAX_IN_FLIGHT_LIMIT}");
        reader.error(key, cause);
    }
    Some(number as usize)
}
