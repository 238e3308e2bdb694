//! What a file contains once it is JSON: kube-apiserver converts YAML before it decodes the fields.

/// A JSON value. It has no `Debug`: it may contain keys.
pub(super) enum Value {
    /// `null`, which every field takes for "not given".
    Null,
    /// `true` or `false`.
    Bool,
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
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}
