//! The environment of a systemd unit, put together as systemd does (systemd.exec(5)), and the
//! configuration file that its command line names.

mod properties;

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use rustix::process::geteuid;

use super::Report;
use crate::commands::environment_file;
use crate::config::{Environment, Source};
use crate::diagnosis::Diagnosis;
use crate::system::identity::Identity;
use properties::{EnvironmentFile, Properties};

/// What is asked of systemd about the unit.
const PROPERTIES: [&str; 8] = [
    "LoadState",
    "Environment",
    "EnvironmentFiles",
    "PassEnvironment",
    "UnsetEnvironment",
    "ExecStart",
    "User",
    "Group",
];
/// The environment of systemd itself.
const OF_SYSTEMD: &str = "/proc/1/environ";

const NAME: &str = "unit";

/// Variables and their values.
type Variables = Vec<(String, String)>;

/// The user and groups of the unit's processes, as systemd looks them up; `None` for root.
fn identity(name: &str, properties: &Properties) -> Result<Option<Identity>, Diagnosis> {
    let named = |property: &str| properties.one(property).filter(|name| !name.is_empty());
    let Some(user_name) = named("User") else {
        return Ok(None);
    };
    let unknown = |what: &str| {
        Diagnosis::new(format!("{name}: {what} is not known on this host"))
            .with_remedy("create the user of the unit (systemd-sysusers)")
    };
    let user = match user_name.parse() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(user_name),
    };
    let user = user
        .ok()
        .flatten()
        .ok_or_else(|| unknown(&format!("User={user_name}")))?;
    let gid = match named("Group") {
        None => user.gid,
        Some(group) => {
            let found = match group.parse() {
                Ok(gid) => Group::from_gid(Gid::from_raw(gid)),
                Err(_) => Group::from_name(group),
            };
            let found = found.ok().flatten();
            found.ok_or_else(|| unknown(&format!("Group={group}")))?.gid
        }
    };
    let groups = CString::new(user.name.as_str()).ok();
    let groups = groups.and_then(|name| getgrouplist(&name, gid).ok());
    let identity = Identity::of_user(user.uid.as_raw(), gid.as_raw());
    Ok(Some(Identity {
        groups: groups
            .unwrap_or_default()
            .into_iter()
            .map(Gid::as_raw)
            .collect(),
        ..identity
    }))
}

/// The unit's environment with `file`, or else the file of its command line or its environment.
/// Returns `None` if there is none, which was reported.
///
/// Root becomes the user of the unit for good `as_its_user`; there must be no other thread.
pub(super) fn source(
    name: &str,
    file: Option<PathBuf>,
    as_its_user: bool,
    report: &mut Report,
) -> Option<Source> {
    let properties = match properties_of(name) {
        Ok(properties) => properties,
        Err(problem) => {
            report.error(NAME, problem, "");
            return None;
        }
    };
    let variables = match variables(&properties, report) {
        Ok(variables) => variables,
        Err(problem) => {
            report.error(NAME, problem.about(name), "");
            return None;
        }
    };
    let mut sources = vec!["Environment=".to_owned()];
    sources.extend(
        properties
            .environment_files()
            .map(|EnvironmentFile { path, .. }| {
                if Path::new(&path).exists() {
                    path
                } else {
                    format!("{path} (does not exist)")
                }
            }),
    );
    let text = format!(
        "{name}: checked with its environment: {}",
        sources.join(", ")
    );
    report.ok(NAME, text);
    if as_its_user && geteuid().is_root() && !become_its_user(name, &properties, report) {
        return None;
    }
    let environment: Environment = variables.into_iter().collect();
    let file = file
        .or_else(|| properties.config_argument().map(PathBuf::from))
        .or_else(|| environment.config_file());
    Some(Source {
        file,
        environment,
        drop_in: None,
    })
}

/// Reports why it could not.
fn become_its_user(name: &str, properties: &Properties, report: &mut Report) -> bool {
    let became = identity(name, properties).and_then(|identity| match identity {
        Some(identity) => identity
            .assume_for_good()
            .map_err(|error| Diagnosis::new(format!("{name}: its user: {error}"))),
        None => Ok(()),
    });
    if let Err(problem) = became {
        report.error(NAME, problem, "run this as the user of the unit");
        return false;
    }
    true
}

fn properties_of(name: &str) -> Result<Properties, Diagnosis> {
    let mut arguments = vec!["show".to_owned(), "--no-pager".to_owned()];
    arguments.extend(PROPERTIES.map(|property| format!("--property={property}")));
    arguments.extend(["--".to_owned(), name.to_owned()]);
    let properties = Properties::parse(&systemctl(&arguments)?);
    match properties.one("LoadState") {
        Some("loaded") => Ok(properties),
        state => {
            let state = state.unwrap_or("unknown");
            Err(Diagnosis::new(format!(
                "{name}: systemd has not loaded such a unit (LoadState={state})"
            ))
            .with_remedy(
                "name a unit that systemctl list-units --all shows; systemd-analyze verify explains a bad file",
            ))
        }
    }
}

/// What `systemctl` writes.
fn systemctl(arguments: &[String]) -> Result<String, Diagnosis> {
    const REMEDY: &str =
        "--unit needs a host that systemd has booted: run this there, not in a container";
    let failed = |cause: String| {
        let command = arguments.first().map_or("", String::as_str);
        Diagnosis::new(format!("systemctl {command}: {cause}")).with_remedy(REMEDY)
    };
    let output = Command::new("systemctl").args(arguments).output();
    let output = output.map_err(|error| failed(format!("cannot be run: {error}")))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{}: {}", output.status, error.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All variables of the unit, in the order in which the later ones replace the earlier ones.
fn variables(properties: &Properties, report: &mut Report) -> Result<Variables, Diagnosis> {
    let of_the_manager = systemctl(&["show-environment".to_owned()])?;
    let mut variables: Variables = of_the_manager
        .lines()
        .flat_map(properties::words)
        .filter_map(|word| properties::assignment(&word))
        .collect();
    variables.extend(passed(properties, report));
    variables.extend(properties.assignments("Environment"));
    for file in properties.environment_files() {
        variables.extend(of_file(&file, report)?);
    }
    let unset = properties.words("UnsetEnvironment");
    variables.retain(|(name, value)| {
        let assignment = format!("{name}={value}");
        !unset.iter().any(|it| it == name || *it == assignment)
    });
    Ok(variables)
}

/// The variables of `PassEnvironment=`, which systemd takes from its own environment.
fn passed(properties: &Properties, report: &mut Report) -> Variables {
    let names = properties.words("PassEnvironment");
    if names.is_empty() {
        return Variables::new();
    }
    match fs::read(OF_SYSTEMD) {
        Ok(environment) => {
            let environment = String::from_utf8_lossy(&environment);
            let all = environment.split('\0').filter_map(properties::assignment);
            all.filter(|(name, _)| names.contains(name)).collect()
        }
        Err(error) => {
            let cause = format!(
                "PassEnvironment={}: {OF_SYSTEMD} cannot be read: {error}; the values are not known",
                names.join(" ")
            );
            report.warning(NAME, Diagnosis::new(cause).with_remedy("run this as root"));
            Variables::new()
        }
    }
}

fn of_file(file: &EnvironmentFile, report: &mut Report) -> Result<Variables, Diagnosis> {
    let path = &file.path;
    if path.contains(['*', '?', '[']) {
        let cause = format!("EnvironmentFile={path}: a pattern is not read here");
        let remedy = "name each file with an EnvironmentFile= of its own to have it checked";
        report.warning(NAME, Diagnosis::new(cause).with_remedy(remedy));
        return Ok(Variables::new());
    }
    let failed = |cause: String, remedy: &str| {
        Diagnosis::new(format!("EnvironmentFile={path}: {cause}")).with_remedy(remedy)
    };
    let bytes = match fs::read(Path::new(path)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_optional => {
            return Ok(Variables::new());
        }
        Err(error) => {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => "run this as root",
                _ => {
                    "create the file, or write EnvironmentFile=- with a hyphen before the path: the service does not start without it"
                }
            };
            return Err(failed(format!("cannot be read: {error}"), remedy));
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| {
        failed(
            "is not UTF-8".to_owned(),
            "write it as UTF-8: systemd refuses it",
        )
    })?;
    Ok(environment_file::parse(&text))
}
