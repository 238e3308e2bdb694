//! What the command line leaves open: asked on a terminal, an error elsewhere.

use std::io::{self, BufRead, ErrorKind, Write};

use clap::ValueEnum;

use super::auth::Method;
use super::platform::Platform;
use super::text;
use crate::cli;
use crate::vault::Address;

/// The answers without which there are no files.
#[derive(Debug)]
pub(super) struct Questions(Vec<(&'static str, String)>);

impl Questions {
    /// Those that the options do not answer.
    pub(super) fn of(options: &cli::Init) -> Self {
        let mut open = Vec::new();
        if options.platform.is_none() {
            open.push(("platform", choices::<Platform>()));
        }
        if options.address.is_empty() {
            open.push((
                "address",
                "Vault's address, such as https://vault.example:8200".to_owned(),
            ));
        }
        if options.auth.is_none() {
            open.push(("auth", choices::<Method>()));
        }
        if options.auth == Some(Method::Kubernetes) && options.kubernetes_host.is_none() {
            open.push(("kubernetes-host", KUBERNETES_HOST.to_owned()));
        }
        if options.auth == Some(Method::Cert) && options.node_name.is_empty() {
            open.push(("node-name", NODE_NAME.to_owned()));
        }
        Self(open)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// An error that names all of them, if there are any.
    pub(super) fn refuse(&self) -> Result<(), String> {
        if !self.is_open() {
            return Ok(());
        }
        let mut error = "stdin is no terminal to ask on, so these options are needed:".to_owned();
        for (option, meaning) in &self.0 {
            error.push_str(&format!("\n  --{option}: {meaning}"));
        }
        Err(error)
    }

    /// The options, completed by answers. Beside what has to be answered, it asks for what most installations
    /// set.
    pub(super) fn ask(
        &self,
        options: &cli::Init,
        terminal: impl BufRead,
        prompts: &mut impl Write,
    ) -> io::Result<cli::Init> {
        let mut options = options.clone();
        let mut dialogue = Dialogue { terminal, prompts };
        if options.platform.is_none() {
            let question = format!("Platform ({})", choices::<Platform>());
            options.platform = Some(dialogue.ask(&question, None, choice)?);
        }
        if options.address.is_empty() {
            let question = "Address of Vault, such as https://vault.example:8200";
            options.address = vec![dialogue.ask(question, None, address)?];
        }
        if options.ca_file.is_none() {
            let question =
                "Path on the nodes of the certificate of Vault's CA; empty for those of the system";
            let answer = dialogue.ask(question, Some(""), |text| match text {
                "" => Ok(None),
                path if path.starts_with('/') => text::line(path).map(|()| Some(path.to_owned())),
                path => Err(format!("{path:?} is not an absolute path")),
            })?;
            options.ca_file = answer;
        }
        let checked = |check: fn(&str) -> Result<(), String>| {
            move |text: &str| check(text).map(|()| text.to_owned())
        };
        if options.mount.is_none() {
            let question = "Mount of the Transit engine";
            let mount = dialogue.ask(question, Some(cli::DEFAULT_MOUNT), checked(text::words))?;
            options.mount = Some(mount);
        }
        if options.key.is_none() {
            let question = "Name of the key, which no other cluster uses";
            let key = dialogue.ask(question, Some(cli::DEFAULT_KEY), checked(text::word))?;
            options.key = Some(key);
        }
        let auth = match options.auth {
            Some(auth) => auth,
            None => dialogue.ask(
                &format!("Login ({})", choices::<Method>()),
                Some(Method::Token.name()),
                choice,
            )?,
        };
        options.auth = Some(auth);
        if auth == Method::Kubernetes && options.kubernetes_host.is_none() {
            let host = dialogue.ask(KUBERNETES_HOST, None, checked(text::line))?;
            options.kubernetes_host = Some(host);
        }
        if auth == Method::Cert && options.node_name.is_empty() {
            let names = |text: &str| {
                let names = text.split(',').map(str::trim).map(str::to_owned);
                Ok::<_, String>(names.collect())
            };
            options.node_name = dialogue.ask(NODE_NAME, None, names)?;
        }
        Ok(options)
    }
}

const KUBERNETES_HOST: &str =
    "where Vault reaches kube-apiserver, such as https://kube.example:6443";
const NODE_NAME: &str = "common names in the certificates of the nodes, separated by commas";

/// Lines that are asked for and read.
struct Dialogue<'a, R, W> {
    terminal: R,
    prompts: &'a mut W,
}

impl<R: BufRead, W: Write> Dialogue<'_, R, W> {
    /// Asks until the answer is valid. An empty one means the default, if there is one.
    fn ask<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> io::Result<T> {
        loop {
            match default {
                None | Some("") => write!(self.prompts, "{question}: ")?,
                Some(default) => write!(self.prompts, "{question} [{default}]: ")?,
            }
            self.prompts.flush()?;
            let mut line = String::new();
            if self.terminal.read_line(&mut line)? == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "stdin ended"));
            }
            let answer = match (line.trim(), default) {
                ("", Some(default)) => default,
                ("", None) => continue,
                (answer, _) => answer,
            };
            match parse(answer) {
                Ok(value) => return Ok(value),
                Err(error) => writeln!(self.prompts, "  {error}")?,
            }
        }
    }
}

/// The names of all values.
fn choices<T: ValueEnum>() -> String {
    let values = T::value_variants().iter();
    let names = values.filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned()));
    names.collect::<Vec<_>>().join(", ")
}

fn choice<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, true).map_err(|_| format!("{text:?} is not one of {}", choices::<T>()))
}

fn address(text: &str) -> Result<String, String> {
    let address = Address::try_new(text).map_err(|error| error.to_string())?;
    if address.is_plaintext_over_network() {
        return Err(format!(
            "{text} would send the token and every seed unencrypted: use https"
        ));
    }
    Ok(text.to_owned())
}
