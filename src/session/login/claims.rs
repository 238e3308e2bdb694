//! What a JWT says of itself, for `check`. Its signature is not verified: Vault does that.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::system::bounded;

/// Far more than any issuer or subject has.
const MAX_TEXT: usize = 200;

/// The claims that Vault compares with a role, and the times, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who issued it.
    pub issuer: Option<String>,
    /// Whom it is for.
    pub subject: Option<String>,
    /// Who is to accept it.
    pub audiences: Vec<String>,
    /// Until when it is valid.
    pub expires: Option<i64>,
    /// From when it is valid.
    pub not_before: Option<i64>,
    /// When it was issued.
    pub issued: Option<i64>,
}

#[derive(Deserialize)]
struct Payload {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// Reads the claims of a JWT in its compact form (RFC 7519).
    #[must_use]
    pub fn of(jwt: &str) -> Option<Self> {
        let mut parts = jwt.split('.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let payload: Payload = serde_json::from_slice(&payload).ok()?;
        let text = |text: String| bounded(&text, MAX_TEXT);
        let audiences = match payload.aud {
            None => Vec::new(),
            Some(Audience::One(one)) => vec![one],
            Some(Audience::Several(all)) => all,
        };
        #[expect(clippy::cast_possible_truncation, reason = "a float saturates")]
        let seconds = |time: f64| time as i64;
        Some(Self {
            issuer: payload.iss.map(text),
            subject: payload.sub.map(text),
            audiences: audiences.into_iter().map(text).collect(),
            expires: payload.exp.map(seconds),
            not_before: payload.nbf.map(seconds),
            issued: payload.iat.map(seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn the_claims_are_read_in_each_of_their_forms() {
        let one = jwt(r#"{"iss":"https://a","sub":"b","aud":"c","exp":10,"nbf":8.5,"iat":7}"#);
        let claims = Claims::of(&one).expect("a JWT");
        assert_eq!(claims.issuer.as_deref(), Some("https://a"));
        assert_eq!(claims.audiences, ["c"]);
        let times = (claims.issued, claims.not_before, claims.expires);
        assert_eq!(times, (Some(7), Some(8), Some(10)));
        let several = Claims::of(&jwt(r#"{"aud":["c","d"]}"#)).expect("a JWT");
        assert_eq!(several.audiences, ["c", "d"]);
        assert_eq!(several.expires, None);
    }

    #[test]
    fn what_is_no_jwt_has_no_claims() {
        for text in [
            "",
            "s.token",
            "hvs.CAESI",
            "a.b.c",
            "a.e30.c.d",
            "e30.W10.x",
        ] {
            assert_eq!(Claims::of(text), None, "{text:?}");
        }
    }
}
