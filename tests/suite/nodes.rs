//! Real nodes: each a machine with a systemd, containerd and kubelet of its own, on which kubeadm makes real
//! control planes that the shipped static pod serves. They take minutes: `cargo nodes` runs them.

mod control_plane;
mod images;
mod network;
mod node;
mod openshift;
mod proof;
mod reboots;
mod sidecar;
mod site;
mod three;
mod workload;

tests! {
    [control_plane, openshift, reboots, sidecar, three]
}
