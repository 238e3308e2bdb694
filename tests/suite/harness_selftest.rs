//! The harness itself: its servers start, its doubles behave as they say.

mod children;
mod doubles;
mod fake_kms;
mod real_servers;

tests! {
    [children, doubles, real_servers]
}
