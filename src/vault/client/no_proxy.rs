//! `NO_PROXY`, as Go's clients read it (`golang.org/x/net/http/httpproxy`): the host that runs this
//! also runs kubelet and kube-apiserver, with the same variable.

use std::net::IpAddr;

/// Whether the list exempts this host, an IP address without brackets, at this port.
pub(super) fn exempts(list: &str, host: &str, port: u16) -> bool {
    let ip = parse_ip(host);
    let mut entries = list.split(',').map(|entry| entry.trim().to_lowercase());
    entries.any(|entry| matches(&entry, host, ip, port))
}

fn matches(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = parse_network(entry) {
        return ip.is_some_and(|ip| contains(network, bits, ip));
    }
    let (name, of_port) = split_port(entry).unwrap_or((entry, ""));
    let is_port = of_port.is_empty() || of_port == port.to_string();
    match (parse_ip(name), ip) {
        (Some(exempt), ip) => ip == Some(exempt) && is_port,
        (None, Some(_)) => false,
        (None, None) => is_port && is_in_domain(name, host),
    }
}

/// `example` and `*.example` as well as `.example` exempt what is below `example`; only the first of
/// them exempts `example` itself. A name is compared as it is: internationalised ones are not
/// supported in addresses either, except in their ASCII form.
fn is_in_domain(name: &str, host: &str) -> bool {
    let name = name
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(name);
    match name.strip_prefix('.') {
        _ if name.is_empty() => false,
        Some(domain) => is_below(host, domain),
        None => host == name || is_below(host, name),
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    let rest = host.strip_suffix(domain);
    rest.is_some_and(|rest| rest.ends_with('.'))
}

/// The parts of `host:port` or `[ip]:port`.
fn split_port(entry: &str) -> Option<(&str, &str)> {
    let (host, port) = entry.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match bare {
        Some(bare) => Some((bare, port)),
        None if host.contains([':', '[', ']']) => None,
        None => Some((host, port)),
    }
}

/// An IPv4 address is the same however it is written.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let ip = text.parse::<IpAddr>().ok()?;
    Some(ip.to_canonical())
}

/// The parts of `address/bits`.
fn parse_network(entry: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = entry.split_once('/')?;
    let network = address.parse::<IpAddr>().ok()?;
    let bits = bits.parse().ok()?;
    let all = if network.is_ipv4() { 32 } else { 128 };
    (bits <= all).then_some((network, bits))
}

fn contains(network: IpAddr, bits: u32, ip: IpAddr) -> bool {
    // The bits that differ, without those of the host.
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let differing = network.to_bits() ^ ip.to_bits();
            differing.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let differing = network.to_bits() ^ ip.to_bits();
            differing.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_exempts_the_addresses_that_share_its_bits() {
        for (list, host, is_exempt) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.0.255.255", false),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.0.0/0", "192.0.2.1", true),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("10.1.2.3/33", "10.1.2.3", false),
            ("fd00:1::/32", "fd00:1::7", true),
            ("fd00:1::/32", "fd00:2::7", false),
            ("fd00:1::/0", "2001:db8::1", true),
            ("fd00:1::7/128", "fd00:1::7", true),
            ("fd00:1::7/128", "fd00:1::6", false),
            ("fd00:1::/32", "10.1.2.3", false),
            ("10.0.0.0/8", "vault.example", false),
        ] {
            assert_eq!(exempts(list, host, 8200), is_exempt, "{list} {host}");
        }
    }

    #[test]
    fn an_entry_with_a_port_exempts_that_port_alone_and_an_empty_one_nothing() {
        for (list, host, is_exempt) in [
            ("vault.example:8200", "vault.example", true),
            ("vault.example:8201", "vault.example", false),
            ("10.1.2.3:8200", "10.1.2.3", true),
            ("10.1.2.3:8201", "10.1.2.3", false),
            ("[fd00::1]:8201", "fd00::1", false),
            (",,", "vault.example", false),
            ("", "vault.example.", false),
            (":8200", "vault.example", false),
            ("*.example", "example", false),
            ("*.example", "vault.example", true),
            ("*example", "vault.example", false),
        ] {
            assert_eq!(exempts(list, host, 8200), is_exempt, "{list:?} {host}");
        }
    }
}
