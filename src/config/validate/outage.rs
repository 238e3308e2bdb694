//! `[outage]`: what bridges an outage of Vault.

use std::time::Duration;

use crate::config::raw;
use crate::config::reader::Reader;
use crate::config::{DropIn, Outage};
use crate::diagnosis::Diagnosis;

/// As long as kube-apiserver itself keeps a seed that it does not use.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// An outage that lasts longer is a loss, and a revocation that no plugin hears of must end at some time.
const MAX_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

const LOCAL_KEK: &str = "outage.local_kek";

pub(super) fn outage(reader: &mut Reader, raw: raw::Outage, drop_in: Option<&DropIn>) -> Outage {
    let seed_cache = reader.parsed("outage.seed_cache", raw.seed_cache, |text| match text {
        "off" => Ok(false),
        "memory" => Ok(true),
        _ => Err(
            Diagnosis::new(format!("{text:?} is neither off nor memory"))
                .with_remedy("use memory to keep seeds for an outage, else off"),
        ),
    });
    let key = "outage.max_age";
    let max_age = reader.duration(key, raw.max_age).unwrap_or(DEFAULT_MAX_AGE);
    if max_age.is_zero() || max_age > MAX_MAX_AGE {
        reader.error_with(
            key,
            "must be more than 0s and at most 7d",
            "set outage.seed_cache = \"off\" to keep no seeds",
        );
    }
    let seed_cache = seed_cache.unwrap_or_default();
    let local_kek = reader.bool(LOCAL_KEK, raw.local_kek).unwrap_or(false);
    if local_kek && !seed_cache {
        let cause = "needs outage.seed_cache, which keeps the local KEK";
        reader.error_with(LOCAL_KEK, cause, "set outage.seed_cache = \"memory\" too");
    }
    if local_kek && drop_in.is_some() {
        let cause = "no other plugin reads what is sealed under a local KEK, and drop_in.plugin says that nodes with one may serve";
        let remedy = "set it to false as long as another plugin serves on any node; afterwards remove drop_in.plugin";
        reader.error_with(LOCAL_KEK, cause, remedy);
    }
    Outage {
        seed_cache,
        max_age,
        local_kek,
    }
}
