//! Which settings are given, and by what: a flag takes precedence over a variable, a variable over a file,
//! a file over the default. An empty value is none.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::flags;
use super::input::Invocation;
use super::setting::{Kind, Setting};
use super::translation::Translation;
use crate::go_duration::go_duration;

/// The settings that are given.
pub(super) struct Given {
    /// The name of the plugin, which a default comes from.
    plugin: &'static str,
    settings: &'static [Setting],
    found: Vec<Found>,
}

struct Found {
    setting: &'static Setting,
    value: Zeroizing<String>,
    origin: &'static str,
}

/// A value, and the flag, variable or field that it comes from.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) value: &'a str,
    pub(super) origin: &'static str,
}

impl Given {
    /// Reads everything that an invocation gives. What is wrong or unknown is noted in `out`.
    pub(super) fn read(
        invocation: &Invocation,
        settings: &'static [Setting],
        out: &mut Translation,
    ) -> Self {
        let mut given = Self {
            plugin: invocation.plugin.name(),
            settings,
            found: Vec::new(),
        };
        given.read_flags(&invocation.arguments, out);
        given.read_variables(&invocation.variables, out);
        given.read_fields(&invocation.fields, out);
        for found in &given.found {
            found.check(out);
        }
        given
    }

    fn read_flags(&mut self, arguments: &[String], out: &mut Translation) {
        if self.settings.iter().all(|setting| setting.flag.is_none()) {
            if let Some(first) = arguments.first() {
                let text = "has no effect: this plugin has no flags, only variables";
                out.not_understood(shown(first), text);
            }
            return;
        }
        let parsed = flags::parse(arguments, self.settings);
        // The last one counts.
        for (setting, value) in parsed.values.into_iter().rev() {
            self.add(setting, value, setting.name());
        }
        out.errors.extend(parsed.error);
        if let Some(first) = parsed.rest.first() {
            let shown = shown(first);
            let ignored = parsed.rest.len();
            let text = format!(
                "is no flag: it and what follows, {ignored} in all, have no effect, as with that plugin; remove them, \
                 or write -FLAG=VALUE"
            );
            out.not_understood(shown, text);
        }
    }

    fn read_variables(&mut self, variables: &BTreeMap<String, String>, out: &mut Translation) {
        for setting in self.settings {
            let mut set = setting.variables.iter().filter_map(|name| {
                let value = variables.get(*name).filter(|value| !value.is_empty())?;
                Some((*name, value))
            });
            let Some((name, value)) = set.next() else {
                continue;
            };
            self.add(setting, value.clone(), name);
            for (other, _) in set.filter(|(_, other)| *other != value) {
                out.note(other, format!("has no effect: {name} is set, too"));
            }
        }
    }

    fn read_fields(&mut self, fields: &[(String, String)], out: &mut Translation) {
        for (name, value) in fields {
            let setting = self.settings.iter().find(|it| {
                it.field
                    .is_some_and(|field| field.eq_ignore_ascii_case(name))
            });
            match setting {
                Some(setting) => {
                    self.add(setting, value.clone(), setting.field.unwrap_or_default())
                }
                None => out.not_understood(name, "is no field of this plugin's file"),
            }
        }
    }

    /// What was found before takes precedence.
    fn add(&mut self, setting: &'static Setting, value: String, origin: &'static str) {
        let is_known = self
            .found
            .iter()
            .any(|it| it.setting.name() == setting.name());
        if !is_known && !value.is_empty() {
            let value = Zeroizing::new(value);
            self.found.push(Found {
                setting,
                value,
                origin,
            });
        }
    }

    /// The settings that the plugin has.
    pub(super) fn settings(&self) -> &'static [Setting] {
        self.settings
    }

    /// A setting by its name, if it is given.
    pub(super) fn set(&self, name: &str) -> Option<Entry<'_>> {
        let found = self.found.iter().find(|it| it.setting.name() == name)?;
        Some(Entry {
            value: &found.value,
            origin: found.origin,
        })
    }

    /// The same, or its default, which comes from the plugin as such.
    pub(super) fn get(&self, name: &str) -> Option<Entry<'_>> {
        self.set(name).or_else(|| {
            let setting = self.settings.iter().find(|it| it.name() == name)?;
            Some(Entry {
                value: setting.default?,
                origin: self.plugin,
            })
        })
    }

    /// Whether a boolean is given and true.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.set(name).and_then(|it| go_bool(it.value)) == Some(true)
    }

    /// The names that a user may write for a setting.
    pub(super) fn names(&self, name: &str) -> String {
        let setting = self.settings.iter().find(|it| it.name() == name);
        setting.map_or_else(|| name.to_owned(), Setting::names)
    }
}

impl Found {
    fn check(&self, out: &mut Translation) {
        let value = self.value.as_str();
        let (is_valid, cause, remedy) = match self.setting.kind {
            Kind::Text | Kind::Path => return,
            Kind::Bool => (
                go_bool(value).is_some(),
                "is neither true nor false",
                "write true or false",
            ),
            Kind::Integer => (
                value.parse::<i64>().is_ok(),
                "is not a whole number",
                "write a number such as 8080",
            ),
            Kind::Duration => (
                go_duration(value).is_some(),
                "is not a duration",
                "write a number and its unit, such as 60s",
            ),
        };
        if !is_valid {
            out.error(self.origin, cause, remedy);
        }
    }
}

/// As Go's `strconv.ParseBool`.
pub(super) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// An argument without its value, which may be a secret.
fn shown(argument: &str) -> String {
    if argument.starts_with('-') {
        argument.split('=').next().unwrap_or_default().to_owned()
    } else {
        "an argument".to_owned()
    }
}
