//! docs/runbook.md: each alert's section answers the same questions in the same order.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../../docs/runbook.md");
const QUESTIONS: [&str; 5] = ["Meaning", "Impact", "Diagnosis", "Remedy", "Verify"];
/// An impact is named for each of these.
const TIMES: [&str; 3] = ["now", "in 10 minutes", "in 1 hour"];

/// What a section says to each question.
fn answers(section: &str) -> Vec<(String, String)> {
    let mut answers: Vec<(String, String)> = Vec::new();
    for line in section.lines() {
        let answer = line
            .strip_prefix("- **")
            .and_then(|it| it.split_once("**: "));
        if let Some((question, text)) = answer {
            answers.push((question.to_owned(), text.to_owned()));
        } else if let Some((_, text)) = answers.last_mut() {
            text.push(' ');
            text.push_str(line.trim());
        }
    }
    answers
}

fn each_section_has_meaning_impact_diagnosis_remedy_and_verify() {
    let mut count = 0;
    for section in PAGE.split("\n## ").skip(1) {
        let alert = section.lines().next().unwrap();
        let answers = answers(section);
        let questions: Vec<_> = answers.iter().map(|(question, _)| question).collect();
        assert_eq!(questions, QUESTIONS, "{alert}");
        let impact = answers[1].1.to_lowercase();
        for time in TIMES {
            assert!(impact.contains(time), "{alert}: no impact {time}: {impact}");
        }
        count += 1;
    }
    assert!(count > 10, "only {count} sections were found");
}

/// Both ways to run the plugin have their own commands, and what is run in a pod is there as in the node.
fn the_first_commands_exist_for_systemd_and_for_pods() {
    let first = PAGE.split("\n## ").next().unwrap();
    let blocks = first.split("```").skip(1).step_by(2);
    let commands: BTreeSet<_> = blocks.flat_map(str::lines).collect();
    for command in ["status", "check"] {
        let on_the_node = commands.iter().any(|line| {
            let line = line.split('#').next().unwrap().trim_end();
            line.starts_with(&format!("vault-kms-plugin {command}"))
        });
        let in_a_pod = format!("crictl exec \"$plugin\" /usr/local/bin/vault-kms-plugin {command}");
        assert!(on_the_node, "{command} on the node");
        assert!(commands.contains(in_a_pod.as_str()), "{command} in a pod");
    }
}

tests! {
    plain each_section_has_meaning_impact_diagnosis_remedy_and_verify;
    plain the_first_commands_exist_for_systemd_and_for_pods;
}
