//! `vault-kmsctl` with real servers.

mod audit;
mod bound;
mod etcd_view;
mod inspect;
mod migrate;
mod mixed;
mod nodes;
mod rotate;
pub(crate) mod site;

tests! {
    [audit, bound, etcd_view, inspect, migrate, mixed, rotate]
}
