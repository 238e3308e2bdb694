//! The names of other plugins in what is shipped: links that the packages make, and images with the entry point and
//! the user of each plugin's own. The programs are stand-ins, and the scripts those of a release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use vault_kms_plugin::drop_in::Plugin;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn names() -> Vec<&'static str> {
    Plugin::CALLED.iter().map(|plugin| plugin.name()).collect()
}

fn the_packages_make_a_link_of_each_name_and_remove_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let usr = dir.path().join("usr");
    fs::create_dir_all(usr.join("bin")).unwrap();
    fs::write(usr.join("bin/vault-kms-plugin"), "").unwrap();
    let links = usr.join("lib/vault-kms-plugin/drop-in");
    let script = |function: &str| {
        let hooks = root().join("packaging/hooks/common.sh");
        let text = format!(
            ". {}; drop_in_dir={}; {function}",
            hooks.display(),
            links.display()
        );
        run(Command::new("sh").args(["-c", &text]));
    };
    for _ in 0..2 {
        script("make_names");
        let mut made: Vec<_> = fs::read_dir(&links)
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        made.sort();
        let mut expected = names();
        expected.sort_unstable();
        assert_eq!(made, expected);
        for name in names() {
            let program = fs::canonicalize(links.join(name)).unwrap();
            assert_eq!(
                program,
                fs::canonicalize(usr.join("bin/vault-kms-plugin")).unwrap()
            );
        }
    }
    script("remove_names");
    assert!(!links.parent().unwrap().exists());
    script("remove_names");
    // An upgrade calls the script of the older version last.
    let postun = fs::read_to_string(root().join("packaging/hooks/rpm/postun")).unwrap();
    assert!(
        postun.contains("if [ \"$1\" -eq 0 ]; then\n    remove_names"),
        "{postun}"
    );
}

/// The images that `packaging/image.sh` makes of stand-ins, unpacked.
fn images() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("tools/zig/bin")).unwrap();
    fs::create_dir(path("programs")).unwrap();
    fs::write(path("ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let python = path("tools/zig/bin/python");
    fs::write(
        &python,
        format!("#!/bin/sh\necho {}\n", path("ca.pem").display()),
    )
    .unwrap();
    fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for program in ["vault-kms-plugin", "vault-kmsctl"] {
        fs::copy("/bin/true", path("programs").join(program)).unwrap();
    }
    let programs = format!("amd64={}", path("programs").display());
    run(Command::new(root().join("packaging/image.sh"))
        .args([VERSION, path("out").to_str().unwrap(), &programs])
        .env("CARGO_TARGET_DIR", path("target"))
        .env("PACKAGING_TOOLS", path("tools"))
        .env("SOURCE_DATE_EPOCH", "1700000000"));
    let archive = path("out").join(format!(
        "vault-kms-plugin-{VERSION}-image-drop-in-amd64.tar"
    ));
    let layout = path("layout");
    fs::create_dir(&layout).unwrap();
    run(Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(&layout));
    (dir, layout)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn each_image_has_the_entry_point_and_the_user_of_the_plugins_own() {
    let (dir, layout) = images();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        layout
            .join("blobs/sha256")
            .join(digest.strip_prefix("sha256:").unwrap())
    };
    let index = json(&layout.join("index.json"));
    let docker = json(&layout.join("manifest.json"));
    let mut seen = Vec::new();
    for (number, entry) in index["manifests"].as_array().unwrap().iter().enumerate() {
        let manifest = json(&blob(entry));
        let config = json(&blob(&manifest["config"]))["config"].clone();
        let name = entry["annotations"]["io.containerd.image.name"]
            .as_str()
            .unwrap();
        assert_eq!(docker[number]["RepoTags"][0], name);
        let plugin = name
            .rsplit_once(&format!("{VERSION}-"))
            .unwrap()
            .1
            .to_owned();
        let dir = config["WorkingDir"].as_str().unwrap();
        let command = config["Entrypoint"][0]
            .as_str()
            .or(config["Cmd"][0].as_str())
            .unwrap();
        let user = config["User"].as_str().unwrap();
        seen.push((plugin, user.to_owned(), dir.to_owned(), command.to_owned()));
        let layer = blob(&manifest["layers"][0]);
        let files = run(Command::new("tar").arg("-tvzf").arg(layer));
        let path = Path::new(dir).join(command.trim_start_matches("./"));
        let link = format!(".{} -> ", path.display());
        assert!(
            files.lines().any(|line| line.contains(&link)),
            "{link}: {files}"
        );
    }
    let expected = [
        ("vault-kubernetes-kms", "0:0", "/", "/vault-kubernetes-kms"),
        (
            "vault-kms-provider",
            "10001:10001",
            "/user/local/bin",
            "./app",
        ),
        ("vault-kube-kms", "65532:65532", "/", "/vault-kube-kms"),
    ];
    let expected = expected.map(|(plugin, user, dir, command)| {
        (
            plugin.to_owned(),
            user.to_owned(),
            dir.to_owned(),
            command.to_owned(),
        )
    });
    assert_eq!(seen, expected);
    drop(dir);
}

tests! {
    plain the_packages_make_a_link_of_each_name_and_remove_it_again;
    plain each_image_has_the_entry_point_and_the_user_of_the_plugins_own;
}
