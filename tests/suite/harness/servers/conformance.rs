//! The tests' own Go programs: those of `tests/conformance/` and `tests/encryption_config/`, once for each
//! Kubernetes release, and those of `tests/no_proxy/`, `tests/pause/` and
//! `tests/stored_values/`.

use std::fs;
use std::path::{Path, PathBuf};

use super::go::Recipe;
use super::manifest_dir;

/// The program as the client of `k8s.io/apiserver` in this version, such as `v0.37.2`; built first
/// if it has to be. Its pins are `tests/conformance/pins/<release>.mod` and `.sum`.
pub fn conformance(release: &str) -> PathBuf {
    of_release("conformance", release)
}

/// The program of `tests/encryption_config/` with the loader of `k8s.io/apiserver` in this version:
/// what kube-apiserver does with a file.
pub fn encryption_config(release: &str) -> PathBuf {
    of_release("encryption_config", release)
}

fn of_release(name: &str, release: &str) -> PathBuf {
    let dir = manifest_dir().join("tests").join(name);
    let pins = format!("pins/{release}.mod");
    // The source may tell the releases apart by a build tag: v0.37.
    let (minor, _) = release.rsplit_once('.').expect("a version has three parts");
    let mut made_of = sources(&dir);
    made_of.push(dir.join(&pins));
    let recipe = Recipe {
        name: format!("{name}-{release}"),
        made_of,
        linked_in: String::new(),
        arguments: vec![
            format!("-modfile={pins}").into(),
            format!("-tags={minor}").into(),
            ".".into(),
        ],
        dir,
        remedy: format!("install Go 1.26 or later to have it built from tests/{name}"),
    };
    recipe.program()
}

/// The program of `tests/no_proxy/`: whether Go's HTTP client uses a proxy.
pub fn no_proxy() -> PathBuf {
    own("no_proxy", "no-proxy")
}

/// The program of `tests/stored_values/`: writes and reads values with the code of kube-apiserver.
pub fn stored_values() -> PathBuf {
    own("stored_values", "stored-values")
}

/// The program of `tests/pause/`, which does nothing until it is ended.
pub fn pause() -> PathBuf {
    own("pause", "pause")
}

fn own(dir: &str, name: &str) -> PathBuf {
    let remedy = format!("install Go 1.26 or later to have it built from tests/{dir}");
    let dir = manifest_dir().join("tests").join(dir);
    let mut made_of = sources(&dir);
    made_of.push(dir.join("go.mod"));
    let recipe = Recipe {
        name: name.to_owned(),
        made_of,
        linked_in: String::new(),
        arguments: vec![".".into()],
        dir,
        remedy,
    };
    recipe.program()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let files = entries.map(|entry| entry.expect("a directory can be read").path());
    let is_source = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "go");
    let mut sources: Vec<PathBuf> = files.filter(is_source).collect();
    sources.sort();
    sources
}
