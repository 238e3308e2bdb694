//! `check --encryption-config` agrees with kube-apiserver about every file. Under `encryption/` there is
//! one file per case: the file with the expected steps. The judge is kube-apiserver's own loader of
//! several releases, from `tests/encryption_config/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;

use super::harness::servers;

/// The first release without KMS v1, the first but one that decodes strictly, and the newest.
pub(super) const RELEASES: [&str; 3] = ["v0.29.15", "v0.33.13", "v0.37.2"];
/// It does not refuse what it does not know.
const LAX: &str = "v0.29.15";
/// `yes`: the files get the steps that `check` prints now, to be read and committed.
const REWRITE: &str = "REWRITE_EXPECTED";

/// How all keys in the files begin.
const KEY: &str = "AAECAwQF";

const CONFIG: &str = r#"
[socket]
path = "/run/vault-kms-plugin/kms.sock"
[vault]
address = "http://127.0.0.1:8200"
[transit]
key = "kms"
[auth]
method = "token"
token_file = "DIR/token"
"#;

/// What kube-apiserver of one release does with a file: the error of each refusal, or "".
#[derive(Debug, Deserialize)]
struct Verdict {
    default: String,
    v1: String,
    reload: String,
    writers: BTreeMap<String, String>,
    secrets: String,
}

/// A step of `check` about the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Step {
    name: String,
    outcome: String,
    text: String,
    remedy: Option<String>,
}

/// All files, without what is expected of them.
struct Cases {
    dir: TempDir,
    names: Vec<String>,
}

fn source() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/encryption")
}

fn is_expected(line: &&str) -> bool {
    line.starts_with("#! ") || line.starts_with("#> ")
}

/// The steps in the lines of a file: `#! outcome: text`, and its remedy after `#> `.
fn expected(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines().filter(is_expected) {
        if let Some(remedy) = line.strip_prefix("#> ") {
            steps.last_mut().expect("a step").remedy = Some(remedy.to_owned());
        } else if let Some((outcome, text)) = line[3..].split_once(": ") {
            steps.push(Step {
                name: "encryption config".to_owned(),
                outcome: outcome.to_owned(),
                text: text.to_owned(),
                remedy: None,
            });
        }
    }
    steps
}

impl Cases {
    fn read() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = CONFIG.replace("DIR", dir.path().to_str().unwrap());
        fs::write(dir.path().join("config.toml"), config).unwrap();
        fs::write(dir.path().join("token"), "token").unwrap();
        let mut names = Vec::new();
        for entry in fs::read_dir(source()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let text = fs::read_to_string(source().join(&name)).unwrap();
            let lines = text.split_inclusive('\n');
            let file: String = lines.filter(|line| !is_expected(line)).collect();
            fs::write(dir.path().join(&name), file).unwrap();
            names.push(name);
        }
        names.sort();
        Self { dir, names }
    }

    fn judged_by(&self, release: &str) -> BTreeMap<String, Verdict> {
        let mut judge = Command::new(servers::encryption_config(release));
        judge.current_dir(self.dir.path()).args(&self.names);
        let output = judge.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{release}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What `check` says about a file.
    fn checked(&self, name: &str) -> Vec<Step> {
        let mut check = Command::new(env!("CARGO_BIN_EXE_vault-kms-plugin"));
        check.env_clear().current_dir(self.dir.path());
        check.args(["check", "--offline", "--json", "--config", "config.toml"]);
        let output = check.args(["--encryption-config", name]).output().unwrap();
        #[derive(Deserialize)]
        struct Report {
            steps: Vec<Step>,
        }
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains(KEY), "{name} prints a key: {text}");
        let report: Report = serde_json::from_slice(&output.stdout).unwrap();
        let steps = report.steps.into_iter();
        let steps: Vec<_> = steps
            .filter(|step| step.name == "encryption config")
            .collect();
        let is_error = steps.iter().any(|step| step.outcome == "error");
        let code = output.status.code();
        assert_eq!(code == Some(78), is_error, "{name}: {code:?}: {steps:#?}");
        steps
    }
}

/// Writes into a file of the cases what `check` says about it.
fn rewrite(name: &str, steps: &[Step]) {
    let path = source().join(name);
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.split_inclusive('\n');
    let file: String = lines.filter(|line| !is_expected(line)).collect();
    let mut head = String::new();
    for step in steps {
        head.push_str(&format!("#! {}: {}\n", step.outcome, step.text));
        if let Some(remedy) = &step.remedy {
            head.push_str(&format!("#> {remedy}\n"));
        }
    }
    fs::write(&path, head + &file).unwrap();
}

fn check_says_what_is_expected_of_every_file() {
    let cases = Cases::read();
    assert!(cases.names.len() >= 60, "{} files", cases.names.len());
    let mut wrong = Vec::new();
    for name in &cases.names {
        let steps = cases.checked(name);
        if std::env::var_os(REWRITE).is_some() {
            rewrite(name, &steps);
            continue;
        }
        let text = fs::read_to_string(source().join(name)).unwrap();
        if steps != expected(&text) {
            wrong.push(format!("{name}: {steps:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check_refuses_what_kube_apiserver_refuses_and_says_what_writes_the_rest() {
    let cases = Cases::read();
    let verdicts: BTreeMap<_, _> = RELEASES
        .iter()
        .map(|release| (*release, cases.judged_by(release)))
        .collect();
    let mut wrong = Vec::new();
    for name in &cases.names {
        let steps = cases.checked(name);
        for (release, verdicts) in &verdicts {
            for problem in disagreements(release, &verdicts[name], &steps) {
                wrong.push(format!("{name}: {release}: {problem}\n{steps:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `check` says otherwise than kube-apiserver of this release.
fn disagreements(release: &str, verdict: &Verdict, steps: &[Step]) -> Vec<String> {
    let refusals = |by: &str| {
        let is_one = |step: &&Step| step.outcome == "error" && step.text.contains(by);
        steps.iter().filter(is_one).count()
    };
    let always = refusals("refused by kube-apiserver: ");
    let since = refusals("refused by Kubernetes 1.31 and later: ");
    let refused = always > 0 || (since > 0 && release != LAX);
    let mut problems = Vec::new();
    if refused == verdict.v1.is_empty() {
        problems.push(format!(
            "refused is {refused}, the loader says {:?}",
            verdict.v1
        ));
    }
    if let Some(step) = steps
        .iter()
        .find(|one| one.outcome == "error" && one.remedy.is_none())
    {
        problems.push(format!("{:?} has no remedy", step.text));
    }
    if refused || since > 0 {
        return problems;
    }
    let warns = |of: &str| {
        let mut steps = steps.iter();
        steps.any(|step| step.outcome != "ok" && step.text.contains(of))
    };
    if warns("KMSv1=true") == verdict.default.is_empty() {
        problems.push(format!("the feature gate: {:?}", verdict.default));
    }
    if warns("automatic-reload=true") == verdict.reload.is_empty() {
        problems.push(format!("the reload: {:?}", verdict.reload));
    }
    for (resource, writer) in &verdict.writers {
        if !tells(steps, resource, writer) {
            problems.push(format!(
                "{writer:?} writes {resource:?}, which is not reported"
            ));
        }
    }
    // Secrets that no entry names.
    if verdict.secrets == "identity" && !warns("unencrypted") {
        problems.push("secrets are written unencrypted, which is no warning".to_owned());
    }
    problems
}

/// Whether a step names the resource and what writes it; what is not encrypted is never `ok`.
fn tells(steps: &[Step], resource: &str, writer: &str) -> bool {
    let words = match writer.split_once(' ') {
        Some((_, kms)) => {
            let (version, name) = kms.split_once(' ').unwrap_or_default();
            format!("provider {name:?} ({version}")
        }
        None if writer == "identity" => "unencrypted".to_owned(),
        None => writer.to_owned(),
    };
    let names = |text: &str| {
        let cut = |c: char| c.is_whitespace() || ",;:\"".contains(c);
        let all: BTreeSet<&str> = text.split(cut).collect();
        resource.is_empty() || all.contains(resource)
    };
    // The step that is fine has one sentence for each writer.
    let mut sentences = steps.iter().flat_map(|step| {
        let sentences = step.text.split("; ");
        sentences.map(move |sentence| (step.outcome != "ok", sentence))
    });
    sentences.any(|(warned, sentence)| {
        let is_about = sentence.contains(&words) && names(sentence);
        is_about && (writer != "identity" || warned)
    })
}

fn a_file_that_cannot_be_read_is_not_called_refused() {
    let cases = Cases::read();
    fs::create_dir(cases.dir.path().join("directory")).unwrap();
    for (name, cause, remedy) in [
        ("absent.yaml", "No such file", "by its path on this host"),
        ("directory", "Is a directory", "name a file"),
    ] {
        let steps = cases.checked(name);
        let text = &steps[0].text;
        assert!(
            text.contains("cannot be read from here") && text.contains(cause),
            "{text}"
        );
        assert!(
            steps[0].remedy.as_ref().unwrap().contains(remedy),
            "{steps:?}"
        );
        assert_eq!(
            (steps.len(), text.contains("refused")),
            (1, false),
            "{steps:?}"
        );
    }
}

tests! {
    plain check_says_what_is_expected_of_every_file;
    plain check_refuses_what_kube_apiserver_refuses_and_says_what_writes_the_rest [Go];
    plain a_file_that_cannot_be_read_is_not_called_refused;
}
