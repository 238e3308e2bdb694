//! `[vault]` and `[transit]`.

use toml::Value;

use crate::config::Environment;
use crate::config::raw::{self, RawValue};
use crate::config::reader::{Reader, or_default};
use crate::diagnosis::Diagnosis;
use crate::keys::{BOUND_BY, BoundKey, BoundLabels, KeyId};
use crate::vault::{self, Address, ClientCertificate, KeyName, MountPath, Namespace, TransitKey};

/// Where `vault secrets enable transit` mounts the engine.
const DEFAULT_TRANSIT_MOUNT: &str = "transit";

pub(super) fn vault(
    reader: &mut Reader,
    raw: raw::Vault,
    client_certificate: Option<ClientCertificate>,
    environment: &Environment,
) -> (Option<vault::Settings>, Namespace) {
    if environment
        .vault("SKIP_VERIFY")
        .is_some_and(|(_, value)| !matches!(value, "0" | "false" | "f" | "F" | "FALSE" | "False"))
    {
        reader.error_with(
            "VAULT_SKIP_VERIFY",
            "TLS is always verified",
            "unset it, and name the server's CA in vault.ca_file",
        );
    }
    let addresses = addresses(reader, raw.address);
    let allow_plaintext = reader.bool("vault.allow_plaintext", raw.allow_plaintext);
    for address in addresses
        .iter()
        .flatten()
        .filter(|a| a.is_plaintext_over_network())
    {
        if allow_plaintext == Some(true) {
            reader.warnings.push(format!("vault.address: {address} sends the token and every seed unencrypted over the network"));
        } else {
            let cause = format!("{address} would send the token and every seed unencrypted");
            reader.error_with("vault.address", cause, "use https");
        }
    }
    let namespace = reader.parsed("vault.namespace", raw.namespace, Namespace::try_new);
    let ca_file = reader.path("vault.ca_file", raw.ca_file);
    let tls_server_name = reader.text("vault.tls_server_name", raw.tls_server_name);
    let ca_dir = reader.path("vault.ca_dir", raw.ca_dir);
    let proxies = super::proxies::proxies(
        reader,
        environment,
        addresses.as_deref().unwrap_or_default(),
    );
    let settings = addresses.map(|addresses| vault::Settings {
        addresses,
        ca_file,
        ca_dir,
        tls_server_name,
        client_certificate,
        proxies,
    });
    (settings, namespace.unwrap_or_default())
}

fn addresses(reader: &mut Reader, value: RawValue) -> Option<Vec<Address>> {
    let key = "vault.address";
    let remedy = "set it to Vault's address, such as https://host:8200, or set VAULT_ADDR";
    let Some(Value::Array(items)) = value else {
        return reader
            .required(key, value, remedy, Address::try_new)
            .map(|address| vec![address]);
    };
    if items.is_empty() {
        reader.missing(key, remedy);
        return None;
    }
    let read: Vec<_> = items
        .into_iter()
        .map(|item| reader.required(key, Some(item), remedy, Address::try_new))
        .collect();
    read.into_iter().collect()
}

pub(super) fn transit_key(
    reader: &mut Reader,
    table: &str,
    mount: RawValue,
    name: RawValue,
    namespace: Option<Namespace>,
) -> Option<TransitKey> {
    let mount_key = format!("{table}.mount");
    let mount = or_default(mount, DEFAULT_TRANSIT_MOUNT);
    let mount = reader.required(
        &mount_key,
        mount,
        "set it to the mount of the Transit engine",
        MountPath::try_new,
    );
    let key = format!("{table}.key");
    let name = reader.required(
        &key,
        name,
        "name the Transit key; vault write -f transit/keys/NAME creates one",
        KeyName::try_new,
    );
    let found = TransitKey {
        namespace: namespace?,
        mount: mount?,
        name: name?,
    };
    if !KeyId::fits(&found) {
        let cause = "makes a key_id of more than 1,024 bytes with its mount and namespace, which kube-apiserver refuses";
        reader.error(&key, cause);
        return None;
    }
    Some(found)
}

pub(super) fn decrypt_also(
    reader: &mut Reader,
    raw: Vec<raw::DecryptAlso>,
    namespace: &Namespace,
) -> (Vec<TransitKey>, Vec<BoundKey>) {
    let (mut keys, mut bound) = (Vec::new(), Vec::new());
    for (index, entry) in raw.into_iter().enumerate() {
        let table = format!("transit.decrypt_also.{index}");
        let own = match entry.namespace {
            None => Some(namespace.clone()),
            value => reader.required(
                &format!("{table}.namespace"),
                value,
                "name it, or leave the key out",
                Namespace::try_new,
            ),
        };
        let key = transit_key(reader, &table, entry.mount, entry.key, own);
        let labels = Labels {
            associated_data: entry.associated_data,
            provider_name: entry.provider_name,
            cluster_id: entry.cluster_id,
            instance_id: entry.instance_id,
        };
        match (key, labels.read(reader, &table)) {
            (Some(key), Some(labels)) => bound.push(BoundKey { key, labels, table }),
            (key, _) => keys.extend(key),
        }
    }
    (keys, bound)
}

/// What binds the values of a key to their labels, in `[[transit.decrypt_also]]`.
struct Labels {
    associated_data: RawValue,
    provider_name: RawValue,
    cluster_id: RawValue,
    instance_id: RawValue,
}

impl Labels {
    /// `None` if the key's values are bound to nothing, or the labels are in error.
    fn read(self, reader: &mut Reader, table: &str) -> Option<BoundLabels> {
        let key = format!("{table}.associated_data");
        let before = reader.errors.len();
        let form = reader.parsed(&key, self.associated_data, |text| {
            if text == BOUND_BY {
                return Ok(());
            }
            let unknown = Diagnosis::new(format!("{text:?} is not known"));
            Err(unknown.with_remedy("use bao-kms-provider, whose values alone can be read"))
        });
        let of_that_plugin = [
            (
                "provider_name",
                self.provider_name,
                "transit.keyIdScope.providerName",
            ),
            (
                "cluster_id",
                self.cluster_id,
                "transit.keyIdScope.clusterId",
            ),
            ("instance_id", self.instance_id, "openbao.instanceId"),
        ];
        let [provider_name, cluster_id, instance_id] =
            of_that_plugin.map(|(name, value, theirs)| {
                let own = format!("{table}.{name}");
                let text = reader.parsed(&own, value, BoundLabels::check);
                match (form, &text) {
                    (Some(()), None) if reader.errors.iter().all(|error| error.key != own) => {
                        reader.missing(&own, &format!("set it to {theirs} of that plugin"));
                    }
                    (None, Some(_)) if reader.errors.len() == before => {
                        let remedy = format!("set {key} = {BOUND_BY:?}, or leave it out");
                        reader.error_with(&own, "is for values with associated data", &remedy);
                    }
                    _ => {}
                }
                text
            });
        form?;
        Some(BoundLabels {
            provider_name: provider_name?,
            cluster_id: cluster_id?,
            instance_id: instance_id?,
        })
    }
}
