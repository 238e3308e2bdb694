//! Replaces the C library's `getrandom` in test programs: a thread that was seeded gets the numbers of its
//! seed, every other one those of the kernel. With it the order of a `HashMap`, the branches of
//! `tokio::select!` and the wake-ups of `tokio::sync::watch` can be repeated.
//!
//! The standard library looks the function up by its name, and says that this is so that it can be replaced
//! (`library/std/src/sys/random/linux.rs`).

use std::cell::Cell;

use libc::{c_uint, c_void};

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on this thread gets the numbers of this seed. To be called before the thread makes a `HashMap`.
#[inline(never)]
pub fn seed_thread(seed: u64) {
    STATE.set(Some(seed));
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// See getrandom(2).
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let Ok(Some(mut state)) = STATE.try_with(Cell::get) else {
        // SAFETY: the caller's promise.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    };
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next(&mut state).to_le_bytes()[..chunk.len()]);
    }
    STATE.set(Some(state));
    length as isize
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    fn hash_with(seed: Option<u64>) -> u64 {
        let hash = move || {
            if let Some(seed) = seed {
                seed_thread(seed);
            }
            RandomState::new().hash_one(1)
        };
        std::thread::spawn(hash).join().expect("no panic")
    }

    #[test]
    fn the_order_of_a_map_is_that_of_the_seed() {
        assert_eq!(hash_with(Some(1)), hash_with(Some(1)));
        assert_ne!(hash_with(Some(1)), hash_with(Some(2)));
        assert_ne!(hash_with(None), hash_with(None));
    }
}
