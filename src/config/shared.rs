//! What has to be the same on every control-plane node, and the fingerprint by which nodes are compared.

use std::fmt::{Debug, Write};

use super::Config;
use crate::grpc::SocketPath;
use crate::session::Method;
use crate::sha256::short_hash;
use crate::vault::TransitKey;

impl Config {
    /// The same on two nodes with the same settings, whatever the files, defaults and variables are that they
    /// come from. What belongs to one node is not in it: credentials, the numbers of its users, where it
    /// keeps its state, its admin address, its proxies, its log. It holds no secret.
    #[must_use]
    pub fn shared_fingerprint(&self) -> String {
        short_hash(self.shared().as_bytes())
    }

    /// A line for each value; none of them can hold a line's end.
    fn shared(&self) -> String {
        let (vault, keys, limits) = (&self.vault, &self.keys, &self.keys.limits);
        let socket = match &self.socket.path {
            SocketPath::File(path) => path.display().to_string(),
            SocketPath::Abstract(name) => format!("@{name}"),
        };
        let (mount, role) = login(&self.auth.method);
        let mut lines = String::new();
        let mut add = |key: &str, value: &dyn Debug| {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{key} {value:?}");
        };
        add("kms_version", &self.kms_version.as_str());
        add("socket.path", &socket);
        add("socket.mode", &self.socket.permissions.mode);
        for address in &vault.addresses {
            add("vault.address", &address.to_string());
        }
        add("vault.ca_file", &vault.ca_file);
        add("vault.ca_dir", &vault.ca_dir);
        add("vault.tls_server_name", &vault.tls_server_name);
        add("transit.key", &names(&keys.key));
        for key in &keys.decrypt_also {
            add("transit.decrypt_also", &names(key));
        }
        for bound in &keys.bound {
            let labels = &bound.labels;
            let own = [
                &labels.provider_name,
                &labels.cluster_id,
                &labels.instance_id,
            ];
            add("transit.decrypt_also", &(names(&bound.key), own));
        }
        add("transit.key_id_suffix", &keys.key_id_suffix);
        add("transit.accept_replaced", &keys.accept_replaced);
        add("transit.max_in_flight", &keys.max_in_flight);
        if let Some(drop_in) = &self.drop_in {
            add("drop_in.plugin", &drop_in.plugin.as_str());
        }
        add("auth.method", &self.auth.method.name());
        add("auth.namespace", &self.auth.namespace.as_str());
        add("auth.mount", &mount);
        add("auth.role", &role);
        add("health.tolerance", &limits.tolerance.as_millis());
        add("health.fail_after", &limits.fail_after.as_millis());
        if let Some(seeds) = self.outage.settings() {
            add("outage.seed_cache", &seeds.max_age.as_millis());
            add("outage.local_kek", &seeds.local_kek);
        }
        add("limits.max_waiting", &self.max_waiting);
        lines
    }
}

fn names(key: &TransitKey) -> [&str; 3] {
    [
        key.namespace.as_str(),
        key.mount.as_str(),
        key.name.as_str(),
    ]
}

/// Where the method is mounted, and the role.
fn login(method: &Method) -> (Option<&str>, Option<&str>) {
    match method {
        Method::Token(_) => (None, None),
        Method::Kubernetes(jwt) | Method::Jwt(jwt) => {
            (Some(jwt.mount.as_str()), jwt.role.as_deref())
        }
        Method::AppRole(approle) => (Some(approle.mount.as_str()), None),
        Method::Userpass(userpass) => (Some(userpass.mount.as_str()), None),
        Method::Cert(cert) => (Some(cert.mount.as_str()), cert.role.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "kms_version = \"v2\"\n\
        [socket]\npath = \"/run/kms/kms.sock\"\nmode = \"0660\"\n\
        [vault]\naddress = [\"https://a:8200\", \"https://b:8200\"]\nnamespace = \"team\"\nca_file = \"/ca.pem\"\n\
        tls_server_name = \"vault\"\n\
        [transit]\nmount = \"transit\"\nkey = \"kms\"\nkey_id_suffix = \"x\"\n\
        [[transit.decrypt_also]]\nkey = \"old\"\n\
        [auth]\nmethod = \"jwt\"\nrole = \"r\"\njwt_file = \"/etc/jwt\"\n\
        [health]\ntolerance = \"10m\"\n[limits]\nmax_waiting = 1024\n\
        [log]\nlevel = \"info\"\n[admin]\nlisten = \"127.0.0.1:8790\"\n[state]\ndir = \"/var/lib/kms\"\n";

    fn fingerprint(text: &str) -> String {
        let config = Config::parse(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        config.shared_fingerprint()
    }

    fn changed(from: &str, to: &str) -> String {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{from}");
        fingerprint(&text)
    }

    #[test]
    fn it_differs_with_every_key_that_nodes_share() {
        let own = fingerprint(WHOLE);
        let mut seen = vec![own];
        for (from, to) in [
            ("\"v2\"", "\"v2beta1\""),
            ("kms.sock", "other.sock"),
            ("0660", "0600"),
            (
                "\"https://a:8200\", \"https://b:8200\"",
                "\"https://a:8200\"",
            ),
            ("\"team\"", "\"other\""),
            ("/ca.pem", "/other.pem"),
            ("server_name = \"vault\"", "server_name = \"other\""),
            ("mount = \"transit\"", "mount = \"other\""),
            ("key = \"kms\"", "key = \"other\""),
            ("suffix = \"x\"", "suffix = \"y\""),
            ("key = \"old\"", "key = \"older\""),
            ("[[transit.decrypt_also]]\nkey = \"old\"\n", ""),
            (
                "key = \"old\"",
                "key = \"old\"\nassociated_data = \"bao-kms-provider\"\nprovider_name = \"a\"\n\
                 cluster_id = \"b\"\ninstance_id = \"c\"",
            ),
            (
                "key = \"old\"",
                "key = \"old\"\nassociated_data = \"bao-kms-provider\"\nprovider_name = \"a\"\n\
                 cluster_id = \"b\"\ninstance_id = \"d\"",
            ),
            ("[log]", "[drop_in]\nplugin = \"kleidi\"\n[log]"),
            ("[log]", "[drop_in]\nplugin = \"vault-kms-provider\"\n[log]"),
            ("method = \"jwt\"", "method = \"kubernetes\""),
            ("role = \"r\"", "role = \"s\""),
            ("role = \"r\"", "role = \"r\"\nmount = \"other\""),
            ("role = \"r\"", "role = \"r\"\nnamespace = \"root\""),
            ("\"10m\"", "\"11m\""),
            ("1024", "1023"),
        ] {
            let other = changed(from, to);
            assert!(!seen.contains(&other), "{from} -> {to}");
            seen.push(other);
        }
    }

    #[test]
    fn it_is_the_same_whatever_belongs_to_one_node_and_however_it_is_written() {
        let own = fingerprint(WHOLE);
        assert_eq!(own.len(), 16);
        for (from, to) in [
            ("/etc/jwt", "/etc/other"),
            ("\"info\"", "\"debug\""),
            ("8790", "8791"),
            ("/etc/jwt\"\n", "/etc/jwt\"\n[drop_in]\n"),
            ("/var/lib/kms", "/var/lib/other"),
            ("mode = \"0660\"", "mode = \"0660\"\nallow_uids = [0, 17]"),
            ("mount = \"transit\"\n", ""),
            ("\"10m\"", "\"600s\""),
            ("kms_version = \"v2\"\n", "# A comment.\n"),
            ("max_waiting = 1024\n", ""),
        ] {
            assert_eq!(changed(from, to), own, "{from} -> {to}");
        }
    }

    #[test]
    fn it_holds_no_credential() {
        let text = "[vault]\naddress = \"https://a\"\n[transit]\nkey = \"kms\"\n[auth]\nmethod = \"approle\"\n\
            role_id = \"r0le\"\nsecret_id = \"s3cret\"\n";
        let config = Config::parse(text).unwrap_or_else(|errors| panic!("{errors}"));
        let hashed = config.shared();
        assert!(
            !hashed.contains("r0le") && !hashed.contains("s3cret"),
            "{hashed}"
        );
    }
}
