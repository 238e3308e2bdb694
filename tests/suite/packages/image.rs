//! The image: its size, its parts, and the programs in it against a real Vault; the one for arm64 by an emulator.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::super::daemon_for;
use super::super::harness::kms::KmsClient;
use super::super::harness::vault::Vault;
use super::{VERSION, is_built_for, run, unpack};

const LARGEST: u64 = 20 * 1024 * 1024;
const PROGRAM: &str = "usr/local/bin/vault-kms-plugin";
/// An emulated start takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// An unpacked image of one architecture: its layout, and the files of its layer below `root`.
struct Image {
    dir: TempDir,
    config: Value,
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

impl Image {
    fn read(architecture: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("vault-kms-plugin-{VERSION}-image-{architecture}.tar");
        unpack(&name, dir.path());
        let blob = |descriptor: &Value| blob(dir.path(), descriptor);
        let entry = &json(&dir.path().join("index.json"))["manifests"][0];
        assert_eq!(entry["platform"]["architecture"], architecture);
        let reference = format!("localhost/vault-kms-plugin:{VERSION}");
        assert_eq!(
            entry["annotations"]["io.containerd.image.name"],
            reference.as_str()
        );
        let manifest = json(&blob(entry));
        let config = json(&blob(&manifest["config"]));
        let layers = manifest["layers"].as_array().unwrap();
        let [layer] = layers.as_slice() else {
            panic!("not one layer: {manifest}");
        };
        let layer = blob(layer);
        assert!(fs::metadata(&layer).unwrap().len() <= LARGEST);
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        run(Command::new("tar")
            .arg("-xzf")
            .arg(&layer)
            .arg("-C")
            .arg(&root));
        // What `docker load` reads says the same.
        let docker = &json(&dir.path().join("manifest.json"))[0];
        assert_eq!(docker["RepoTags"][0], reference.as_str());
        assert!(layer.ends_with(docker["Layers"][0].as_str().unwrap()));
        Self { dir, config }
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("root").join(PROGRAM)
    }
}

/// The file that a descriptor names, which has to be what its digest and its size say.
fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    let sum = digest.strip_prefix("sha256:").unwrap();
    let path = layout.join("blobs/sha256").join(sum);
    let bytes = fs::read(&path).unwrap();
    let found: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(found, sum);
    assert_eq!(descriptor["size"], bytes.len());
    path
}

fn the_image_is_small_and_has_the_user_and_the_program_of_the_static_pod() {
    for architecture in ["amd64", "arm64"] {
        if !is_built_for(architecture) {
            continue;
        }
        let image = Image::read(architecture);
        assert_eq!(image.config["architecture"], architecture);
        let config = &image.config["config"];
        assert_eq!(config["User"], "60790:60790");
        assert_eq!(config["Entrypoint"][0], "/usr/local/bin/vault-kms-plugin");
        let labels = &config["Labels"];
        assert_eq!(labels["org.opencontainers.image.version"], VERSION);
        assert_eq!(
            labels["org.opencontainers.image.licenses"],
            "MIT OR Apache-2.0"
        );
        let files = run(Command::new("find")
            .args(["-type", "f"])
            .current_dir(image.dir.path().join("root")));
        let mut files: Vec<_> = files.lines().collect();
        files.sort_unstable();
        assert_eq!(
            files,
            [
                "./etc/nsswitch.conf",
                "./etc/ssl/certs/ca-certificates.crt",
                "./usr/local/bin/vault-kms-plugin"
            ]
        );
        let certificates = fs::read_to_string(
            image
                .dir
                .path()
                .join("root/etc/ssl/certs/ca-certificates.crt"),
        );
        assert!(certificates.unwrap().matches("BEGIN CERTIFICATE").count() > 100);
    }
}

/// The index names an image for each architecture that was built, and all of their parts are in the layout.
fn the_layout_has_every_architecture() {
    let dir = tempfile::tempdir().unwrap();
    unpack(&format!("vault-kms-plugin-{VERSION}-image.tar"), dir.path());
    let entry = &json(&dir.path().join("index.json"))["manifests"][0];
    let index = json(&blob(dir.path(), entry));
    let manifests = index["manifests"].as_array().unwrap();
    let expected = ["amd64", "arm64"].into_iter().filter(|it| is_built_for(it));
    let expected: Vec<_> = expected.collect();
    let found = manifests
        .iter()
        .map(|it| it["platform"]["architecture"].as_str().unwrap());
    assert_eq!(found.collect::<Vec<_>>(), expected);
    for manifest in manifests {
        let manifest = json(&blob(dir.path(), manifest));
        blob(dir.path(), &manifest["config"]);
        blob(dir.path(), &manifest["layers"][0]);
    }
}

/// Encrypts and decrypts by a real Vault, with the program of the image.
async fn serves(program: &Path) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    // By a name, which a static program resolves by itself.
    let address = format!("http://localhost:{}", vault.socket_address().port());
    let daemon = daemon_for(&address, &fixture).binary(program).spawn().await;
    let client = KmsClient::connect(daemon.socket()).with_timeout(Duration::from_secs(20));
    client.wait_ok(LIMIT).await;
    let seed = [7; 32];
    let (ciphertext, key_id) = client.encrypt(&seed).await.unwrap();
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), seed);
    assert_eq!(daemon.stop().await, 0);
}

async fn the_program_of_the_image_serves() {
    let image = Image::read("amd64");
    serves(&image.program()).await;
}

/// No arm64 machine runs this: the emulator shows that the program is right, not how fast it is.
async fn the_program_for_arm64_serves() {
    let image = Image::read("arm64");
    let emulated = image.dir.path().join("emulated");
    let text = format!(
        "#!/bin/sh\nexec qemu-aarch64-static {} \"$@\"\n",
        image.program().display()
    );
    fs::write(&emulated, text).unwrap();
    fs::set_permissions(&emulated, PermissionsExt::from_mode(0o755)).unwrap();
    let version = run(Command::new(&emulated).arg("--version"));
    assert_eq!(version, format!("vault-kms-plugin {VERSION}\n"));
    serves(&emulated).await;
}

tests! {
    plain the_image_is_small_and_has_the_user_and_the_program_of_the_static_pod [Packages];
    plain the_layout_has_every_architecture [Packages];
    single the_program_of_the_image_serves [Vault, Packages];
    single the_program_for_arm64_serves [Vault, Packages, Arm64];
}
