//! The keys of the configuration, as docs/configuration.md describes them.

use super::markdown::{Block, Section, spans};

/// A key.
#[derive(Debug)]
pub(crate) struct Key<'a> {
    /// With its tables, such as `transit.decrypt_also.key`.
    pub(crate) name: &'a str,
    pub(crate) meaning: &'a [Block],
    /// Its type, in the words of the page.
    pub(crate) kind: &'a str,
    /// The login methods that have it; empty if all have.
    pub(crate) methods: Vec<String>,
    pub(crate) default: &'a str,
    pub(crate) environment: &'a str,
}

impl<'a> Key<'a> {
    /// The key of this section; `None` if it is about something else.
    pub(crate) fn of(section: &'a Section) -> Option<Self> {
        if section.level != 3 {
            return None;
        }
        let name = section.title.as_str();
        let Some((Block::List(facts), meaning)) = section.blocks.split_last() else {
            panic!("docs/configuration.md: {name} does not end with the list of its facts");
        };
        let fact = |label: &str| {
            let prefix = format!("{label}: ");
            let mut found = facts.iter().filter_map(|it| it.strip_prefix(&prefix));
            found.next()
        };
        let required = |label| {
            fact(label).unwrap_or_else(|| panic!("docs/configuration.md: {name} has no {label:?}"))
        };
        Some(Self {
            name,
            meaning,
            kind: required("Type"),
            methods: fact("Methods").map(spans).unwrap_or_default(),
            default: required("Default"),
            environment: required("Environment"),
        })
    }

    /// The table that it is in; empty for the top level.
    pub(crate) fn table(&self) -> &'a str {
        self.name.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// Its name in that table.
    pub(crate) fn own_name(&self) -> &'a str {
        self.name
            .rsplit_once('.')
            .map_or(self.name, |(_, name)| name)
    }

    /// The default as it is written, if it is a value and not another setting.
    pub(crate) fn default_value(&self) -> Option<&'a str> {
        let value = self.default.strip_prefix('`')?.strip_suffix('`')?;
        let is_setting = value.contains('.') && value.starts_with("vault.")
            || value.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        (!value.contains('`') && !is_setting).then_some(value)
    }
}
