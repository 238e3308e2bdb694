//! Deterministic simulation of the whole daemon: the actors, the socket and the gRPC bytes are real, and Vault, the
//! network, the clocks and the operator are simulated, with faults drawn from one seed.
//!
//! A run is repeated exactly by its seed: one thread, a paused clock, the kernel's random numbers replaced.

mod apiserver;
mod checks;
mod conditions;
mod invariants;
mod network;
mod operator;
mod run;
mod tests;
mod trace;
mod vault;
mod world;
