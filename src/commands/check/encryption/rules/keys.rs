//! The keys that a file contains itself.

use super::super::file::{Local, Secret};
use super::super::refusal::Refusal;

const AES: [usize; 3] = [16, 24, 32];
const SECRETBOX: [usize; 1] = [32];

pub(super) fn check(local: &Local, path: &str, refusals: &mut Vec<Refusal>) {
    let kind = local.kind;
    if local.keys.is_empty() {
        let cause = format!("{path}.{kind} has no keys");
        refusals.push(Refusal::always(cause, "add a key, or remove that provider"));
    }
    let lengths: &[usize] = if kind == "secretbox" {
        &SECRETBOX
    } else {
        &AES
    };
    for (index, key) in local.keys.iter().enumerate() {
        let path = format!("{path}.{kind}.keys[{index}]");
        if key.name.is_empty() {
            let remedy = "give it the name that objects in etcd were written with, or a new one";
            refusals.push(Refusal::always(format!("{path} has no name"), remedy));
        }
        let problem = match key.secret {
            Secret::Missing => "has no secret".to_owned(),
            Secret::NotBase64 => "has a secret that is not base64".to_owned(),
            Secret::Bytes(length) if !lengths.contains(&length) => {
                let needed = if kind == "secretbox" {
                    "32"
                } else {
                    "16, 24 or 32"
                };
                format!("has a secret of {length} bytes, {kind} needs {needed}")
            }
            Secret::Bytes(_) => continue,
        };
        let remedy = "restore the key that was used, or for a new one write the output of `head -c 32 /dev/urandom | base64`";
        refusals.push(Refusal::always(format!("{path} {problem}"), remedy));
    }
}
