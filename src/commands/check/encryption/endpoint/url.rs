//! The path of a URL, as Go's `net/url` finds it.

use std::net::Ipv6Addr;

/// The decoded path of a URL with the scheme `unix`; empty if the URL has none.
///
/// # Errors
/// Why Go does not take it for one, as the second half of a sentence.
pub(super) fn path(url: &str) -> Result<String, String> {
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    if url.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("it has a control character".to_owned());
    }
    let rest = without_scheme(url).ok_or("it does not begin with unix://")?;
    decoded(fragment)?;
    let (rest, _) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        return Ok(String::new());
    }
    match rest.strip_prefix("//") {
        // What follows up to the next slash is taken for a host, and ignored.
        Some(after) => {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            check_authority(authority)?;
            decoded(path)
        }
        None => decoded(rest),
    }
}

/// Whether a `%` is not followed by two hexadecimal digits.
pub(super) fn has_invalid_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut escapes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    escapes.any(|(at, _)| {
        let digits = bytes.get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    }) || bytes.iter().any(|byte| *byte < b' ' || *byte == 0x7f)
}

fn without_scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once(':')?;
    scheme.eq_ignore_ascii_case("unix").then_some(rest)
}

fn decoded(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte != b'%' {
            decoded.push(*byte);
            at += 1;
            continue;
        }
        let escape = text.get(at + 1..at + 3);
        let escape = escape.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.ok_or("it has a % that begins no escape: write %25")?);
        at += 3;
    }
    Ok(String::from_utf8_lossy(&decoded).into_owned())
}

fn check_authority(authority: &str) -> Result<(), String> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_user = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    // Of the others Go takes every character beyond ASCII.
    let is_host =
        |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "-_.~!$&'()*+,;=:<>\"%".contains(c);
    let (host, port) = match host
        .strip_prefix('[')
        .and_then(|rest| rest.rsplit_once(']'))
    {
        Some((address, port)) if is_address(address) => ("", port),
        _ => (host, host.rfind(':').map_or("", |at| &host[at..])),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let is_port = digits.len() < port.len() || port.is_empty();
    let is_escape = |at: usize| {
        let escape = host.get(at + 1..at + 3).unwrap_or_default();
        escape == "25" || u8::from_str_radix(escape, 16).is_ok_and(|byte| byte >= 0x80)
    };
    let mut escapes = host.match_indices('%');
    let is_valid = user.chars().all(is_user)
        && host.chars().all(is_host)
        && is_port
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && escapes.all(|(at, _)| is_escape(at));
    if is_valid {
        return decoded(user).map(|_| ());
    }
    Err(format!(
        "{authority:?} after unix:// is not a host: unix:/// needs three slashes"
    ))
}

/// Whether it is an address of IPv6, with a zone or without.
fn is_address(text: &str) -> bool {
    let (address, zone) = text.split_once("%25").unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty()
}
