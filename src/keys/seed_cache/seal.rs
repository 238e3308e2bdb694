//! AES-256-GCM under a key that is nowhere but in a locked page.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, Zeroizing};

use super::entry_id::EntryId;
use crate::diagnosis::Diagnosis;
use crate::system::locked_page::LockedPage;
use crate::vault::Plaintext;

const KEY_BYTES: usize = 32;

/// A sealed seed, and the number that its nonce is made of.
#[derive(Debug)]
pub(super) struct Sealed {
    number: u64,
    bytes: Vec<u8>,
}

/// Seals and opens. Nothing that was sealed before [`Self::renew`] can be opened after it.
#[derive(Debug)]
pub(super) struct Sealer {
    page: LockedPage,
    has_key: bool,
    /// Never the same twice under one key.
    next: u64,
}

impl Sealer {
    /// With a random key in a page of its own.
    ///
    /// # Errors
    /// If the kernel gives no locked page, or no random numbers.
    pub(super) fn new() -> Result<Self, Diagnosis> {
        let page = LockedPage::new()?;
        let mut sealer = Self {
            page,
            has_key: false,
            next: 0,
        };
        sealer.renew()?;
        Ok(sealer)
    }

    /// Another key, which overwrites the one before.
    pub(super) fn renew(&mut self) -> Result<(), Diagnosis> {
        self.next = 0;
        self.has_key = false;
        let key = &mut self.page.expose_secret_mut()[..KEY_BYTES];
        key.zeroize();
        getrandom::fill(key).map_err(|error| {
            Diagnosis::new(format!("the kernel gave no random numbers: {error}"))
        })?;
        self.has_key = true;
        Ok(())
    }

    /// Seals a seed for this entry alone.
    pub(super) fn seal(&mut self, id: &EntryId, seed: &Plaintext) -> Option<Sealed> {
        let number = self.next;
        self.next = number.checked_add(1)?;
        // With space for the tag: a buffer that grew would leave the seed behind in the smaller one.
        let mut bytes = Vec::with_capacity(seed.expose_secret().len() + AES_256_GCM.tag_len());
        bytes.extend_from_slice(seed.expose_secret());
        let sealed = self
            .key()?
            .seal_in_place_append_tag(nonce(number), Aad::from(id), &mut bytes);
        sealed.ok()?;
        Some(Sealed { number, bytes })
    }

    /// Opens what was sealed for this entry.
    pub(super) fn open(&self, id: &EntryId, sealed: &Sealed) -> Option<Plaintext> {
        let mut bytes = Zeroizing::new(sealed.bytes.clone());
        let opened = self
            .key()?
            .open_in_place(nonce(sealed.number), Aad::from(id), &mut bytes)
            .ok()?;
        Some(Plaintext::new(opened.to_vec()))
    }

    /// Made for each use: its schedule must not be kept elsewhere. It takes about a microsecond.
    fn key(&self) -> Option<LessSafeKey> {
        if !self.has_key {
            return None;
        }
        let key = &self.page.expose_secret()[..KEY_BYTES];
        UnboundKey::new(&AES_256_GCM, key)
            .ok()
            .map(LessSafeKey::new)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_opens_only_as_its_own_entry_and_under_the_same_key() {
        let mut sealer = Sealer::new().expect("a page");
        let seed = Plaintext::new(b"a seed of thirty-two bytes, 0123".to_vec());
        let sealed = sealer.seal(&[1; 32], &seed).expect("sealed");
        assert!(!sealed.bytes.windows(4).any(|bytes| bytes == b"seed"));
        let opened = sealer.open(&[1; 32], &sealed).expect("opened");
        assert_eq!(opened.expose_secret(), seed.expose_secret());
        assert!(sealer.open(&[2; 32], &sealed).is_none());
        sealer.renew().expect("random numbers");
        assert!(sealer.open(&[1; 32], &sealed).is_none());
    }

    #[test]
    fn no_two_seeds_have_the_same_nonce() {
        let mut sealer = Sealer::new().expect("a page");
        let seed = Plaintext::new(vec![7; 32]);
        let [one, two] = [1, 2].map(|_| sealer.seal(&[1; 32], &seed).expect("sealed"));
        assert_ne!(one.bytes, two.bytes);
        assert_ne!(one.number, two.number);
    }
}
