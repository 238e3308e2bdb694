//! The units inside the packages are those of `systemd/`, but for the path of the program.

use std::fs;
use std::process::Command;

use super::{VERSION, released, root, run};

fn a_packaged_unit_differs_from_the_shipped_one_by_the_path_of_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let package = released().join(format!("vault-kms-plugin_{VERSION}_amd64.deb"));
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .args([&package, dir.path()]));
    let mut compared = 0;
    for entry in fs::read_dir(root().join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let name = path.file_name().unwrap();
        let packaged = dir.path().join("usr/lib/systemd/system").join(name);
        let packaged = fs::read_to_string(packaged).unwrap();
        let shipped = fs::read_to_string(&path).unwrap();
        assert_eq!(
            packaged,
            shipped.replace("/usr/local/bin/", "/usr/bin/"),
            "{name:?}"
        );
        compared += 1;
    }
    assert_eq!(compared, 4);
}

/// The scripts that dpkg runs are POSIX shell, and do nothing when they are called for something else.
fn the_scripts_of_the_package_do_nothing_when_an_operation_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let package = released().join(format!("vault-kms-plugin_{VERSION}_amd64.deb"));
    run(Command::new("dpkg-deb")
        .arg("--control")
        .args([&package, dir.path()]));
    for (script, arguments) in [
        ("postinst", &["abort-upgrade", "0.0.9"][..]),
        ("postinst", &["abort-remove"]),
        ("prerm", &["upgrade", "0.2.0"]),
        ("prerm", &["failed-upgrade", "0.0.9"]),
        ("postrm", &["upgrade", "0.2.0"]),
        ("postrm", &["abort-install"]),
    ] {
        let mut command = Command::new("/bin/sh");
        // Without a program on PATH, what does something fails.
        command
            .arg(dir.path().join(script))
            .args(arguments)
            .env("PATH", "/nowhere");
        assert_eq!(run(&mut command), "", "{script} {arguments:?}");
    }
}

tests! {
    plain a_packaged_unit_differs_from_the_shipped_one_by_the_path_of_the_program [Packages];
    plain the_scripts_of_the_package_do_nothing_when_an_operation_is_given_up [Packages];
}
