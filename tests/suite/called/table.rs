//! docs/reference/drop-in.md lists every flag, variable and field of the tables of the code, and no others.

use std::fmt::Write;

use vault_kms_plugin::drop_in::{Meaning, Plugin, Setting, Target};

const PAGE: &str = include_str!("../../../docs/reference/drop-in.md");

/// The row of a setting.
fn row(setting: &Setting) -> String {
    let names = setting.flag.into_iter().chain(setting.field);
    let all: Vec<_> = names.chain(setting.variables.iter().copied()).collect();
    let names: Vec<_> = all.iter().map(|name| format!("`{name}`")).collect();
    let default = setting
        .default
        .map_or_else(String::new, |it| format!("`{it}`"));
    let becomes = match setting.meaning {
        Meaning::To(Target::Key(key)) | Meaning::Login(_, Target::Key(key)) => format!("`{key}`"),
        Meaning::To(Target::Secret(key)) | Meaning::Login(_, Target::Secret(key)) => {
            format!("the secret itself, in place of the file in `{key}`")
        }
        Meaning::Decides(text) | Meaning::Dropped(text) | Meaning::Unread(text) => text.to_owned(),
    };
    format!("| {} | {default} | {becomes} |", names.join(", "))
}

/// The table of a plugin.
fn table(plugin: Plugin) -> String {
    let mut text = "| setting | default | becomes |\n|---|---|---|\n".to_owned();
    for setting in plugin.settings() {
        writeln!(text, "{}", row(setting)).unwrap();
    }
    text
}

fn the_page_has_the_table_of_every_plugin() {
    for plugin in Plugin::ALL {
        let table = table(plugin);
        if std::env::var_os("SHOW_TABLES").is_some() {
            eprintln!("{plugin}\n{table}");
        } else {
            assert!(
                PAGE.contains(&table),
                "{plugin}: SHOW_TABLES=1 shows the table"
            );
        }
    }
}

tests! {
    plain the_page_has_the_table_of_every_plugin;
}
