//! An in-memory Vault: AppRole logins, tokens that end, and Transit keys that are rotated, deleted and made again.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const TTL: Duration = Duration::from_secs(300);
const MAX_TTL: Duration = Duration::from_secs(1200);
/// The second since 1970 in which a run begins, by the clock of Vault.
const BEGAN: u64 = 1_700_000_000;

/// All that the server knows.
#[derive(Debug)]
pub(super) struct Vault {
    pub(super) is_sealed: bool,
    /// A policy denies paths that begin with it.
    pub(super) denied: Option<&'static str>,
    /// Every key that ever had the name.
    pub(super) keys: Vec<Key>,
    /// Which of them has it now.
    pub(super) current: usize,
    /// The ciphertexts that were made.
    pub(super) values: BTreeMap<String, Encrypted>,
    /// When the key last encrypted or decrypted, or was read.
    pub(super) worked: Duration,
    tokens: BTreeMap<String, Token>,
    /// How many versions a server that lags knows.
    pub(super) stale: (usize, u32),
    serial: u64,
}

/// A key from its creation to its deletion.
#[derive(Debug)]
pub(super) struct Key {
    /// The creation of each version.
    pub(super) created: Vec<u64>,
    pub(super) min_decryption: u32,
}

/// A ciphertext and its origin.
#[derive(Debug, Clone)]
pub(super) struct Encrypted {
    pub(super) key: usize,
    pub(super) version: u32,
    pub(super) plaintext: String,
    associated_data: String,
}

#[derive(Debug)]
struct Token {
    until: Duration,
    last: Duration,
}

/// A status and a body.
pub(super) type Answer = (u16, Value);

fn error(status: u16, text: &str) -> Answer {
    (status, json!({ "errors": [text] }))
}

fn data(data: &Value) -> Answer {
    (200, json!({ "data": data }))
}

impl Key {
    fn new(now: Duration) -> Self {
        Self {
            created: vec![BEGAN + now.as_secs()],
            min_decryption: 1,
        }
    }

    pub(super) fn latest(&self) -> u32 {
        self.created.len() as u32
    }
}

impl Vault {
    pub(super) fn new() -> Self {
        Self {
            is_sealed: false,
            denied: None,
            keys: vec![Key::new(Duration::ZERO)],
            current: 0,
            values: BTreeMap::new(),
            worked: Duration::ZERO,
            tokens: BTreeMap::new(),
            stale: (0, 1),
            serial: 0,
        }
    }

    pub(super) fn rotate(&mut self, now: Duration) -> u32 {
        let key = &mut self.keys[self.current];
        key.created.push(BEGAN + now.as_secs());
        key.latest()
    }

    /// Deletes the key and makes another one of its name.
    pub(super) fn recreate(&mut self, now: Duration) {
        self.keys.push(Key::new(now));
        self.current = self.keys.len() - 1;
    }

    pub(super) fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Servers that lag know no more than this from now on.
    pub(super) fn fall_behind(&mut self) {
        self.stale = (self.current, self.keys[self.current].latest());
    }

    /// The key and the version with this number and time.
    pub(super) fn find(&self, version: u32, created: u64) -> Option<usize> {
        let is = |key: &Key| key.created.get(version as usize - 1) == Some(&created);
        self.keys.iter().position(is)
    }

    /// Whether the value can be decrypted now.
    pub(super) fn is_readable(&self, value: &Encrypted) -> bool {
        value.key == self.current && value.version >= self.keys[value.key].min_decryption
    }

    pub(super) fn answer(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: &Value,
        now: Duration,
        is_stale: bool,
    ) -> Answer {
        match path {
            "sys/health" => {
                return (200, json!({"initialized": true, "sealed": self.is_sealed}));
            }
            "sys/leader" => return (200, json!({"ha_enabled": false})),
            _ if self.is_sealed => return error(503, "Vault is sealed"),
            "auth/approle/login" if self.denied == Some(path) => {
                return error(400, "invalid role or secret ID");
            }
            "auth/approle/login" => return self.login(now),
            _ => {}
        }
        let token = token.unwrap_or_default();
        if self.tokens.get(token).is_none_or(|it| it.until <= now) {
            let text = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
            return error(403, text);
        }
        if self.denied.is_some_and(|denied| path.starts_with(denied)) {
            return error(403, "1 error occurred:\n\t* permission denied\n\n");
        }
        match path {
            "auth/token/lookup-self" => data(&json!({"ttl": 300, "renewable": true})),
            "auth/token/renew-self" => self.renew(token, now),
            "auth/token/revoke-self" => {
                self.tokens.remove(token);
                (204, Value::Null)
            }
            "transit/keys/kms" => {
                self.worked = now;
                self.describe(is_stale)
            }
            "transit/encrypt/kms" => self.items(body, now, is_stale, Self::encrypt),
            "transit/decrypt/kms" => self.items(body, now, is_stale, Self::decrypt),
            _ => error(404, "no handler for route \"x\". route entry not found."),
        }
    }

    fn login(&mut self, now: Duration) -> Answer {
        self.serial += 1;
        let name = format!("hvs.{}", self.serial);
        let token = Token {
            until: now + TTL,
            last: now + MAX_TTL,
        };
        self.tokens.insert(name.clone(), token);
        let auth =
            json!({"client_token": name, "lease_duration": TTL.as_secs(), "renewable": true});
        (200, json!({ "auth": auth }))
    }

    fn renew(&mut self, name: &str, now: Duration) -> Answer {
        let Some(token) = self.tokens.get_mut(name) else {
            return error(403, "permission denied");
        };
        token.until = (now + TTL).min(token.last);
        let left = token.until.saturating_sub(now).as_secs();
        let auth = json!({"client_token": name, "lease_duration": left, "renewable": true});
        (200, json!({ "auth": auth }))
    }

    /// The key as this server knows it, and its latest version there.
    fn known(&self, is_stale: bool) -> (usize, u32) {
        if is_stale {
            self.stale
        } else {
            (self.current, self.keys[self.current].latest())
        }
    }

    fn describe(&self, is_stale: bool) -> Answer {
        let (key, latest) = self.known(is_stale);
        let created = &self.keys[key].created[..latest as usize];
        let versions: serde_json::Map<_, _> = created
            .iter()
            .enumerate()
            .map(|(index, created)| ((index + 1).to_string(), json!(created)))
            .collect();
        data(&json!({
            "type": "aes256-gcm96", "latest_version": latest, "keys": versions,
            "min_decryption_version": self.keys[key].min_decryption, "min_encryption_version": 0,
            "supports_encryption": true, "supports_decryption": true,
        }))
    }

    fn items(
        &mut self,
        body: &Value,
        now: Duration,
        is_stale: bool,
        one: fn(&mut Self, &Value, bool) -> Result<Value, &'static str>,
    ) -> Answer {
        let Some(items) = body["batch_input"].as_array() else {
            return match one(self, body, is_stale) {
                Ok(made) => {
                    self.worked = now;
                    data(&made)
                }
                Err(text) => error(400, text),
            };
        };
        let mut results = Vec::new();
        let mut status = 200;
        for item in items {
            let mut made = one(self, item, is_stale).unwrap_or_else(|text| {
                status = 400;
                json!({"error": text, "plaintext": ""})
            });
            made["reference"] = item["reference"].clone();
            results.push(made);
        }
        if status == 200 {
            self.worked = now;
        }
        (status, json!({"data": {"batch_results": results}}))
    }

    fn encrypt(&mut self, item: &Value, is_stale: bool) -> Result<Value, &'static str> {
        let (key, latest) = self.known(is_stale);
        let wanted = item["key_version"].as_u64().unwrap_or_default() as u32;
        let version = if wanted == 0 { latest } else { wanted };
        if version > latest {
            return Err("requested version for encryption is higher than the latest key version");
        }
        if version < self.keys[key].min_decryption {
            return Err("no such key version");
        }
        self.serial += 1;
        let sealed = STANDARD.encode(self.serial.to_be_bytes());
        let ciphertext = format!("vault:v{version}:{sealed}");
        let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
        let value = Encrypted {
            key,
            version,
            plaintext: text("plaintext"),
            associated_data: text("associated_data"),
        };
        self.values.insert(ciphertext.clone(), value);
        Ok(json!({"ciphertext": ciphertext, "key_version": version}))
    }

    fn decrypt(&mut self, item: &Value, is_stale: bool) -> Result<Value, &'static str> {
        let (key, latest) = self.known(is_stale);
        let ciphertext = item["ciphertext"].as_str().unwrap_or_default();
        let Some(value) = self.values.get(ciphertext) else {
            return Err("cipher: message authentication failed");
        };
        if value.version > latest {
            return Err("invalid ciphertext: version is too new");
        }
        if value.version < self.keys[key].min_decryption {
            return Err("ciphertext or signature version is disallowed by policy (too old)");
        }
        let associated_data = item["associated_data"].as_str().unwrap_or_default();
        if value.key != key || value.associated_data != associated_data {
            return Err("cipher: message authentication failed");
        }
        Ok(json!({"plaintext": value.plaintext}))
    }
}
