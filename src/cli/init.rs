//! The options of `init`. They are a table and not a struct with clap's derive, which would be a tenth of a
//! megabyte of code for so many.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, ValueHint};

use crate::commands::init::auth;
use crate::commands::init::platform;

/// The values of an option, each with what it means.
pub(crate) type Choices = &'static [(&'static str, &'static str)];

/// An option.
struct Definition {
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    choices: Choices,
    /// May be given several times, or with commas.
    is_list: bool,
    help: &'static str,
}

impl Definition {
    const fn new(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self {
            name,
            value,
            default: None,
            choices: &[],
            is_list: false,
            help,
        }
    }

    const fn or(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    const fn one_of(self, choices: Choices) -> Self {
        Self { choices, ..self }
    }

    const fn list(self) -> Self {
        Self {
            is_list: true,
            ..self
        }
    }

    fn argument(&self) -> Arg {
        let mut argument = Arg::new(self.name)
            .long(self.name)
            .value_name(self.value)
            .help(self.help);
        if let Some(default) = self.default {
            argument = argument.default_value(default);
        }
        if !self.choices.is_empty() {
            let choices = self.choices.iter();
            let values = choices.map(|(name, help)| PossibleValue::new(*name).help(*help));
            argument = argument.value_parser(PossibleValuesParser::new(values));
        }
        if self.value == "DIR" {
            argument = argument.value_hint(ValueHint::DirPath);
        }
        if self.is_list {
            argument = argument.action(ArgAction::Append).value_delimiter(',');
        }
        argument
    }
}

const OPTIONS: [Definition; 25] = [
    Definition::new(
        "out",
        "DIR",
        "Directory to write to. Nothing in it is overwritten",
    )
    .or("vault-kms-plugin-files"),
    Definition::new("platform", "NAME", "What starts kube-apiserver").one_of(platform::CHOICES),
    Definition::new(
        "address",
        "URL",
        "Address of Vault, such as `https://vault.example:8200`. May be given several times",
    )
    .list(),
    Definition::new(
        "ca-file",
        "FILE",
        "Path on the nodes of the certificate of Vault's CA; by default those of the system are trusted",
    ),
    Definition::new(
        "tls-server-name",
        "NAME",
        "The name in Vault's certificate, if it is not the host of the address",
    ),
    Definition::new("namespace", "PATH", "Namespace of key and login"),
    Definition::new(
        "mount",
        "PATH",
        "Mount of the Transit engine; `transit` by default",
    ),
    Definition::new(
        "key",
        "NAME",
        "Name of the key, which no other cluster may use; `kms` by default",
    ),
    Definition::new(
        "key-id-suffix",
        "TEXT",
        "Suffix of every key_id, when an earlier key writes again",
    ),
    Definition::new("auth", "METHOD", "How the plugin logs in").one_of(auth::CHOICES),
    Definition::new(
        "auth-mount",
        "PATH",
        "Mount of the auth method; by default its name",
    ),
    Definition::new("role", "NAME", "Name of the role in Vault").or("vault-kms-plugin"),
    Definition::new(
        "username",
        "NAME",
        "Name of the user in Vault, for `--auth userpass`",
    )
    .or("vault-kms-plugin"),
    Definition::new("policy", "NAME", "Name of the policy in Vault").or("vault-kms-plugin"),
    Definition::new(
        "issuer",
        "URL",
        "Issuer of the tokens of service accounts, for `--auth jwt`",
    )
    .or("https://kubernetes.default.svc.cluster.local"),
    Definition::new(
        "kubernetes-host",
        "URL",
        "Where Vault reaches kube-apiserver; required for `--auth kubernetes`",
    ),
    Definition::new(
        "node-name",
        "NAME",
        "Common names in the certificates of the nodes; required for `--auth cert`",
    )
    .list(),
    Definition::new("socket", "PATH", "The socket on the nodes")
        .or("/run/vault-kms-plugin/kms.sock"),
    Definition::new(
        "allow-uid",
        "UID",
        "User that kube-apiserver runs as, if it is not root. May be given several times",
    )
    .list(),
    Definition::new(
        "provider",
        "NAME",
        "Name of the provider in the EncryptionConfiguration, which each object in etcd carries",
    )
    .or("vault"),
    Definition::new("resource", "NAME", "Resources to encrypt")
        .or("secrets")
        .list(),
    Definition::new(
        "timeout",
        "TIME",
        "How long kube-apiserver waits for a call",
    )
    .or("3s"),
    Definition::new("image", "IMAGE", "Image of the static pod")
        .or("localhost/vault-kms-plugin:0.1.0"),
    Definition::new("program", "PATH", "The program on the nodes, for the unit")
        .or("/usr/local/bin/vault-kms-plugin"),
    Definition::new(
        "kubeadm-api",
        "VERSION",
        "Version of kubeadm's configuration: `v1beta3` for Kubernetes 1.30 and earlier",
    )
    .or("v1beta4")
    .one_of(platform::KUBEADM_CHOICES),
];

/// The options of `init` that were given or have a default. What is required and missing is asked for on a
/// terminal.
#[derive(Debug, Clone, Default)]
pub struct Init(Vec<(&'static str, Vec<String>)>);

impl Init {
    /// The value of an option.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// All values of an option.
    #[must_use]
    pub fn all(&self, name: &str) -> &[String] {
        let found = self.0.iter().find(|(option, _)| *option == name);
        found.map_or(&[], |(_, values)| values)
    }

    /// Gives an option these values.
    pub fn set(&mut self, name: &'static str, values: Vec<String>) {
        self.0.retain(|(option, _)| *option != name);
        self.0.push((name, values));
    }
}

impl Args for Init {
    fn augment_args(command: Command) -> Command {
        OPTIONS
            .iter()
            .fold(command, |command, one| command.arg(one.argument()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Init {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = OPTIONS.iter().filter_map(|one| {
            let values = matches.get_many::<String>(one.name)?;
            Some((one.name, values.cloned().collect()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
