//! What a file contains once it is JSON: kube-apiserver converts YAML before it decodes the fields.

/// A JSON value. It has no `Debug`: it may contain keys.
pub(in crate::commands) enum Value {
    /// `null`, which every field takes for "not given".
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; its value if it is an integer.
    Number(Option<i64>),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object, in which a key may be given twice: the last counts.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// What it is, with an article.
    pub(in crate::commands) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// The value of a key, if this is an object that has it.
    pub(in crate::commands) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        let mut found = entries.iter().rev();
        found.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The values of an array; none of anything else.
    pub(in crate::commands) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The entries of an object; none of anything else.
    pub(in crate::commands) fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text, if this is a string.
    pub(in crate::commands) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}
