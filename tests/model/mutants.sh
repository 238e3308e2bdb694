#!/usr/bin/env bash
# Mutants of the production functions that the model of src/keys/model calls, each of which the model has to find. A copy of
# the sources is built once with all of them; the variable MUTANT switches one on. Prints which properties each violates;
# docs/assurance.md has the results.
#
#   tests/model/mutants.sh [NAME…]
#
# CARGO_TARGET_DIR: where the copy is built; target/mutants if it is not set.
set -euo pipefail
cd "$(dirname "$0")/../.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/mutants}
names=()

cat >>"$copy/src/lib.rs" <<'EOF'

/// Whether this mutant is switched on.
pub(crate) fn is_mutant(name: &str) -> bool {
    static MUTANT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    MUTANT.get_or_init(|| std::env::var("MUTANT").unwrap_or_default()) == name
}
EOF

# mutant NAME FILE PATTERN REPLACEMENT: a basic regular expression that one line of the file matches, and what takes the
# place of it. ON is whether the mutant is switched on.
mutant() {
    local name=$1 file=$copy/src/$2 replacement=${4//ON/crate::is_mutant(\"$1\")}
    cp "$file" "$copy/original"
    sed -i "s#$3#$replacement#" "$file"
    if [ "$(diff "$copy/original" "$file" | grep -c '^<')" != 1 ]; then
        echo "$name: not one line of src/$2 matches"
        exit 1
    fi
    names+=("$name")
}

mutant creation-time-first keys/refresh/freshness.rs 'match seen.version.cmp(&proven.version) {' \
    'match if ON { seen.created.cmp(\&proven.created) } else { seen.version.cmp(\&proven.version) } {'
mutant recreated-taken-for-rotated keys/refresh/freshness.rs 'Ordering::Greater => Self::Newer,' \
    'Ordering::Equal if ON \&\& seen.created > proven.created => Self::Newer,\nOrdering::Greater => Self::Newer,'
mutant older-believed-at-once keys/refresh/freshness.rs 'Some(BELIEVE_OLDER_AFTER.saturating_sub' \
    'Some(if ON { Duration::ZERO } else { BELIEVE_OLDER_AFTER }.saturating_sub'
mutant older-never-believed keys/refresh/freshness.rs 'due && self.0' '!ON \&\& due \&\& self.0'
mutant newer-not-proven keys/refresh/machine.rs 'Freshness::Newer => self.prove' \
    'Freshness::Newer if ON => self.succeeded(report, None, now, random),\nFreshness::Newer => self.prove'
mutant older-taken-for-newer keys/refresh/machine.rs 'Freshness::Older => self.check_canary' \
    'Freshness::Older if ON => self.prove(report, Purpose::Newer),\nFreshness::Older => self.check_canary'
mutant verdict-at-once keys/refresh/verdict.rs 'None => (Self' \
    'None if ON => (Self(Some(now)), Classification::Verdict),\nNone => (Self'
mutant verdict-never keys/refresh/verdict.rs 'Some(_) => (self' 'Some(_) if ON => (self, Classification::Suspected),\nSome(_) => (self'
mutant no-lineage keys/refresh/machine/proof.rs 'before.filter(|_| purpose' 'before.filter(|_| !ON \&\& purpose'
mutant creation-time-kept keys/refresh/machine/proof.rs 'if is_believed && same_number' 'if !ON \&\& is_believed \&\& same_number'
mutant any-replacement-accepted keys/refresh/machine/proof.rs '!self.acceptance_is_used &&' \
    'ON \&\& self.accepted.is_some() || !self.acceptance_is_used \&\&'
mutant other-material-is-no-replacement keys/refresh/machine/proof.rs 'match (purpose, error.api_error, proof) {' \
    'match (purpose, error.api_error.filter(|it| !ON \|\| *it != ApiErrorKind::BadCiphertext), proof) {'
mutant pinned-to-what-others-were-answered keys/view.rs 'last.filter(|last| self' 'last.filter(|last| !ON \&\& self'
mutant replaced-key-encrypts keys/view.rs 'fault.filter(|error| error.is_replaced())' 'fault.filter(|error| !ON \&\& error.is_replaced())'
mutant key-ids-not-inherited keys/view.rs 'self.key_ids.clone_from' 'if !ON { self.key_ids.clone_from'
sed -i 's#\(if !.*self.key_ids.clone_from(&before.key_ids);\)#\1 }#' "$copy/src/keys/view.rs"
mutant key-ids-of-another-key-forgotten keys/state_file.rs 'key_ids: self.key_ids(),' \
    'key_ids: if ON { AnnouncedKeyIds::default() } else { self.key_ids() },'
mutant reuse-not-reported keys/status.rs 'view.key_ids.returns_after(&key_id)' 'view.key_ids.returns_after(\&key_id).filter(|_| !ON)'
mutant status-announces-nothing keys/status.rs 'view.announced.clone_from' 'if !ON { view.announced.clone_from'
sed -i 's#\(if !.*view.announced.clone_from(&view.proven);\)#\1 }#' "$copy/src/keys/status.rs"
mutant verdict-not-answered keys/status.rs 'if let Some(verdict) = view.verdict() {' 'if let Some(verdict) = view.verdict().filter(|_| !ON) {'
mutant no-creation-time-in-the-key-id keys/key_id.rs '(stamp.version.get(), stamp.created)' \
    '(stamp.version.get(), if ON { 0 } else { stamp.created })'
mutant any-key-is-named keys/key_id.rs 'text.starts_with(&prefix(key))' 'ON || text.starts_with(\&prefix(key))'
mutant greatest-version-is-the-minimum kmsctl/audit/minimum.rs 'versions.first().map' \
    'if ON { versions.last() } else { versions.first() }.map'
mutant any-key-id-is-the-wanted-one kmsctl/rotate/convergence.rs 'if announced.hash == self.hash {' 'if ON || announced.hash == self.hash {'
mutant health-not-looked-at kmsctl/rotate/convergence.rs 'unhealthy.clone()?' 'unhealthy.clone().filter(|_| !ON)?'

program=$(cd "$copy" && cargo test --locked --lib --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
# Another build with the same target directory takes its name.
cp "$program" "$copy/program"

model() {
    (cd "$copy" && MUTANT=$1 ./program --test-threads=1 --nocapture keys::model) 2>&1
}

model none >/dev/null || { echo "the model fails without a mutant"; exit 1; }
[ $# = 0 ] || names=("$@")
survivors=0
for name in "${names[@]}"; do
    if log=$(model "$name"); then
        echo "$name: SURVIVES"
        survivors=$((survivors + 1))
    elif ! grep -q '^violated: ' <<<"$log"; then
        echo "$name: the program fails, but for another reason"
        tail -n 20 <<<"$log"
        exit 1
    else
        echo "$name: $(sed -n 's/^violated: //p' <<<"$log" | sort -u | paste -sd ';' | sed 's/;/; /g')"
    fi
done
[ $survivors = 0 ] || { echo "$survivors survive"; exit 1; }
