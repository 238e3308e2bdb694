//! Vault's envelopes, and the responses that never change.

use axum::http::StatusCode;
use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

const LEASE_SECONDS: u64 = 3_600;

/// One response.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Option<Value>,
}

/// A success: `data` in Vault's envelope.
pub(super) fn success(data: Value) -> Answer {
    plain(envelope(data, Value::Null))
}

/// An error response: 400 with the text as it is.
pub(super) fn refused(text: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, text)
}

/// An error with one text.
pub(super) fn error(status: StatusCode, text: &str) -> Answer {
    Answer {
        status,
        body: Some(json!({ "errors": [text] })),
    }
}

/// An error without a text.
pub(super) fn empty_error(status: StatusCode) -> Answer {
    Answer {
        status,
        body: Some(json!({ "errors": [] })),
    }
}

/// A body as it is.
pub(super) fn plain(body: Value) -> Answer {
    Answer {
        status: StatusCode::OK,
        body: Some(body),
    }
}

/// Vault's envelope of a success.
pub(super) fn envelope(data: Value, auth: Value) -> Value {
    json!({
        "request_id": format!("{:032x}", fastrand::u128(..)), "lease_id": "", "renewable": false,
        "lease_duration": 0, "data": data, "wrap_info": null, "warnings": null, "auth": auth,
    })
}

/// The response of `auth/token/renew-self`.
pub(super) fn renewed(token: &str) -> Answer {
    let auth = json!({
        "client_token": token, "accessor": "memory", "policies": ["root"], "metadata": null,
        "lease_duration": LEASE_SECONDS, "renewable": true, "entity_id": "",
        "token_type": "service", "orphan": true, "mfa_requirement": null, "num_uses": 0,
    });
    plain(envelope(Value::Null, auth))
}

/// The response of `sys/health`.
pub(super) fn health() -> Value {
    json!({
        "initialized": true, "sealed": false, "standby": false,
        "replication_performance_mode": "disabled", "replication_dr_mode": "disabled",
        "server_time_utc": 0, "version": "memory", "cluster_name": "memory",
    })
}

/// The response of `sys/capabilities-self` for a token that may do everything.
pub(super) fn capabilities(body: &Value) -> Value {
    let paths = body["paths"].as_array().cloned().unwrap_or_default();
    let paths = paths.iter().filter_map(Value::as_str);
    paths
        .map(|path| (path.to_owned(), json!(["root"])))
        .collect::<Map<_, _>>()
        .into()
}

/// Base64 as Go accepts and rejects it.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|wrong| {
        let at = match wrong {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(at) => at,
            DecodeError::InvalidPadding => text.len(),
        };
        format!("illegal base64 data at input byte {at}")
    })
}

/// The response of `auth/token/lookup-self`.
pub(super) fn lookup(token: &str) -> Value {
    json!({
        "id": token, "accessor": "memory", "policies": ["root"], "path": "auth/token/create",
        "meta": null, "display_name": "token", "num_uses": 0, "orphan": true, "type": "service",
        "creation_ttl": LEASE_SECONDS, "ttl": LEASE_SECONDS, "explicit_max_ttl": 0,
        "renewable": true, "entity_id": "",
    })
}
