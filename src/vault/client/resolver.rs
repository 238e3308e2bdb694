//! Finds the addresses of a host, and remembers the last good answer: nearly every request opens a
//! connection, and none should wait for a name server that does not answer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::dns::{Name, Resolve, Resolving};
use tokio::time::timeout;

/// A look-up that takes longer continues in the background, and the last good answer is used. Far
/// above what a name server takes, and far below the time for a connection.
const USUAL_TIME: Duration = Duration::from_millis(300);

/// What `localhost` is; the port is that of the URL.
const LOOPBACK: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];

/// Resolves names. A clone shares what is remembered.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolver {
    /// Resolved whatever name is asked for: the URL holds the certificate's name, and this finds the
    /// machine.
    pinned: Option<String>,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

/// What is known of a host.
#[derive(Debug, Default, Clone)]
struct Known {
    /// The last good answer; empty if there is none yet.
    addresses: Vec<SocketAddr>,
    /// Whether a look-up is in progress.
    is_asked: bool,
}

impl Resolver {
    /// Resolves this host, whatever name it is asked for.
    pub(super) fn pinned(host: String) -> Self {
        Self {
            pinned: Some(host),
            ..Self::default()
        }
    }

    /// The addresses of a host, which `look_up` finds.
    async fn find<F>(
        &self,
        host: String,
        look_up: impl FnOnce(String) -> F,
    ) -> io::Result<Vec<SocketAddr>>
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        let before = self.known().entry(host.clone()).or_default().clone();
        let is_known = !before.addresses.is_empty();
        if is_known && before.is_asked {
            return Ok(before.addresses);
        }
        self.known().entry(host.clone()).or_default().is_asked = true;
        let look_up = look_up(host.clone());
        let resolver = self.clone();
        // A task of its own, because the attempt to connect may be given up before it ends.
        let found = tokio::spawn(async move {
            let found = look_up.await;
            resolver.remember(host, found.as_deref().unwrap_or_default());
            found
        });
        if !is_known {
            return found.await.map_err(io::Error::other)?;
        }
        match timeout(USUAL_TIME, found).await {
            Ok(Ok(Ok(found))) if !found.is_empty() => Ok(found),
            _ => Ok(before.addresses),
        }
    }

    fn remember(&self, host: String, found: &[SocketAddr]) {
        let mut known = self.known();
        let known = known.entry(host).or_default();
        known.is_asked = false;
        if !found.is_empty() {
            known.addresses = found.to_vec();
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = self.pinned.clone();
        let host = host.unwrap_or_else(|| name.as_str().to_owned());
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.find(host, look_up).await?;
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

/// Asks the system. The port comes from the URL.
async fn look_up(host: String) -> io::Result<Vec<SocketAddr>> {
    // Plain HTTP is allowed there: /etc/hosts must not move it to another machine.
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(LOOPBACK.into());
    }
    Ok(tokio::net::lookup_host((host, 0)).await?.collect())
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const HOST: &str = "vault.example";

    fn address(last: u8) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([10, 0, 0, last], 0))]
    }

    async fn find(
        resolver: &Resolver,
        takes: Duration,
        found: io::Result<Vec<SocketAddr>>,
    ) -> io::Result<Vec<SocketAddr>> {
        let look_up = |_| async move {
            sleep(takes).await;
            found
        };
        resolver.find(HOST.to_owned(), look_up).await
    }

    #[tokio::test]
    async fn the_name_of_the_certificate_is_not_the_name_that_is_resolved() {
        let pinned = Resolver::pinned("192.0.2.7".to_owned());
        let name = || "localhost".parse::<Name>().expect("a name");
        let found: Vec<_> = pinned.resolve(name()).await.expect("an address").collect();
        assert_eq!(found, [SocketAddr::from(([192, 0, 2, 7], 0))]);
        let plain: Vec<_> = Resolver::default()
            .resolve(name())
            .await
            .expect("addresses")
            .collect();
        assert_eq!(plain, LOOPBACK);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_is_used_while_a_look_up_is_slow_or_fails() {
        let resolver = Resolver::default();
        let slow = Duration::from_secs(5);
        let failed = || Err(io::Error::other("no such host"));
        // Nothing is known yet.
        assert!(find(&resolver, Duration::ZERO, failed()).await.is_err());
        let first = find(&resolver, slow, Ok(address(1))).await;
        assert_eq!(first.expect("found"), address(1));
        for (takes, found) in [
            (Duration::ZERO, failed()),
            (Duration::ZERO, Ok(Vec::new())),
            (slow, Ok(address(2))),
            // One that is in progress is not waited for again.
            (slow, failed()),
        ] {
            let began = Instant::now();
            let last = find(&resolver, takes, found).await.expect("known");
            assert_eq!(last, address(1));
            assert!(began.elapsed() <= USUAL_TIME, "{:?}", began.elapsed());
        }
        sleep(slow).await;
        // The slow one has ended meanwhile.
        let now = find(&resolver, Duration::ZERO, failed()).await;
        assert_eq!(now.expect("known"), address(2));
        let newest = find(&resolver, Duration::ZERO, Ok(address(3))).await;
        assert_eq!(newest.expect("found"), address(3));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_waits_for_any_more_is_remembered() {
        let resolver = Resolver::default();
        let slow = Duration::from_secs(5);
        let given_up = timeout(USUAL_TIME, find(&resolver, slow, Ok(address(1)))).await;
        assert!(given_up.is_err());
        sleep(slow).await;
        let failed = Err(io::Error::other("no such host"));
        let known = find(&resolver, Duration::ZERO, failed).await;
        assert_eq!(known.expect("known"), address(1));
    }
}
