//! The forms in which an operator has a stored value at hand, and what is inside. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::diagnosis::Diagnosis;
use crate::etcd::stored::{Damaged, Stored};

/// A value, and the key of etcd where the input names it.
pub(super) struct Input {
    /// The key.
    pub(super) key: Option<String>,
    /// The value, which may be a plaintext.
    pub(super) value: Zeroizing<Vec<u8>>,
    /// How it was given.
    pub(super) given_as: &'static str,
}

/// The JSON of `etcdctl get -w json` and of etcd's HTTP gateway.
#[derive(Deserialize)]
struct RangeJson {
    kvs: Option<Vec<KvJson>>,
    header: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct KvJson {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
}

/// Reads what was given.
///
/// # Errors
/// If it has none of the forms.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Input>, Diagnosis> {
    let trimmed = bytes.trim_ascii();
    if trimmed.is_empty() {
        let cause = "there is no value: the input is empty";
        return Err(Diagnosis::new(cause).with_remedy(
            "the key may not exist; list keys with: etcdctl get --prefix --keys-only /registry/",
        ));
    }
    if trimmed.starts_with(b"{") {
        return json(bytes, trimmed);
    }
    if trimmed.starts_with(b"/") {
        return key_and_value(bytes.trim_ascii_start());
    }
    if is_stored(bytes) {
        let value = without_newline(bytes);
        return Ok(vec![input(None, value.to_vec(), "raw")]);
    }
    if let Some((value, given_as)) = text_form(trimmed) {
        if is_stored(&value) {
            return Ok(vec![input(None, value, given_as)]);
        }
        // It may be any secret of the operator: nothing of it is shown.
        let cause =
            format!("the input is {given_as}, but what it holds is no value of kube-apiserver");
        return Err(Diagnosis::new(cause).with_remedy(REMEDY));
    }
    Err(
        Diagnosis::new("the input is no value of kube-apiserver in a form that is known")
            .with_remedy(REMEDY),
    )
}

const REMEDY: &str = "give what etcdctl get KEY printed (with or without --print-value-only, -w json or -w fields aside), the \
    value in base64, or its hexdump -C or xxd";

/// Whether this begins as a value of kube-apiserver does, or as the beginning of one that was cut off.
fn is_stored(bytes: &[u8]) -> bool {
    !matches!(
        Stored::parse(bytes),
        Err(Damaged::Foreign(_) | Damaged::Empty)
    ) && (bytes.len() > 3 || bytes == b"k8s")
}

/// `etcdctl` writes a newline after a value. That of KMS v2 ends where its last field does, so that the newline shows;
/// elsewhere it looks like the last byte of a ciphertext, except by the blocks of AES-CBC.
fn without_newline(bytes: &[u8]) -> &[u8] {
    match bytes.strip_suffix(b"\n") {
        Some(shorter) if Stored::parse(bytes).is_err() => shorter,
        _ => bytes,
    }
}

fn json(bytes: &[u8], trimmed: &[u8]) -> Result<Vec<Input>, Diagnosis> {
    let Ok(range) = serde_json::from_slice::<RangeJson>(trimmed) else {
        // A stored object in JSON, whole or cut off, is a value itself.
        return Ok(vec![input(None, bytes.to_vec(), "raw")]);
    };
    let Some(kvs) = range.kvs else {
        return match range.header {
            Some(_) => Err(Diagnosis::new("the answer of etcd holds no value")
                .with_remedy("the key does not exist; --etcd-prefix of kube-apiserver may be another than /registry")),
            None => Ok(vec![input(None, bytes.to_vec(), "raw")]),
        };
    };
    let decoded = |kv: KvJson| -> Result<Input, Diagnosis> {
        let decode = |field: &str, text: &str| {
            let cause = format!("the answer of etcd: {field} is not base64");
            let decoded = STANDARD.decode(text).map_err(|_| Diagnosis::new(cause));
            decoded.map_err(|error| error.with_remedy("read it again with etcdctl get -w json"))
        };
        let key = decode("a key", &kv.key)?;
        let key = String::from_utf8_lossy(&key).into_owned();
        Ok(input(
            Some(key),
            decode("a value", &kv.value)?,
            "JSON of etcd",
        ))
    };
    kvs.into_iter().map(decoded).collect()
}

/// What `etcdctl get KEY` writes: a line with the key, and the value with a newline.
fn key_and_value(bytes: &[u8]) -> Result<Vec<Input>, Diagnosis> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (key, value) = bytes.split_at(end.unwrap_or(bytes.len()));
    let value = value.strip_prefix(b"\n").unwrap_or(value);
    if value.is_empty() {
        let cause = "after the first line, which is a key, there is no value";
        return Err(Diagnosis::new(cause).with_remedy("leave --keys-only out"));
    }
    let key = String::from_utf8_lossy(key.trim_ascii()).into_owned();
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    Ok(vec![input(Some(key), value.to_vec(), "etcdctl get")])
}

/// The text forms: a dump, hexadecimal digits, base64.
fn text_form(trimmed: &[u8]) -> Option<(Vec<u8>, &'static str)> {
    let text = std::str::from_utf8(trimmed).ok()?;
    if let Some(bytes) = dump(text) {
        return Some((bytes, "a hexdump"));
    }
    let joined: String = text.split_whitespace().collect();
    if let Some(bytes) = hex_digits(&joined) {
        return Some((bytes, "hexadecimal"));
    }
    Some((STANDARD.decode(joined.as_bytes()).ok()?, "base64"))
}

/// `hexdump -C` (`00000000  6b 38  |k8|`, `*` for repeated lines) and `xxd` (`00000000: 6b38  k8`).
fn dump(text: &str) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut repeats = false;
    for line in text.lines() {
        if line.trim() == "*" {
            repeats = true;
            continue;
        }
        let (offset, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let is_xxd = offset.ends_with(':');
        let offset = offset.trim_end_matches(':');
        if offset.len() < 7 || offset.len() > 16 {
            return None;
        }
        let offset = usize::from_str_radix(offset, 16).ok()?;
        if repeats {
            fill(&mut bytes, offset)?;
            repeats = false;
        }
        if offset != bytes.len() {
            return None;
        }
        let digits = if is_xxd {
            rest.trim_start().split("  ").next()?
        } else {
            rest.split('|').next()?
        };
        let joined: String = digits.split_whitespace().collect();
        bytes.extend(hex_digits(&joined).or_else(|| joined.is_empty().then(Vec::new))?);
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// Repeats the last line up to an offset, which may be no more than a stored value is long (1.5 MiB, etcd's limit of a
/// request, and reserve).
fn fill(bytes: &mut Vec<u8>, offset: usize) -> Option<()> {
    const MAX_BYTES: usize = 16 << 20;
    let line = bytes.get(bytes.len().checked_sub(16)?..)?.to_vec();
    if offset > MAX_BYTES {
        return None;
    }
    while bytes.len() + 16 <= offset {
        bytes.extend(&line);
    }
    Some(())
}

fn hex_digits(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let value = digit(pair[0])? << 4 | digit(pair[1])?;
        u8::try_from(value).ok()
    };
    pairs.map(byte).collect()
}

fn input(key: Option<String>, value: Vec<u8>, given_as: &'static str) -> Input {
    Input {
        key,
        value: Zeroizing::new(value),
        given_as,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALUE: &[u8] = b"k8s:enc:aescbc:v1:key1:0123456789abcdef0123456789abcdef";

    fn only(bytes: &[u8]) -> Input {
        let mut inputs = read(bytes).expect("an input");
        assert_eq!(inputs.len(), 1);
        inputs.remove(0)
    }

    #[test]
    fn every_form_holds_the_same_value() {
        let base64 = STANDARD.encode(VALUE);
        let hex: String = VALUE.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut dumps = [String::new(), String::new()];
        for (index, line) in VALUE.chunks(16).enumerate() {
            let pairs: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let shown: String = line.iter().map(|byte| char::from(*byte)).collect();
            let offset = index * 16;
            dumps[0] += &format!("{offset:08x}  {}  |{shown}|\n", pairs.join(" "));
            dumps[1] += &format!("{offset:08x}: {}  {shown}\n", pairs.join(""));
        }
        dumps[0] += &format!("{:08x}\n", VALUE.len());
        let json =
            format!(r#"{{"header":{{}},"kvs":[{{"key":"L2E=","value":"{base64}"}}],"count":1}}"#);
        let etcdctl = [b"/registry/secrets/a/b\n", VALUE, b"\n"].concat();
        let lines: Vec<_> = base64.as_bytes().chunks(20).collect();
        let forms: [(&[u8], &str); 9] = [
            (VALUE, "raw"),
            (&[VALUE, b"\n"].concat(), "raw"),
            (base64.as_bytes(), "base64"),
            (&lines.join(&b'\n'), "base64"),
            (hex.as_bytes(), "hexadecimal"),
            (dumps[0].as_bytes(), "a hexdump"),
            (dumps[1].as_bytes(), "a hexdump"),
            (json.as_bytes(), "JSON of etcd"),
            (&etcdctl, "etcdctl get"),
        ];
        for (bytes, given_as) in forms {
            let input = only(bytes);
            assert_eq!((&**input.value, input.given_as), (VALUE, given_as));
        }
        assert_eq!(only(&etcdctl).key.as_deref(), Some("/registry/secrets/a/b"));
    }

    #[test]
    fn repeated_lines_of_a_dump_are_filled_in() {
        let dump = "00000000  7b 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |{...............|\n\
            00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n*\n00000040\n";
        assert_eq!(only(dump.as_bytes()).value.len(), 64);
        let huge = dump.replace("00000040", "ffffffffffff");
        assert!(read(huge.as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_value_is_an_error_that_shows_nothing_of_it() {
        for foreign in [
            &b"hunter2"[..],
            b"aHVudGVyMg==",
            b"",
            b"/registry/secrets/a/b\n",
            b"{\"header\":{},\"count\":0}",
        ] {
            let error = read(foreign).err().expect("an error");
            assert!(error.remedy.is_some());
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes: Vec<u8>, text in "[0-9a-f: |*\n]{0,200}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }
    }
}
