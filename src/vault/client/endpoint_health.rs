//! The health of an endpoint, so that calls try the healthy ones first.

use std::time::Duration;

use tokio::time::Instant;

/// How long an endpoint that let a call time out has the lowest priority. After that it is tried
/// before others that failed, but still after healthy ones.
const COOLDOWN: Duration = Duration::from_secs(30);

/// The result of the last request to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointHealth {
    /// It answered, or was not used yet.
    Healthy,
    /// It refused the connection, broke it, or answered that it cannot serve.
    Failing(Instant),
    /// It did not answer: another attempt would cost time.
    Unresponsive(Instant),
}

impl EndpointHealth {
    pub(super) fn is_healthy(self) -> bool {
        self == Self::Healthy
    }

    /// Endpoints with a lower value are tried first; among equals the one that failed longest ago.
    pub(super) fn priority(self, now: Instant) -> (u8, Option<Instant>) {
        match self {
            Self::Healthy => (0, None),
            Self::Unresponsive(since) if now.duration_since(since) < COOLDOWN => (2, Some(since)),
            Self::Failing(since) | Self::Unresponsive(since) => (1, Some(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EndpointHealth::{Failing, Healthy, Unresponsive};
    use super::*;

    #[test]
    fn healthy_endpoints_come_first_and_recently_unresponsive_ones_last() {
        let now = Instant::now() + Duration::from_secs(100);
        let ago = |seconds| now - Duration::from_secs(seconds);
        let mut endpoints = [
            Unresponsive(ago(10)),
            Failing(ago(5)),
            Healthy,
            Unresponsive(ago(40)),
            Failing(ago(20)),
        ];
        endpoints.sort_by_key(|health| health.priority(now));
        let expected = [
            Healthy,
            Unresponsive(ago(40)),
            Failing(ago(20)),
            Failing(ago(5)),
            Unresponsive(ago(10)),
        ];
        assert_eq!(endpoints, expected);
    }
}
