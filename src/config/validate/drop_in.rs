//! `[drop_in]`: the plugin in whose place this one runs, and where that one's endpoints are served.

use std::net::SocketAddr;

use crate::admin;
use crate::config::raw::{self, RawValue};
use crate::config::reader::Reader;
use crate::diagnosis::Diagnosis;
use crate::replaced_plugin::{DropIn, ReplacedPlugin};

const PLUGIN: &str = "drop_in.plugin";
const HEALTH: &str = "drop_in.health_listen";
const METRICS: &str = "drop_in.metrics_listen";
const KNOWN: &str = "use vault-kubernetes-kms, vault-kms-provider, vault-kube-kms or kleidi";

/// `None` if the table is absent, or in error.
pub(super) fn drop_in(
    reader: &mut Reader,
    raw: raw::DropIn,
    admin: &admin::Address,
) -> Option<DropIn> {
    let before = reader.errors.len();
    let plugin = reader.parsed(PLUGIN, raw.plugin, |text| {
        text.parse::<ReplacedPlugin>().map_err(|_| {
            Diagnosis::new(format!("{text:?} is no plugin that can be replaced")).with_remedy(KNOWN)
        })
    });
    let health_listen = address(reader, HEALTH, raw.health_listen, admin);
    let metrics_listen = address(reader, METRICS, raw.metrics_listen, admin);
    let Some(plugin) = plugin else {
        let needs_plugin = health_listen.is_some() || metrics_listen.is_some();
        if needs_plugin && reader.errors.len() == before {
            reader.missing(PLUGIN, KNOWN);
        }
        return None;
    };
    if health_listen.is_some() && !plugin.has_health() {
        let cause = format!("{plugin} has no health endpoint");
        reader.error_with(
            HEALTH,
            cause,
            "leave it out: /livez and /readyz are at admin.listen",
        );
    }
    if metrics_listen.is_some() && !plugin.has_metrics() {
        let cause = format!("{plugin} has no metrics");
        reader.error_with(METRICS, cause, "leave it out: /metrics is at admin.listen");
    }
    Some(DropIn {
        plugin,
        health_listen,
        metrics_listen,
    })
}

/// An address and port. They must not be those of the admin server: one of the two would never listen.
fn address(
    reader: &mut Reader,
    key: &str,
    value: RawValue,
    admin: &admin::Address,
) -> Option<SocketAddr> {
    let address = reader.parsed(key, value, |text| {
        text.parse::<SocketAddr>().map_err(|_| {
            format!("{text:?} is neither of the form 0.0.0.0:8080 or [::]:8080, nor empty")
        })
    })?;
    if *admin == admin::Address::Tcp(address) {
        let cause = format!("{address} is the address of admin.listen");
        reader.error_with(key, cause, "choose another port for one of the two");
    }
    Some(address)
}
