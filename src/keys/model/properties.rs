//! What holds always, what happens in the end, and what has to be possible lest the rest says nothing.

use stateright::{Model, Property};

use super::server::transit_key;
use super::system::System;

/// All of them.
pub(super) fn all<M: Model<State = System>>() -> Vec<Property<M>> {
    vec![
        Property::always(SAME_KEY_ID, |_, it: &System| !it.faults.other_key_id),
        Property::always(ONE_VERSION, |_, it: &System| !it.faults.other_version),
        Property::always(NOT_REPLACED, |_, it: &System| !it.faults.other_key),
        Property::always(NOT_TAKEN_IN, |_, it: &System| {
            it.plugins.iter().all(|plugin| !plugin.was_taken_in)
        }),
        Property::always(REUSE_IS_REPORTED, |_, it: &System| {
            !it.faults.unreported_reuse
        }),
        Property::always(NO_REUSE, |_, it: &System| !it.faults.causeless_reuse),
        Property::always(READABLE, |_, it: &System| it.is_readable()),
        Property::always(NOTHING_LOST, |_, it: &System| it.is_above_minimum()),
        Property::always(LAG_STOPS_NOTHING, |_, it: &System| !it.faults.needless_stop),
        Property::always(TWO_REJECTIONS, |_, it: &System| {
            it.plugins.iter().all(|plugin| !plugin.was_hasty)
        }),
        Property::eventually(CONVERGES, |_, it: &System| it.settled == Some(true)),
    ]
}

const SAME_KEY_ID: &str = "an Encrypt has the key_id of its connection's last Status";
const ONE_VERSION: &str = "a key_id names the version that encrypted";
const NOT_REPLACED: &str = "a replaced key encrypts nothing";
const NOT_TAKEN_IN: &str = "a key that lost what it encrypted is used only once it is accepted";
const REUSE_IS_REPORTED: &str = "a key_id that returns after another one is reported";
const NO_REUSE: &str = "no key_id returns after another one unless an operator goes back";
const READABLE: &str = "what is stored is readable while its version lives";
const NOTHING_LOST: &str = "rotate and audit lose no object";
const LAG_STOPS_NOTHING: &str = "rotations, lag, crashes and failed calls stop no writes";
const TWO_REJECTIONS: &str = "a verdict needs two rejections";
const CONVERGES: &str = "every rotation converges, or a replaced key stops the writes";

impl System {
    /// Whether each plugin decrypts each object whose version Vault has and still decrypts with.
    fn is_readable(&self) -> bool {
        let active = &self.vault.active;
        self.etcd.iter().flatten().all(|object| {
            let (number, _, _) = self.vault.maker(&object.ciphertext);
            let lives = active
                .decrypt(&transit_key(number), &object.ciphertext)
                .is_ok();
            let decrypts = |it: &super::plugin::Plugin| {
                it.decrypts(&object.key_id, &object.ciphertext, active)
            };
            !lives || self.plugins.iter().all(decrypts)
        })
    }

    /// Whether no object needs a version that Vault has and does not decrypt with any more.
    fn is_above_minimum(&self) -> bool {
        let active = &self.vault.active;
        self.etcd.iter().flatten().all(|object| {
            let (number, version, _) = self.vault.maker(&object.ciphertext);
            let key = transit_key(number);
            version >= active.minimum(&key) || !active.has(&key, &object.ciphertext)
        })
    }

    /// Whether every kube-apiserver writes with the latest version; of a key that is really another one, and that
    /// nobody accepts, whether it writes nothing.
    pub(super) fn has_converged(&self) -> bool {
        let active = &self.vault.active;
        let nodes = self.plugins.iter().zip(&self.apiservers);
        nodes.into_iter().all(|(plugin, apiserver)| {
            if plugin.replaced().is_some() {
                return plugin.is_truly_replaced(active)
                    && self.left.acceptances == 0
                    && apiserver.writes().is_none();
            }
            let written = apiserver.writes().map(|seed| &seed.key_id);
            written.is_some() && written == plugin.latest(active).as_ref()
        })
    }
}
