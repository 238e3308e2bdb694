//! The keys of `[auth]` that begin with `spiffe_`: a JWT from the SPIFFE Workload API.

use std::path::PathBuf;

use toml::Value;

use super::ONLY_ONE;
use crate::config::Environment;
use crate::config::raw::{self, RawValue};
use crate::config::reader::{Reader, absolute};
use crate::session::spiffe::{SpiffeId, TrustDomain, Workload};

/// Whether the JWT comes from the SPIFFE Workload API: whether one of its keys is set.
pub(super) fn is_configured(raw: &raw::Auth) -> bool {
    let keys = [
        &raw.spiffe_socket,
        &raw.spiffe_audience,
        &raw.spiffe_id,
        &raw.spiffe_trust_domain,
    ];
    keys.into_iter().any(Option::is_some)
}

pub(super) fn workload(
    reader: &mut Reader,
    raw: raw::Auth,
    environment: &Environment,
) -> Option<Workload> {
    if raw.jwt_file.is_some() {
        let cause = "conflicts with auth.spiffe_audience";
        reader.error_with("auth.jwt_file", cause, ONLY_ONE);
    }
    let default = || environment.spiffe_socket(reader).map(Value::from);
    let value: RawValue = raw.spiffe_socket.or_else(default);
    let remedy = "set it to the SPIFFE agent's socket, such as unix:///run/spire/agent/public/api.sock; or set SPIFFE_ENDPOINT_SOCKET";
    let socket = reader.required("auth.spiffe_socket", value, remedy, socket);
    let remedy = "set it to one of the bound_audiences of the role in Vault";
    let text = |text: &str| Ok::<_, String>(text.to_owned());
    let audience = reader.required("auth.spiffe_audience", raw.spiffe_audience, remedy, text);
    let before = reader.errors.len();
    let id = reader.parsed("auth.spiffe_id", raw.spiffe_id, SpiffeId::try_new);
    let domain = raw.spiffe_trust_domain;
    let trust_domain = reader.parsed("auth.spiffe_trust_domain", domain, TrustDomain::try_new);
    if let (Some(id), Some(domain)) = (&id, &trust_domain)
        && id.trust_domain() != domain.as_str()
    {
        let cause = format!(
            "{id} is not in auth.spiffe_trust_domain {:?}",
            domain.as_str()
        );
        reader.error("auth.spiffe_id", cause);
    }
    (reader.errors.len() == before).then_some(())?;
    Some(Workload {
        socket: socket?,
        audience: audience?,
        id,
        trust_domain,
    })
}

/// A path, or its URI: `unix:///path` or `unix:/path`.
fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    let path = path.strip_prefix("//").unwrap_or(path);
    absolute(path).map_err(|_| format!("{text:?} is neither unix:///path nor an absolute path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_a_path_or_its_uri() {
        for text in ["unix:///run/a.sock", "unix:/run/a.sock", "/run/a.sock"] {
            assert_eq!(socket(text), Ok(PathBuf::from("/run/a.sock")), "{text}");
        }
        for text in [
            "tcp://127.0.0.1:8000",
            "unix://run/a.sock",
            "run/a.sock",
            "unix:",
        ] {
            assert!(socket(text).is_err(), "{text}");
        }
    }
}
