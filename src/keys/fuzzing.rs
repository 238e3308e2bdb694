//! Any bytes as the state file.

use std::path::PathBuf;
use std::time::Duration;

use super::arguments::Settings;
use super::state_file::Stored;
use super::status::HealthLimits;
use crate::vault::{KeyName, MountPath, Namespace, TransitKey};

/// What is accepted is read back from what is written of it, as it is and as a start of the plugin takes it over, with
/// and without a suffix.
///
/// # Panics
/// If that does not hold.
pub(crate) fn state_file(input: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<Stored>(input) else {
        return;
    };
    assert_eq!(rewritten(&stored), stored);
    for suffix in [None, Some("b")] {
        let settings = settings(suffix);
        let view = stored.clone().into_view(&settings);
        assert!(view.key_ids.iter().count() <= 64);
        // Of another key only the key_ids are taken over.
        let Some(of_view) = Stored::of(&view) else {
            assert!(view.proven.is_none() && view.announced.is_none());
            continue;
        };
        let again = rewritten(&of_view).into_view(&settings);
        assert_eq!(again.proven, view.proven);
        assert_eq!(again.canary, view.canary);
        assert_eq!(again.used_acceptance, view.used_acceptance);
        assert_eq!(again.key_ids, view.key_ids);
    }
}

fn rewritten(stored: &Stored) -> Stored {
    let text = serde_json::to_vec(stored).expect("JSON");
    serde_json::from_slice(&text).expect("what was written is read")
}

fn settings(suffix: Option<&str>) -> Settings {
    let key = TransitKey {
        namespace: Namespace::default(),
        mount: MountPath::try_new("transit").expect("a mount"),
        name: KeyName::try_new("kms").expect("a name"),
    };
    Settings {
        key,
        decrypt_also: Vec::new(),
        bound: Vec::new(),
        accept_replaced: None,
        key_id_suffix: suffix.map(str::to_owned),
        limits: HealthLimits {
            tolerance: Duration::from_secs(600),
            fail_after: Duration::from_secs(3600),
        },
        max_in_flight: None,
        state_file: PathBuf::new(),
    }
}
