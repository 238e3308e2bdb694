//! All integration tests, by subject, on one harness.

mod harness;
mod harness_works;
