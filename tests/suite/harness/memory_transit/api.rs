//! The paths of the API and what each does.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::MOUNT;
use super::batch::{self, Way};
use super::envelope::{
    Answer, capabilities, empty_error, error, health, lookup, plain, refused, renewed, success,
};
use super::keys::Key;

/// All that the server knows.
pub(super) struct State {
    pub(super) token: String,
    keys: BTreeMap<String, Key>,
}

/// One request; the path without `/v1/`.
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl State {
    pub(super) fn new(key: &str) -> Self {
        let token = format!("hvs.memory{:016x}", fastrand::u64(..));
        Self {
            token,
            keys: BTreeMap::from([(key.to_owned(), Key::new())]),
        }
    }

    pub(super) fn rotate(&mut self, name: &str) {
        if let Some(key) = self.keys.get_mut(name) {
            key.rotate();
        }
    }

    pub(super) fn answer(&mut self, call: &Call<'_>) -> Answer {
        if call.path == "sys/health" {
            return plain(health());
        }
        if call.token != Some(self.token.as_str()) {
            let text = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
            return error(StatusCode::FORBIDDEN, text);
        }
        let body = match call.body {
            [] => Value::Object(Map::new()),
            bytes => match serde_json::from_slice(bytes) {
                Ok(body) => body,
                Err(wrong) => return refused(&format!("failed to decode JSON input: {wrong}")),
            },
        };
        let in_mount = call
            .path
            .strip_prefix(MOUNT)
            .and_then(|path| path.strip_prefix('/'));
        match in_mount {
            Some(path) => self.transit(call.method, path, &body),
            None => self.system(call.path, &body),
        }
    }

    fn system(&self, path: &str, body: &Value) -> Answer {
        match path {
            "auth/token/lookup-self" => success(lookup(&self.token)),
            "auth/token/renew-self" => renewed(&self.token),
            "sys/capabilities-self" => success(capabilities(body)),
            _ => {
                let text = format!("no handler for route \"{path}\". route entry not found.");
                error(StatusCode::NOT_FOUND, &text)
            }
        }
    }

    fn transit(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let parts: Vec<&str> = path.split('/').collect();
        match (method, parts.as_slice()) {
            ("POST" | "PUT", ["encrypt", name]) => self.crypt(name, body, Way::Encrypt),
            ("POST" | "PUT", ["decrypt", name]) => self.crypt(name, body, Way::Decrypt),
            ("GET", ["keys", name]) => match self.keys.get(*name) {
                Some(key) => success(key.describe(name)),
                None => empty_error(StatusCode::NOT_FOUND),
            },
            ("POST" | "PUT", ["keys", name]) => {
                let key = self.keys.entry((*name).to_owned()).or_insert_with(Key::new);
                success(key.describe(name))
            }
            ("POST" | "PUT", ["keys", name, "rotate"]) => match self.keys.get_mut(*name) {
                Some(key) => {
                    key.rotate();
                    success(key.describe(name))
                }
                None => refused("key not found"),
            },
            ("POST" | "PUT", ["keys", name, "config"]) => self.configure(name, body),
            ("DELETE", ["keys", name]) => self.delete(name),
            _ => {
                let text = "1 error occurred:\n\t* unsupported path\n\n";
                error(StatusCode::NOT_FOUND, text)
            }
        }
    }

    fn crypt(&self, name: &str, body: &Value, way: Way) -> Answer {
        let Some(key) = self.keys.get(name) else {
            return refused("encryption key not found");
        };
        match body.get("batch_input") {
            Some(items) => batch::answer(key, way, items),
            None => way
                .item(key, body)
                .map_or_else(|text| refused(&text), success),
        }
    }

    fn configure(&mut self, name: &str, body: &Value) -> Answer {
        let Some(key) = self.keys.get_mut(name) else {
            return refused(&format!("no existing key named {name} could be found"));
        };
        match key.configure(body) {
            Ok(()) => success(key.describe(name)),
            Err(text) => refused(&text),
        }
    }

    fn delete(&mut self, name: &str) -> Answer {
        match self.keys.get(name) {
            Some(key) if key.deletion_allowed => {
                self.keys.remove(name);
                Answer {
                    status: StatusCode::NO_CONTENT,
                    body: None,
                }
            }
            Some(_) => {
                let why = "deletion is not allowed for this key";
                refused(&format!("error deleting policy {name}: {why}"))
            }
            None => refused(&format!(
                "error deleting policy {name}: could not delete key; not found"
            )),
        }
    }
}
