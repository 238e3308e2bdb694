//! Values that are right and wrong, key by key.

use super::{Schema, base, errors_about, set, value};

/// For each key: TOML values that are right, and values that are wrong.
const VALUES: &[(&str, &[&str], &[&str])] = &[
    (
        "kms_version",
        &["'v2'", "'v2beta1'", "''"],
        &["'v1'", "'V2'", "2"],
    ),
    (
        "socket.path",
        &["'/run/a.sock'", "'@a'", "''"],
        &["'a.sock'", "'@'", "'/run/'", "'/'"],
    ),
    (
        "socket.mode",
        &["'0600'", "'0660'", "'640'", "''"],
        &["'0666'", "'602'", "'0888'", "'1770'", "'rw'", "600"],
    ),
    ("socket.owner", &["'0'", "'root'"], &["0"]),
    (
        "socket.allow_uids",
        &["[]", "[0, 1000]"],
        &["[-1]", "['root']", "[1.5]", "[4294967296]", "0"],
    ),
    (
        "vault.address",
        &[
            "'https://a'",
            "'http://127.0.0.1:1'",
            "'unix:///run/a'",
            "['https://a', 'https://b']",
        ],
        &[
            "'a:8200'",
            "'ftp://a'",
            "'unix:a'",
            "'unix://a'",
            "''",
            "[]",
            "['a']",
            "[1]",
        ],
    ),
    (
        "vault.ca_file",
        &["'/a'", "''"],
        &["'a'", "'./a'", "['/a']"],
    ),
    ("vault.allow_plaintext", &["true", "false"], &["1", "'yes'"]),
    (
        "transit.max_in_flight",
        &["1", "8"],
        &["0", "9", "-1", "'two'"],
    ),
    (
        "transit.decrypt_also",
        &[
            "[]",
            "[{ key = 'a', mount = 'b', namespace = 'c' }]",
            "[{ key = 'a', associated_data = 'bao-kms-provider', provider_name = 'b', cluster_id = 'c', instance_id = 'd' }]",
        ],
        &[
            "[{ key = 'a', associated_data = 'other', provider_name = 'b', cluster_id = 'c', instance_id = 'd' }]",
            "[{}]",
            "[{ key = 'a', other = 'b' }]",
            "['a']",
            "[{ key = 1 }]",
        ],
    ),
    (
        "auth.method",
        &["'token'"],
        &["'ldap'", "'Token'", "['token']"],
    ),
    (
        "admin.listen",
        &["''", "'127.0.0.1:8790'", "'[::1]:1'", "'unix:/run/a'"],
        &["'8790'", "'localhost:1'", "'unix:a'", "8790"],
    ),
    (
        "drop_in.plugin",
        &["'vault-kubernetes-kms'", "'kleidi'", "''"],
        &["'Kleidi'", "'vault'", "1"],
    ),
    (
        "drop_in.health_listen",
        &["''", "'0.0.0.0:8080'", "'[::]:8080'"],
        &["'8080'", "':8080'", "'unix:/run/a'", "8080"],
    ),
    (
        "log.level",
        &["'error'", "'warn'", "'info'", "'debug'", "'trace'"],
        &["'loud'", "1"],
    ),
    (
        "log.format",
        &["'auto'", "'text'", "'json'", "'journald'"],
        &["'xml'", "'JSON'"],
    ),
    (
        "health.tolerance",
        &[
            "'60s'",
            "'1m'",
            "'10m'",
            "'1h'",
            "'10min 5s'",
            "'1m30s'",
            "'1.5m'",
            "' 2 minutes '",
            "''",
        ],
        &[
            "'10'",
            "'ten'",
            "'5 fortnights'",
            "'-1m'",
            "'1 m!'",
            "60",
            "60.0",
        ],
    ),
    (
        "outage.seed_cache",
        &["'off'", "'memory'", "''"],
        &["'disk'", "true"],
    ),
    (
        "limits.max_waiting",
        &["1", "4294967295"],
        &["0", "-1", "4294967296", "1.5"],
    ),
    ("state.dir", &["'/a'", "''"], &["'a'"]),
];

fn values_are_right_and_wrong_in_both() {
    let schema = Schema::read();
    for (name, right, wrong) in VALUES {
        for text in *right {
            let mut table = base();
            set(&mut table, name, value(text));
            assert_eq!(schema.refusal(&table), None, "{name} = {text}");
            assert_eq!(errors_about(&table, name), [""; 0], "{name} = {text}");
        }
        for text in *wrong {
            let mut table = base();
            set(&mut table, name, value(text));
            assert!(schema.refusal(&table).is_some(), "{name} = {text}");
            assert_ne!(errors_about(&table, name), [""; 0], "{name} = {text}");
        }
    }
}

tests! {
    plain values_are_right_and_wrong_in_both;
}
