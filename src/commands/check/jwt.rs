//! The JWT in a file: whom Vault will take the plugin for, and until when.

use std::time::Duration;

use jiff::Timestamp;

use super::Report;
use super::format::{listed, rounded};
use crate::session::{Claims, Settings};

const NAME: &str = "jwt";
/// Vault cannot revoke a JWT: whoever copied one can log in until it ends.
const LONG: i64 = 48 * 3600;

/// Reports what a login would present, if that is a JWT in a file.
pub(super) async fn check(settings: &Settings, report: &mut Report) {
    let Some(found) = settings.inspect_jwt().await else {
        return;
    };
    match found {
        // The login reports a file that cannot be read.
        Err(_) => {}
        Ok((origin, None)) => report.warning(NAME, format!("{origin} holds no JWT")),
        Ok((origin, Some(claims))) => {
            let now = Timestamp::now().as_second();
            match problem(&claims, now) {
                Some(problem) => report.warning(NAME, format!("{origin}: {problem}")),
                None => report.ok(NAME, format!("{origin}: {}", describe(&claims, now))),
            }
        }
    }
}

fn describe(claims: &Claims, now: i64) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let audiences = listed(&claims.audiences);
    let expires = claims.expires.map_or(0, |end| end - now);
    format!(
        "issuer {}, subject {}, audience {audiences}, expires in {}",
        text(&claims.issuer),
        text(&claims.subject),
        rounded(seconds(expires))
    )
}

/// What is wrong with its times, by the clock of this host.
fn problem(claims: &Claims, now: i64) -> Option<String> {
    let Some(expires) = claims.expires else {
        return Some(
            "it never expires, and Vault cannot revoke it: use one that is renewed, such as a \
             projected service account token"
                .to_owned(),
        );
    };
    if expires <= now {
        let ago = rounded(seconds(now - expires));
        return Some(format!(
            "it expired {ago} ago: does something renew the file, and is the clock of this host right?"
        ));
    }
    if let Some(begin) = claims.not_before
        && begin > now
    {
        let wait = rounded(seconds(begin - now));
        return Some(format!(
            "it is valid only in {wait}: is the clock of this host right?"
        ));
    }
    let begin = claims.issued.or(claims.not_before).unwrap_or(now);
    (expires - begin > LONG).then(|| {
        let length = rounded(seconds(expires - begin));
        format!("it is valid for {length}, and so is a copy of it: Vault cannot revoke a JWT")
    })
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(number.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(issued: i64, not_before: Option<i64>, expires: Option<i64>) -> Claims {
        Claims {
            issuer: Some("https://issuer".to_owned()),
            subject: None,
            audiences: vec!["vault".to_owned()],
            expires,
            not_before,
            issued: Some(issued),
        }
    }

    #[test]
    fn the_times_of_a_jwt_are_compared_with_the_clock() {
        const NOW: i64 = 1_000_000;
        let said = |issued, begin, end| problem(&claims(issued, begin, end), NOW);
        assert_eq!(said(NOW - 60, Some(NOW - 60), Some(NOW + 3600)), None);
        let table = [
            (NOW, None, None, "never expires"),
            (NOW - 7200, None, Some(NOW), "expired 0 s ago"),
            (
                NOW,
                Some(NOW + 120),
                Some(NOW + 3600),
                "valid only in 2 minutes",
            ),
            (NOW, None, Some(NOW + 365 * 86_400), "valid for 365 days"),
        ];
        for (issued, begin, end, text) in table {
            let problem = said(issued, begin, end).expect(text);
            assert!(problem.contains(text), "{problem}");
        }
        let text = describe(&claims(NOW, None, Some(NOW + 3600)), NOW);
        let expected = "issuer https://issuer, subject none, audience vault, expires in 60 minutes";
        assert_eq!(text, expected);
    }
}
