//! Proxies, from the environment alone: Vault's own variable, else the common ones.

use crate::config::Environment;
use crate::config::reader::Reader;
use crate::vault::{Proxies, Proxy};

/// As Vault's client reads them (`api/client.go`): its own variable applies to all schemes.
pub(super) fn proxies(reader: &mut Reader, environment: &Environment) -> Proxies {
    for name in ["PROXY_ADDR", "HTTP_PROXY"] {
        if let Some(text) = environment.vault(name) {
            let proxy = read(reader, &format!("VAULT_{name}"), text);
            return Proxies {
                https: proxy.clone(),
                http: proxy,
                exempt: String::new(),
            };
        }
    }
    // A CGI program's HTTP_PROXY is a header that its client sent (httpoxy).
    let is_cgi = environment.get("REQUEST_METHOD").is_some();
    let http: &[_] = if is_cgi {
        &["http_proxy"]
    } else {
        &["HTTP_PROXY", "http_proxy"]
    };
    Proxies {
        https: first(reader, environment, &["HTTPS_PROXY", "https_proxy"]),
        http: first(reader, environment, http),
        exempt: ["NO_PROXY", "no_proxy"]
            .iter()
            .find_map(|name| environment.get(name))
            .unwrap_or_default()
            .to_owned(),
    }
}

fn first(reader: &mut Reader, environment: &Environment, names: &[&str]) -> Option<Proxy> {
    let found = names
        .iter()
        .find_map(|name| Some((*name, environment.get(name)?)));
    let (name, text) = found?;
    read(reader, name, text)
}

fn read(reader: &mut Reader, name: &str, text: &str) -> Option<Proxy> {
    match Proxy::try_new(text) {
        Ok(proxy) => Some(proxy),
        Err(error) => {
            reader.error(name, error);
            None
        }
    }
}
