//! The variables of each key are those that docs/configuration.md names, and so the man page and the
//! schema.

use std::fs;

use toml::Value;
use vault_kms_plugin::config::{Environment, Source};

use super::super::example::keys::Key;
use super::super::example::markdown::{sections, spans};
use super::base;

/// Read only with keys of the SPIFFE agent.
const WITH_OTHERS_ALONE: &str = "SPIFFE_ENDPOINT_SOCKET";

/// Whether the variable decides this key, in a file without the key.
fn decides(variable: &str, key: &str) -> bool {
    let mut table = base();
    if let Some((name, key)) = key.split_once('.')
        && let Some(Value::Table(inner)) = table.get_mut(name)
    {
        inner.remove(key);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, table.to_string()).unwrap();
    let variables = [(variable.to_owned(), "x".to_owned())];
    let source = Source {
        file: Some(file),
        environment: Environment::from_iter(variables),
        drop_in: None,
    };
    let by_variable = Some(variable.to_owned());
    match source.load() {
        Ok(config) => {
            let mut origins = config.origins.iter();
            origins.any(|origin| origin.key == key && origin.variable == by_variable)
        }
        Err(errors) => {
            let mut errors = errors.iter();
            errors.any(|error| error.key == key && error.variable == by_variable)
        }
    }
}

fn each_key_has_the_variables_that_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = sections(&fs::read_to_string(path).unwrap());
    let mut count = 0;
    for key in page.iter().filter_map(Key::of) {
        let variables = spans(key.environment);
        let own = format!("vault_kms_plugin_{}", key.name.replace('.', "_")).to_uppercase();
        if key.name.starts_with("transit.decrypt_also.") {
            assert_eq!(key.environment, "none, only the file", "{}", key.name);
            continue;
        }
        assert_eq!(variables.first(), Some(&own));
        for variable in variables.iter().filter(|it| *it != WITH_OTHERS_ALONE) {
            assert!(decides(variable, key.name), "{variable}: {}", key.name);
            count += 1;
        }
    }
    assert!(count > 50, "{count} variables");
    assert!(!decides("VAULT_ADDR", "vault.namespace"));
}

tests! {
    plain each_key_has_the_variables_that_are_documented;
}
