//! Runs the tests of this suite: finds out at run time what each of them needs, ignores those whose
//! needs are not met, and says at the end which and why.
//!
//! A module lists its tests with `tests!`; one that is not listed is dead code, which clippy reports.

use std::collections::BTreeMap;
use std::env;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Trial};

use crate::harness::servers::{self, Server};

/// Lists the modules below a module, in brackets, and its tests: `plain` ones, async ones on a `single`
/// thread or on `multi`, what they need, and why they are left to `--ignored`.
macro_rules! tests {
    (
        $([$($child:ident),* $(,)?])?
        $($kind:ident $name:ident $([$($need:ident),+])? $(soak $soak:literal)?;)*
    ) => {
        /// What this module and those below it test.
        pub(crate) fn tests() -> Vec<crate::runner::Test> {
            let below: Vec<Vec<crate::runner::Test>> = vec![$($($child::tests()),*)?];
            let own = vec![$(crate::runner::Test {
                name: concat!(module_path!(), "::", stringify!($name)),
                needs: &[$($(crate::runner::Need::$need),+)?],
                soak: None$(.or(Some($soak)))?,
                run: || crate::runner::$kind($name),
            }),*];
            below.into_iter().flatten().chain(own).collect()
        }
    };
}

/// A test.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    /// Why it does not run with the others.
    pub(crate) soak: Option<&'static str>,
    pub(crate) run: fn(),
}

/// What a test cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Vault or OpenBao, installed or built.
    Vault,
    /// OpenBao, for what Vault has only with a licence.
    OpenBao,
    /// Vault without a licence, which ignores namespaces.
    NoNamespaces,
    /// kube-apiserver and etcd, installed or built.
    Kubernetes,
    /// etcdctl and etcdutl, installed or built.
    EtcdTools,
    /// An operator's tools: kubectl, installed or built, jq and curl.
    Kubectl,
    /// promtool, installed or built.
    Promtool,
    /// A Go toolchain.
    Go,
    /// Root's rights, to read another process's memory or to change a file's owner.
    Root,
    /// Mounts in a namespace of one's own.
    Mounts,
    /// Containers with a systemd of their own.
    Machines,
    /// Machines that run containers, and Kubernetes' programs.
    Nodes,
    /// zsh, to complete in it.
    Zsh,
    /// fish, to complete in it.
    Fish,
    /// What `packaging/build.sh` makes.
    Packages,
    /// rpm, the program.
    Rpm,
    /// The image for arm64, and an emulator of such a processor.
    Arm64,
}

/// A test that is not async.
pub(crate) fn plain(test: fn()) {
    test();
}

/// An async test on one thread.
pub(crate) fn single<F: Future<Output = ()>>(test: fn() -> F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(test());
}

/// An async test on several threads.
pub(crate) fn multi<F: Future<Output = ()>>(test: fn() -> F) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test());
}

impl Need {
    const ALL: [Self; 17] = [
        Self::Vault,
        Self::OpenBao,
        Self::NoNamespaces,
        Self::Kubernetes,
        Self::EtcdTools,
        Self::Kubectl,
        Self::Promtool,
        Self::Go,
        Self::Root,
        Self::Mounts,
        Self::Machines,
        Self::Nodes,
        Self::Zsh,
        Self::Fish,
        Self::Packages,
        Self::Rpm,
        Self::Arm64,
    ];

    /// Whether it can be had here; found out once.
    fn is_met(self) -> bool {
        static MET: [OnceLock<bool>; Need::ALL.len()] = [const { OnceLock::new() }; _];
        *MET[self as usize].get_or_init(|| self.probe())
    }

    fn probe(self) -> bool {
        match self {
            Self::Vault => servers::is_available(Server::Vault),
            Self::OpenBao => servers::is_openbao(),
            Self::NoNamespaces => !servers::is_openbao(),
            Self::Kubernetes => {
                servers::is_available(Server::KubeApiserver) && servers::is_available(Server::Etcd)
            }
            Self::EtcdTools => {
                servers::is_available(Server::Etcdctl) && servers::is_available(Server::Etcdutl)
            }
            Self::Kubectl => {
                let tools = ["jq", "curl"];
                tools.iter().all(|tool| servers::on_path(tool).is_some())
                    && servers::is_available(Server::Kubectl)
            }
            Self::Promtool => servers::is_available(Server::Promtool),
            Self::Go => servers::on_path("go").is_some(),
            Self::Zsh => servers::on_path("zsh").is_some(),
            Self::Fish => servers::on_path("fish").is_some(),
            Self::Packages => crate::packages::are_built(),
            Self::Rpm => servers::on_path("rpm").is_some(),
            Self::Arm64 => {
                servers::on_path("qemu-aarch64-static").is_some()
                    && crate::packages::is_built_for("arm64")
            }
            Self::Root => rustix::process::geteuid().is_root(),
            Self::Mounts => succeeds(Command::new("unshare").args([
                "-m",
                "mount",
                "--bind",
                "/etc/hosts",
                "/etc/hosts",
            ])),
            Self::Nodes => {
                let tools = ["containerd", "runc", "ctr", "ip", "curl", "jq", "go"];
                let bridge = "ip link add kms-need type bridge && ip link del kms-need";
                tools.iter().all(|tool| servers::on_path(tool).is_some())
                    && succeeds(Command::new("sh").args(["-c", bridge]))
                    && Self::Machines.is_met()
            }
            Self::Machines => {
                let tools = ["systemd-nspawn", "unshare"];
                let script =
                    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/harness/machine.sh");
                tools.iter().all(|tool| servers::on_path(tool).is_some())
                    && succeeds(Command::new("sh").arg(script).arg("probe"))
            }
        }
    }

    /// How to have it.
    fn remedy(self) -> &'static str {
        match self {
            Self::Vault => "needs Vault: set VAULT_BIN or install Go",
            Self::OpenBao => "needs OpenBao as VAULT_BIN",
            Self::NoNamespaces => "needs Vault without a licence, which ignores namespaces",
            Self::Kubernetes => {
                "needs kube-apiserver and etcd: set KUBE_APISERVER_BIN and ETCD_BIN or install Go"
            }
            Self::EtcdTools => {
                "needs etcdctl and etcdutl: set ETCDCTL_BIN and ETCDUTL_BIN or install Go"
            }
            Self::Kubectl => {
                "needs jq and curl on PATH, and kubectl: set KUBECTL_BIN or install Go"
            }
            Self::Promtool => "needs promtool: set PROMTOOL_BIN or install Go",
            Self::Go => "needs Go",
            Self::Root => "needs root",
            Self::Mounts => "needs root, where file systems can be mounted",
            Self::Machines => "needs root, systemd-container and overlayfs",
            Self::Nodes => {
                "needs root, systemd-container, overlayfs, containerd, runc, iproute2, curl, jq and Go"
            }
            Self::Zsh => "needs zsh",
            Self::Fish => "needs fish",
            Self::Packages => "needs the packages: run packaging/build.sh, or set PACKAGES_DIR",
            Self::Rpm => "needs rpm",
            Self::Arm64 => "needs qemu-user-static, and packaging/build.sh for aarch64",
        }
    }

    /// Whether its absence is a failure, by a variable that is set to 1.
    fn is_required(self) -> bool {
        let variable = match self {
            // A run has one of the two servers.
            Self::OpenBao | Self::NoNamespaces => return false,
            Self::Kubectl
            | Self::Vault
            | Self::Kubernetes
            | Self::EtcdTools
            | Self::Promtool
            | Self::Go => "REQUIRE_REAL_SERVERS",
            Self::Root | Self::Mounts => "REQUIRE_UNSHARE",
            Self::Machines => "REQUIRE_SYSTEMD",
            Self::Nodes => "REQUIRE_NODES",
            Self::Zsh | Self::Fish => "REQUIRE_SHELLS",
            Self::Packages | Self::Rpm | Self::Arm64 => "REQUIRE_PACKAGES",
        };
        env::var(variable).is_ok_and(|value| value == "1")
    }
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs what the command line asks for, and sums up what was ignored.
pub(crate) fn run(tests: Vec<Test>) -> ExitCode {
    let (filters, options) = split_filters(env::args());
    let mut arguments = Arguments::from_iter(options);
    if arguments.test_threads.is_none() {
        let threads = env::var("RUST_TEST_THREADS").ok();
        arguments.test_threads = threads.and_then(|threads| threads.parse().ok());
    }
    let runs_soaks = arguments.ignored || arguments.include_ignored;
    let mut ignored: BTreeMap<&str, usize> = BTreeMap::new();
    let mut trials = Vec::new();
    for test in tests {
        let name = test.name.strip_prefix("suite::").unwrap_or(test.name);
        if !selects(&arguments, &filters, name) {
            continue;
        }
        let runs = runs_soaks || test.soak.is_none();
        let is_listed = arguments.list;
        let missing = test.needs.iter().filter(|_| runs && !is_listed);
        let missing = missing.copied().find(|need| !need.is_met());
        let (needed, run) = (missing.filter(|need| need.is_required()), test.run);
        let trial = Trial::test(name, move || match needed {
            Some(need) => Err(format!("required here, and missing: {}", need.remedy()).into()),
            None => {
                run();
                Ok(())
            }
        });
        let reason = match (missing, test.soak) {
            (Some(need), _) if needed.is_none() => Some(need.remedy()),
            (_, soak) => soak,
        };
        if let Some(reason) = reason {
            *ignored.entry(reason).or_default() += 1;
        }
        // What is missing cannot be run by `--ignored` either.
        if runs_soaks && missing.is_some() && needed.is_none() {
            continue;
        }
        trials.push(trial.with_ignored_flag(reason.is_some()));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list && !runs_soaks {
        summarise(&ignored);
    }
    conclusion.exit_code()
}

/// Takes the filters out of the command line: there may be several, as with libtest.
fn split_filters(arguments: impl Iterator<Item = String>) -> (Vec<String>, Vec<String>) {
    const WITH_VALUE: [&str; 5] = [
        "--skip",
        "--test-threads",
        "--color",
        "--format",
        "--logfile",
    ];
    let (mut filters, mut options) = (Vec::new(), Vec::new());
    let mut is_value = true; // the program's own name
    for argument in arguments {
        if is_value || argument.starts_with('-') {
            is_value = WITH_VALUE.contains(&argument.as_str());
            options.push(argument);
        } else {
            filters.push(argument);
        }
    }
    (filters, options)
}

/// Whether the command line selects this name.
fn selects(arguments: &Arguments, filters: &[String], name: &str) -> bool {
    let matches = |filter: &String| {
        if arguments.exact {
            name == filter
        } else {
            name.contains(filter.as_str())
        }
    };
    let is_named = filters.is_empty() || filters.iter().any(matches);
    is_named && !arguments.skip.iter().any(matches)
}

fn summarise(ignored: &BTreeMap<&str, usize>) {
    let count: usize = ignored.values().sum();
    if count == 0 {
        return;
    }
    let mut out = stdout().lock();
    // A reader that has gone is no reason to fail.
    let _ = writeln!(out, "ignored {count} tests:");
    for (reason, count) in ignored {
        let _ = writeln!(out, "{count:>5}  {reason}");
    }
}
