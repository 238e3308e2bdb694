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
