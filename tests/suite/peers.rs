//! Other plugins: what each of them and this one wrote is read by the other, and one takes the other's place while
//! kube-apiserver goes on.
//!
//! The genuine programs are those that `PEER_VKK_BIN` (vault-kubernetes-kms), `PEER_VKP_BIN` (vault-kms-provider) and
//! `PEER_KLEIDI_BIN` (Kleidi) name; without them a double has their surface (`double`).

mod ciphertexts;
mod double;
mod guides;
mod plugin;
mod replacement;

tests! {
    [ciphertexts, guides, replacement]
}
