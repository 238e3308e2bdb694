//! Proxies, from the environment alone: Vault's own variable, else the common ones.

use crate::config::Environment;
use crate::config::reader::Reader;
use crate::vault::{Address, Proxies, Proxy};

/// A variable, and the proxy that it names.
type Named = Option<(String, Proxy)>;

/// As Vault's client reads them (`api/client.go`): its own variable applies to all schemes.
pub(super) fn proxies(
    reader: &mut Reader,
    environment: &Environment,
    addresses: &[Address],
) -> Proxies {
    let (https, http, exempt) = read_all(reader, environment);
    let proxy = |named: &Named| named.as_ref().map(|(_, proxy)| proxy.clone());
    let without_exemptions = Proxies {
        https: proxy(&https),
        http: proxy(&http),
        exempt: String::new(),
    };
    let proxies = Proxies {
        exempt: exempt.map(|(_, list)| list.to_owned()).unwrap_or_default(),
        ..without_exemptions.clone()
    };
    let proxied = addresses
        .iter()
        .filter(|address| without_exemptions.for_address(address).is_some());
    for address in proxied {
        let named = if address.is_tls() { &https } else { &http };
        if let Some((name, _)) = named
            && proxies.for_address(address).is_some_and(|it| it.is_tls())
            && !reader.errors.iter().any(|error| error.key == *name)
        {
            let cause = "is an https:// proxy, which is not supported: vault.ca_file, \
                         vault.tls_server_name and the client certificate are for Vault";
            let remedy = if address.is_tls() {
                "name an http:// proxy: TLS to Vault goes through it unread"
            } else {
                "let vault.address be https:// and name an http:// proxy: TLS goes through it unread"
            };
            reader.error_with(name, cause, remedy);
        }
        let exempting = exempt.filter(|_| proxies.for_address(address).is_none());
        // Their values may hold a password.
        if let Some((name, _)) = named {
            reader.uses("proxy", name, None);
        }
        if let Some((name, list)) = exempting {
            reader.uses("proxy", name, Some(list));
        }
    }
    proxies
}

/// The proxies for https and for http, and the list of what uses neither.
fn read_all<'a>(
    reader: &mut Reader,
    environment: &'a Environment,
) -> (Named, Named, Option<(&'static str, &'a str)>) {
    for name in ["PROXY_ADDR", "HTTP_PROXY"] {
        if let Some((name, text)) = environment.vault(name) {
            let proxy = read(reader, &name, text);
            return (proxy.clone(), proxy, None);
        }
    }
    let find = |names: &[&'static str]| {
        let mut found = names
            .iter()
            .filter_map(|name| Some((*name, environment.get(name)?)));
        found.next()
    };
    // A CGI program's HTTP_PROXY is a header that its client sent (httpoxy).
    let is_cgi = environment.get("REQUEST_METHOD").is_some();
    let http: &[_] = if is_cgi {
        &["http_proxy"]
    } else {
        &["HTTP_PROXY", "http_proxy"]
    };
    let https = find(&["HTTPS_PROXY", "https_proxy"]);
    let https = https.and_then(|(name, text)| read(reader, name, text));
    let http = find(http).and_then(|(name, text)| read(reader, name, text));
    (https, http, find(&["NO_PROXY", "no_proxy"]))
}

fn read(reader: &mut Reader, name: &str, text: &str) -> Named {
    match Proxy::try_new(text) {
        Ok(proxy) => Some((name.to_owned(), proxy)),
        Err(error) => {
            reader.error(name, error);
            None
        }
    }
}
