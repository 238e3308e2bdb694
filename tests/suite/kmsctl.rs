//! `vault-kmsctl` with real servers.

mod audit;
mod etcd_view;
mod inspect;
mod migrate;
mod mixed;
mod nodes;
mod rotate;
mod site;

tests! {
    [audit, etcd_view, inspect, migrate, mixed, rotate]
}
