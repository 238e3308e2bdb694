//! What the metrics of every replaced plugin are fed with.

use std::time::Duration;

/// A request to Vault, as the replaced plugin's metrics show it.
#[derive(Debug, Clone, Copy)]
pub struct VaultRequest<'a> {
    /// What it asked for, from a fixed set.
    pub operation: &'static str,
    /// The method of HTTP.
    pub method: &'a str,
    /// The path below `/v1/`.
    pub path: &'a str,
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
}

/// What is only known when metrics are scraped.
#[derive(Debug, Clone, Copy)]
pub struct AtScrape {
    /// How long the token is still valid; zero where it has no end, or there is none.
    pub token_left: Duration,
}
