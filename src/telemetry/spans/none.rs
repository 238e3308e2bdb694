//! Spans without the feature `otlp`: the same words, and nothing behind them.

use std::fmt::Display;

use http::HeaderMap;
use reqwest::{Method, StatusCode, Url};

/// Where spans go to: nowhere.
#[derive(Debug)]
pub struct Export;

/// A call of kube-apiserver's.
#[derive(Debug, Clone)]
pub struct CallSpan;

/// What a call hands on, so that others can say who they work for.
#[derive(Debug, Clone)]
pub struct Parent;

/// The calls that a batch carries.
#[derive(Debug, Clone)]
pub struct Callers;

/// A batch on its way.
#[derive(Debug)]
pub struct BatchSpan;

/// One HTTP request to Vault.
#[derive(Debug)]
pub struct RequestSpan;

impl Export {
    /// Does nothing.
    #[must_use]
    pub fn start() -> Self {
        Self
    }
}

impl CallSpan {
    /// Does nothing.
    #[must_use]
    pub fn begin(_path: &str, _headers: &HeaderMap) -> Self {
        Self
    }

    /// Does nothing.
    pub fn uid(&self, _uid: &str) {}

    /// Does nothing.
    pub fn key_id(&self, _key_id: &str) {}

    /// What it hands on.
    #[must_use]
    pub fn parent(&self) -> Parent {
        Parent
    }

    /// Does nothing.
    pub fn end(self, _answer: &HeaderMap) {}
}

impl Parent {
    /// For what no call asked for.
    pub const NOBODY: Self = Self;
}

impl<'a> FromIterator<&'a Parent> for Callers {
    fn from_iter<I: IntoIterator<Item = &'a Parent>>(_: I) -> Self {
        Self
    }
}

impl BatchSpan {
    /// Does nothing.
    #[must_use]
    pub fn begin(_operation: &'static str, _items: usize, _callers: &Callers) -> Self {
        Self
    }

    /// The work itself.
    pub fn around<F: Future>(&self, work: F) -> F {
        work
    }

    /// Does nothing.
    pub fn end<T, E: Display>(self, _outcome: &Result<T, E>) {}
}

impl RequestSpan {
    /// Does nothing.
    #[must_use]
    pub fn begin(_method: &Method, _url: &Url) -> Self {
        Self
    }

    /// Does nothing.
    pub fn end<E: Display>(self, _outcome: Result<StatusCode, E>) {}
}
