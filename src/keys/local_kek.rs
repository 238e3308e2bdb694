//! The local KEK (`outage.local_kek`): a key of this process that Vault wrapped in good time. While Vault is away, a
//! seed is sealed under it, and the value carries both: the wrapped KEK as its ciphertext, the sealed seed as an
//! annotation. So a kube-apiserver that starts meanwhile gets its first seed.
//!
//! It is the key hierarchy that KEP-3299 describes. The KEK is wrapped with associated data of its own: no Decrypt
//! without these returns it, so that a plugin that does not know the annotation fails instead of taking it for a seed.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::bound::Annotations;
use crate::vault::{AssociatedData, Ciphertext, Plaintext};

/// The annotation that holds the sealed seed.
pub(crate) const ANNOTATION: &str = "local-kek.vault-kms-plugin";
/// How many bytes a KEK has.
pub(super) const KEK_BYTES: usize = 32;
/// What a wrapped KEK is bound to.
const PURPOSE: &[u8] = b"vault-kms-plugin local KEK v1";
/// The first byte of what is sealed: its form.
const FORM: u8 = 1;

/// What Transit binds a wrapped KEK to.
#[must_use]
pub(crate) fn associated_data() -> AssociatedData {
    AssociatedData::new(PURPOSE)
}

/// The seed of a value that was sealed under a local KEK, if it was.
pub(crate) fn sealed(annotations: Option<&Annotations>) -> Option<&[u8]> {
    let sealed = annotations?.get(ANNOTATION)?;
    Some(sealed)
}

/// Seals a seed under the KEK that this ciphertext is, with a random nonce: a KEK seals few seeds. `None` without random
/// numbers.
pub(super) fn seal(kek: &Plaintext, wrapped: &Ciphertext, seed: &Plaintext) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).ok()?;
    // With space for the tag: a buffer that grew would leave the seed behind in the smaller one.
    let seed = seed.expose_secret();
    let mut data = Vec::with_capacity(seed.len() + AES_256_GCM.tag_len());
    data.extend_from_slice(seed);
    let aad = Aad::from(wrapped.as_str());
    let nonce_used = Nonce::assume_unique_for_key(nonce);
    key(kek)?
        .seal_in_place_append_tag(nonce_used, aad, &mut data)
        .ok()?;
    let mut sealed = vec![FORM];
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&data);
    Some(sealed)
}

/// Opens what [`seal`] made. `None` if it is something else, or was made with another KEK.
pub(crate) fn open(kek: &Plaintext, wrapped: &Ciphertext, sealed: &[u8]) -> Option<Plaintext> {
    let (form, rest) = sealed.split_first()?;
    let (nonce, data) = rest.split_at_checked(NONCE_LEN)?;
    if *form != FORM {
        return None;
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut data = Zeroizing::new(data.to_vec());
    let opened = key(kek)?.open_in_place(nonce, Aad::from(wrapped.as_str()), &mut data);
    Some(Plaintext::new(opened.ok()?.to_vec()))
}

fn key(kek: &Plaintext) -> Option<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, kek.expose_secret()).ok()?;
    Some(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str) -> Ciphertext {
        Ciphertext::try_new(text.as_bytes().to_vec()).expect("a ciphertext")
    }

    #[test]
    fn a_seed_opens_only_with_its_kek_and_beside_its_wrapped_kek() {
        let kek = Plaintext::new(vec![3; KEK_BYTES]);
        let one = wrapped("vault:v1:AAAA");
        let seed = Plaintext::new(b"a seed of thirty-two bytes, 0123".to_vec());
        let sealed = seal(&kek, &one, &seed).expect("sealed");
        assert!(!sealed.windows(4).any(|bytes| bytes == b"seed"));
        let opened = open(&kek, &one, &sealed).expect("opened");
        assert_eq!(opened.expose_secret(), seed.expose_secret());
        let other = Plaintext::new(vec![4; KEK_BYTES]);
        assert!(open(&other, &one, &sealed).is_none());
        assert!(open(&kek, &wrapped("vault:v2:AAAA"), &sealed).is_none());
        let again = seal(&kek, &one, &seed).expect("sealed");
        assert_ne!(again, sealed, "a nonce twice");
    }

    #[test]
    fn whatever_was_changed_or_cut_is_refused() {
        let kek = Plaintext::new(vec![3; KEK_BYTES]);
        let one = wrapped("vault:v1:AAAA");
        let sealed = seal(&kek, &one, &Plaintext::new(vec![7; 32])).expect("sealed");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&kek, &one, &changed).is_none(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(open(&kek, &one, &sealed[..length]).is_none(), "{length}");
        }
        for length in [0, 16, 31, 33] {
            let short = Plaintext::new(vec![3; length]);
            assert!(seal(&short, &one, &Plaintext::new(vec![7; 32])).is_none());
            assert!(open(&short, &one, &sealed).is_none());
        }
    }
}
