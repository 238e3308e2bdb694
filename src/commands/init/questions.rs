//! What the command line leaves open: asked on a terminal, an error elsewhere.

use std::io::{self, BufRead, ErrorKind, Write};

use super::answers::{DEFAULT_KEY, DEFAULT_MOUNT};
use super::auth::{self, Method};
use super::platform;
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
        let mut need = |option: &'static str, is_needed: bool, meaning: String| {
            if is_needed && options.one(option).is_none() {
                open.push((option, meaning));
            }
        };
        let auth = options.one("auth");
        need("platform", true, names(platform::CHOICES));
        need("address", true, ADDRESS.to_owned());
        need("auth", true, names(auth::CHOICES));
        let is = |method: Method| auth == Some(method.name());
        need(
            "kubernetes-host",
            is(Method::Kubernetes),
            KUBERNETES_HOST.to_owned(),
        );
        need("node-name", is(Method::Cert), NODE_NAME.to_owned());
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
        let mut ask = |option: &'static str,
                       question: &str,
                       default: Option<&str>,
                       check: &dyn Fn(&str) -> Result<(), String>|
         -> io::Result<()> {
            if options.one(option).is_none() {
                let answer = dialogue.ask(question, default, check)?;
                if !answer.is_empty() {
                    options.set(option, values(option, &answer));
                }
            }
            Ok(())
        };
        let question = format!("Platform ({})", names(platform::CHOICES));
        ask("platform", &question, None, &one_of(platform::CHOICES))?;
        ask("address", ADDRESS, None, &|answer| {
            let all = values("address", answer);
            all.iter().try_for_each(|one| address(one))
        })?;
        ask("ca-file", CA_FILE, Some(""), &path_or_nothing)?;
        ask(
            "mount",
            "Mount of the Transit engine",
            Some(DEFAULT_MOUNT),
            &text::words,
        )?;
        let question = "Name of the key, which no other cluster uses";
        ask("key", question, Some(DEFAULT_KEY), &text::word)?;
        let question = format!("Login ({})", names(auth::CHOICES));
        let token = Method::Token.name();
        ask("auth", &question, Some(token), &one_of(auth::CHOICES))?;
        // What the method needs is known only now.
        let open = Self::of(&options).0;
        for (option, question) in open {
            let answer = dialogue.ask(&question, None, &|answer| {
                let check = if option == "node-name" {
                    text::word
                } else {
                    text::line
                };
                values(option, answer).iter().try_for_each(|one| check(one))
            })?;
            options.set(option, values(option, &answer));
        }
        Ok(options)
    }
}

const ADDRESS: &str = "Vault's address, such as https://vault.example:8200";
const CA_FILE: &str =
    "Path on the nodes of the certificate of Vault's CA; empty for those of the system";
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
    fn ask(
        &mut self,
        question: &str,
        default: Option<&str>,
        check: &dyn Fn(&str) -> Result<(), String>,
    ) -> io::Result<String> {
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
            match check(answer) {
                Ok(()) => return Ok(answer.to_owned()),
                Err(error) => writeln!(self.prompts, "  {error}")?,
            }
        }
    }
}

/// What an answer means: only some options may be given several times.
fn values(option: &str, answer: &str) -> Vec<String> {
    match option {
        "address" | "node-name" => answer.split(',').map(|it| it.trim().to_owned()).collect(),
        _ => vec![answer.to_owned()],
    }
}

/// The names of all choices.
fn names(choices: &[(&str, &str)]) -> String {
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn one_of(choices: &'static [(&str, &str)]) -> impl Fn(&str) -> Result<(), String> {
    move |text| {
        if choices.iter().any(|(name, _)| *name == text) {
            return Ok(());
        }
        Err(format!("{text:?} is not one of {}", names(choices)))
    }
}

fn path_or_nothing(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    if !text.starts_with('/') {
        return Err(format!("{text:?} is not an absolute path"));
    }
    text::line(text)
}

fn address(text: &str) -> Result<(), String> {
    let address = Address::try_new(text).map_err(|error| error.to_string())?;
    if address.is_plaintext_over_network() {
        return Err(format!(
            "{text} would send the token and every seed unencrypted: use https"
        ));
    }
    Ok(())
}
