//! One setting of another plugin: how a user writes it, and what becomes of it here. Each plugin is a table
//! of them.

/// A setting of another plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The flag, with one dash.
    pub flag: Option<&'static str>,
    /// The variables of the environment; the first that is set counts.
    pub variables: &'static [&'static str],
    /// The field of its JSON or YAML file, with dots between the names.
    pub field: Option<&'static str>,
    /// What its value is.
    pub kind: Kind,
    /// The value if it is not set.
    pub default: Option<&'static str>,
    /// What becomes of it.
    pub meaning: Meaning,
}

/// What the value of a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`, in all the forms that Go reads.
    Bool,
    /// A whole number.
    Integer,
    /// A duration as Go writes it.
    Duration,
    /// A path; a relative one is in the working directory.
    Path,
}

/// What becomes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A key of the configuration, with the same value.
    To(Target),
    /// The same, if the login is by one of these methods of the configuration.
    Login(&'static [&'static str], Target),
    /// It decides something, as this text says.
    Decides(&'static str),
    /// It has no effect; this text says why, and what replaces it.
    Dropped(&'static str),
    /// The plugin itself does not read it; this text says what it reads.
    Unread(&'static str),
}

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// This key.
    Key(&'static str),
    /// The content of the file that this key names: a secret.
    Secret(&'static str),
}

impl Setting {
    const NONE: Self = Self {
        flag: None,
        variables: &[],
        field: None,
        kind: Kind::Text,
        default: None,
        meaning: Meaning::Decides(""),
    };

    /// A setting that a flag gives, or one of these variables.
    pub(super) const fn flag(flag: &'static str, variables: &'static [&'static str]) -> Self {
        Self {
            flag: Some(flag),
            variables,
            ..Self::NONE
        }
    }

    /// A setting that only a variable gives.
    pub(super) const fn variable(variables: &'static [&'static str]) -> Self {
        Self {
            variables,
            ..Self::NONE
        }
    }

    /// A setting of a file.
    pub(super) const fn field(field: &'static str) -> Self {
        Self {
            field: Some(field),
            ..Self::NONE
        }
    }

    /// The same with these variables, which take precedence over the file.
    pub(super) const fn or_variables(self, variables: &'static [&'static str]) -> Self {
        Self { variables, ..self }
    }

    pub(super) const fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    pub(super) const fn key(self, key: &'static str) -> Self {
        Self {
            meaning: Meaning::To(Target::Key(key)),
            ..self
        }
    }

    pub(super) const fn login(self, methods: &'static [&'static str], key: &'static str) -> Self {
        Self {
            meaning: Meaning::Login(methods, Target::Key(key)),
            ..self
        }
    }

    pub(super) const fn secret(self, methods: &'static [&'static str], key: &'static str) -> Self {
        Self {
            meaning: Meaning::Login(methods, Target::Secret(key)),
            ..self
        }
    }

    pub(super) const fn decides(self, what: &'static str) -> Self {
        Self {
            meaning: Meaning::Decides(what),
            ..self
        }
    }

    pub(super) const fn dropped(self, why: &'static str) -> Self {
        Self {
            meaning: Meaning::Dropped(why),
            ..self
        }
    }

    pub(super) const fn unread(self, why: &'static str) -> Self {
        Self {
            meaning: Meaning::Unread(why),
            ..self
        }
    }

    /// Its first name: the flag, else the variable, else the field.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let variable = self.variables.first().copied();
        self.flag.or(self.field).or(variable).unwrap_or_default()
    }

    /// Its names as a user may write them, for an error.
    #[must_use]
    pub fn names(&self) -> String {
        let names = self.flag.into_iter().chain(self.field);
        let all: Vec<_> = names.chain(self.variables.iter().copied()).collect();
        match all.as_slice() {
            [one] => (*one).to_owned(),
            [first, others @ ..] => format!("{first} ({})", others.join(", ")),
            [] => String::new(),
        }
    }

    /// Whether its value is a secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.meaning, Meaning::Login(_, Target::Secret(_)))
    }
}
