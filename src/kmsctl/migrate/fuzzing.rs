//! Any bytes as the state of a run.

use super::resume::State;

/// What is accepted is read back from what is written of it.
///
/// # Panics
/// If that does not hold.
pub(crate) fn migrate_state(input: &[u8]) {
    let Ok(state) = serde_json::from_slice::<State>(input) else {
        return;
    };
    let text = serde_json::to_vec(&state).expect("JSON");
    let again: State = serde_json::from_slice(&text).expect("what was written is read");
    assert_eq!(again, state);
}
