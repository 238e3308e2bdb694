//! `inspect`: what a single stored value says of itself, without a key.

mod description;
mod input;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::output::{self, Problem};
use crate::diagnosis::Diagnosis;
use crate::system::Exit;
use description::Description;

/// More than any value, in any form: etcd accepts requests of 1.5 MiB by default, and a dump is six times as long.
const MAX_BYTES: u64 = 64 << 20;

/// The options of `inspect`.
#[derive(Debug, Clone, Args)]
pub struct Inspect {
    /// File with the value: raw, in base64, as a hexdump, or what etcdctl printed, as text or as JSON. Standard input
    /// without one, or if it is `-`.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Describes the value.
///
/// # Errors
/// If it cannot be read, or holds no value.
pub fn run(options: &Inspect) -> Result<Exit, Problem> {
    let bytes = read(options).map_err(Problem::wrong_input)?;
    let inputs = input::read(&bytes).map_err(Problem::wrong_input)?;
    let describe =
        |input: &input::Input| Description::new(input.key.as_deref(), &input.value, input.given_as);
    let descriptions: Vec<_> = inputs.iter().map(describe).collect();
    output::written(write(&descriptions, options.json))?;
    let is_whole = descriptions.iter().all(Description::is_whole);
    Ok(if is_whole { Exit::Ok } else { Exit::Config })
}

fn write(descriptions: &[Description], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, descriptions)?;
        return writeln!(out);
    }
    descriptions.iter().try_for_each(|one| one.write(&mut out))
}

fn read(options: &Inspect) -> Result<Zeroizing<Vec<u8>>, Diagnosis> {
    let file = options
        .file
        .as_deref()
        .filter(|file| file.as_os_str() != "-");
    let (name, input): (String, Box<dyn Read>) = match file {
        None => ("standard input".to_owned(), Box::new(io::stdin().lock())),
        Some(file) => {
            let name = file.display().to_string();
            let opened = File::open(file).map_err(|error| unreadable(&name, &error))?;
            (name, Box::new(opened))
        }
    };
    let mut bytes = Zeroizing::new(Vec::new());
    let read = input.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(&name, &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        let cause = format!("{name}: is larger than any stored value");
        return Err(Diagnosis::new(cause)
            .with_remedy("for a snapshot of etcd use: vault-kmsctl audit --snapshot FILE"));
    }
    Ok(bytes)
}

fn unreadable(name: &str, error: &io::Error) -> Diagnosis {
    Diagnosis::new(format!("{name}: {error}"))
        .with_remedy("name a file that exists and that you may read")
}
