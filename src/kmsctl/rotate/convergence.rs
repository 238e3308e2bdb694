//! Whether every kube-apiserver uses a key_id, and which does not and why.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::apiservers::{ApiServer, Observed, seconds_since};
use crate::kmsctl::announced::Announced;

/// kube-apiserver asks for the Status once a minute, or every ten seconds while that fails.
const STATUS_IS_LATE: u64 = 90;

/// What every kube-apiserver has to use.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The hash of the key_id.
    pub(super) hash: String,
    /// The KMS v2 providers that lead to the plugin.
    pub(super) providers: Vec<String>,
    /// What other hashes are of.
    pub(super) names: HashMap<String, String>,
}

/// A kube-apiserver that does not use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Laggard {
    /// Its URL.
    pub(super) url: String,
    /// Why, as far as it is known.
    pub(super) reason: String,
    /// Whether it is known what it uses.
    pub(super) is_known: bool,
}

/// Asks all of them at one time.
pub(super) async fn laggards(servers: &[ApiServer], wanted: &Wanted) -> Vec<Laggard> {
    let observed = join_all(servers.iter().map(ApiServer::observe)).await;
    let pairs = servers.iter().zip(observed);
    pairs
        .filter_map(|(server, observed)| {
            let (reason, is_known) = wanted.reason(&observed)?;
            Some(Laggard {
                url: server.url.clone(),
                reason,
                is_known,
            })
        })
        .collect()
}

impl Wanted {
    /// Why it does not use the key_id, and whether it is known what it uses; `None` if it does.
    fn reason(&self, observed: &Observed) -> Option<(String, bool)> {
        match observed {
            Observed::Unreachable(cause) => Some((format!("does not answer: {cause}"), false)),
            Observed::Forbidden(message) => Some((
                format!(
                    "its metrics may not be read: {message}; grant get on the nonResourceURL /metrics, as \
                     docs/operations/rotation.md shows"
                ),
                false,
            )),
            Observed::Providers(providers, unhealthy) => {
                let mut names = self.providers.iter();
                let late = names.find_map(|name| self.of_provider(name, providers.get(name)));
                late.or_else(|| Some((unhealthy.clone()?, true)))
            }
        }
    }

    fn of_provider(&self, name: &str, announced: Option<&Announced>) -> Option<(String, bool)> {
        let Some(announced) = announced else {
            let reason = format!(
                "shows no KMS v2 provider {name:?}: it was started with another EncryptionConfiguration, or its plugin \
                 never answered"
            );
            return Some((reason, false));
        };
        if announced.hash == self.hash {
            return None;
        }
        let age = seconds_since(announced.at);
        let what = self.names.get(&announced.hash);
        let what = what.map_or_else(
            || format!("an unknown key_id ({})", announced.hash),
            Clone::clone,
        );
        let why = if age > STATUS_IS_LATE {
            "its plugin does not answer: run `vault-kms-plugin status` on that node"
        } else {
            "normal within 90 s of a rotation; later its plugin does not reach Vault: run `vault-kms-plugin status` on that node"
        };
        let reason = format!("provider {name:?} follows {what}, last Status {age} s ago; {why}");
        Some((reason, true))
    }
}

/// What a kube-apiserver uses, for the model in `keys::model`.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) is_used: bool,
    pub(crate) is_known: bool,
}

/// What a kube-apiserver uses that follows this hash, where the other is wanted.
#[cfg(test)]
pub(crate) fn usage(wanted: &str, followed: Option<String>, is_unhealthy: bool) -> Usage {
    const PROVIDER: &str = "vault";
    let wanted = Wanted {
        hash: wanted.to_owned(),
        providers: vec![PROVIDER.to_owned()],
        names: HashMap::new(),
    };
    let announced = followed.map(|hash| (PROVIDER.to_owned(), Announced { hash, at: 0.0 }));
    let unhealthy = is_unhealthy.then(String::new);
    let reason = wanted.reason(&Observed::Providers(
        announced.into_iter().collect(),
        unhealthy,
    ));
    Usage {
        is_used: reason.is_none(),
        is_known: reason.is_none_or(|(_, is_known)| is_known),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            hash: "sha256:new".to_owned(),
            providers: vec!["vault".to_owned()],
            names: HashMap::from([("sha256:old".to_owned(), "version 1 (id)".to_owned())]),
        }
    }

    fn providers(hash: &str, unhealthy: Option<&str>) -> Observed {
        let announced = Announced {
            hash: hash.to_owned(),
            at: 0.0,
        };
        let all = BTreeMap::from([("vault".to_owned(), announced)]);
        Observed::Providers(all, unhealthy.map(str::to_owned))
    }

    #[test]
    fn each_laggard_has_a_reason() {
        let reason = |observed: Observed| wanted().reason(&observed);
        assert_eq!(reason(providers("sha256:new", None)), None);
        let (text, is_known) = reason(providers("sha256:old", None)).expect("a laggard");
        assert!(
            is_known && text.contains("follows version 1 (id)"),
            "{text}"
        );
        assert!(text.contains("does not answer"), "{text}");
        let (text, _) = reason(providers("sha256:other", None)).expect("a laggard");
        assert!(text.contains("an unknown key_id (sha256:other)"), "{text}");
        assert!(reason(providers("sha256:new", Some("fails"))).is_some());
        let (text, is_known) = reason(Observed::Forbidden("no".to_owned())).expect("a laggard");
        assert!(!is_known && text.contains("/metrics"), "{text}");
        let nothing = Observed::Providers(BTreeMap::new(), None);
        assert!(reason(nothing).is_some_and(|(_, is_known)| !is_known));
    }
}
