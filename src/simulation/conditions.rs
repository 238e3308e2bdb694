//! What may happen to requests for a while, drawn at random.

use fastrand::Rng;

/// The faults of one endpoint. Chances are in [0, 1].
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    /// The longest delay of each direction, in milliseconds.
    pub(super) delay: u64,
    /// The connection is refused.
    pub(super) refused: f64,
    /// The request is lost, without an error.
    pub(super) request_lost: f64,
    /// Vault did it, and the response is lost, without an error.
    pub(super) response_lost: f64,
    /// Vault did it, and the connection breaks.
    pub(super) broken: f64,
    /// The body of the response ends too early.
    pub(super) cut: f64,
    /// Vault answers 500.
    pub(super) fails: f64,
    /// Vault answers 429.
    pub(super) throttles: f64,
    /// A proxy answers in the place of Vault.
    pub(super) proxy: f64,
    /// Vault knows the key as it was at the begin of this condition.
    pub(super) is_stale: bool,
}

impl Conditions {
    /// No faults, and a near Vault.
    pub(super) fn calm() -> Self {
        Self {
            delay: 20,
            ..Self::default()
        }
    }

    /// One to three kinds of faults.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut drawn = Self::calm();
        for _ in 0..rng.u8(1..4) {
            let chance = [0.05, 0.3, 1.0][rng.usize(..3)];
            match rng.u8(..10) {
                0 => drawn.delay = [200, 1_000, 4_000][rng.usize(..3)],
                1 => drawn.refused = chance,
                2 => drawn.request_lost = chance,
                3 => drawn.response_lost = chance,
                4 => drawn.broken = chance,
                5 => drawn.cut = chance,
                6 => drawn.fails = chance,
                7 => drawn.throttles = chance,
                8 => drawn.proxy = chance,
                _ => drawn.is_stale = true,
            }
        }
        drawn
    }
}
