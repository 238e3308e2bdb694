//! YAML as kube-apiserver reads its files: the parser is libyaml's, as that of go-yaml v2 is, and what
//! scalars, merge keys, aliases and repeated keys mean is go-yaml's. Only the first document counts.

mod error;
mod scalar;
mod tree;

use std::collections::{BTreeMap, HashSet};

use super::value::Value;
pub(in crate::commands) use error::{UNSUPPORTED, YamlError};
use tree::{Content, MAX_DEPTH, Node, Tree};

/// Up to here go-yaml allows that nearly everything is made of aliases.
const FREE_DECODES: u32 = 400_000;
/// go-yaml's limit for the share of aliases, in percent. Beyond `FREE_DECODES` its limit falls, which
/// no file of this kind reaches.
const ALIAS_PERCENT: u64 = 99;

/// What was read.
pub(in crate::commands) struct Document {
    /// The first document as JSON.
    pub(in crate::commands) value: Value,
    /// The keys that are given again in a mapping, with the line. Strict decoding refuses them.
    pub(in crate::commands) repeated: Vec<(String, u64)>,
}

/// Reads the first document of the text.
pub(in crate::commands) fn read(text: &[u8]) -> Result<Document, YamlError> {
    let tree = Tree::read(text)?;
    let mut decoder = Decoder {
        nodes: &tree.nodes,
        open: HashSet::new(),
        depth: 0,
        decodes: 0,
        decodes_of_aliases: 0,
        repeated: Vec::new(),
    };
    let value = match tree.root {
        Some(root) => decoder.value(root)?,
        None => Value::Null,
    };
    Ok(Document {
        value,
        repeated: decoder.repeated,
    })
}

struct Decoder<'a> {
    nodes: &'a [Node],
    /// The aliases that are being followed.
    open: HashSet<usize>,
    /// How many nodes are being decoded, each within the one before: an anchor may be as deep as the tree, and contain
    /// an alias of another one that is.
    depth: usize,
    decodes: u32,
    decodes_of_aliases: u32,
    repeated: Vec<(String, u64)>,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, index: usize) -> Result<Value, YamlError> {
        self.within(index, |decoder, node| match &node.content {
            Content::Alias(target) => decoder.follow(index, |decoder| decoder.value(*target)),
            Content::Scalar(scalar) => scalar.resolve().map_err(|problem| node.error(problem)),
            Content::List(items) => {
                let values: Result<_, _> = items.iter().map(|item| decoder.value(*item)).collect();
                Ok(Value::List(values?))
            }
            Content::Map(_) => {
                let mut into = BTreeMap::new();
                decoder.fill(index, &mut into)?;
                Ok(Value::Map(into.into_iter().collect()))
            }
        })
    }

    /// Adds the entries of a mapping in their order, those of merge keys at their place: a later
    /// one replaces an earlier one, whatever the specification says.
    fn fill(&mut self, index: usize, into: &mut BTreeMap<String, Value>) -> Result<(), YamlError> {
        let Content::Map(entries) = &self.nodes[index].content else {
            return Ok(());
        };
        for (key, value) in entries {
            if self.nodes[*key].is_merge_key() {
                self.merge(*value, into)?;
                continue;
            }
            let name = self.key(*key)?;
            let line = self.nodes[*value].line;
            let value = self.value(*value)?;
            if into.insert(name.clone(), value).is_some() {
                self.repeated.push((name, line));
            }
        }
        Ok(())
    }

    fn merge(&mut self, index: usize, into: &mut BTreeMap<String, Value>) -> Result<(), YamlError> {
        let node = &self.nodes[index];
        match &node.content {
            Content::List(items) => {
                // Earlier ones take precedence.
                for item in items.iter().rev() {
                    self.merge_mapping(*item, into)?;
                }
                Ok(())
            }
            _ => self.merge_mapping(index, into),
        }
    }

    fn merge_mapping(
        &mut self,
        index: usize,
        into: &mut BTreeMap<String, Value>,
    ) -> Result<(), YamlError> {
        self.within(index, |decoder, node| match &node.content {
            Content::Map(_) => decoder.fill(index, into),
            Content::Alias(target) if matches!(decoder.nodes[*target].content, Content::Map(_)) => {
                decoder.follow(index, |decoder| {
                    decoder.count(*target)?;
                    decoder.fill(*target, into)
                })
            }
            _ => Err(node.error("a merge key needs a mapping")),
        })
    }

    /// A key as JSON has it. Other scalars than strings become their text, which no field is named.
    fn key(&mut self, index: usize) -> Result<String, YamlError> {
        let node = &self.nodes[index];
        match self.value(index)? {
            Value::Text(text) => Ok(text),
            Value::Bool(_) => Ok("a boolean".to_owned()),
            Value::Number(number) => Ok(number.unwrap_or_default().to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => {
                Err(node.error("a key is null, a list or a mapping"))
            }
        }
    }

    /// Decodes what is within a node.
    fn within<T>(
        &mut self,
        index: usize,
        then: impl FnOnce(&mut Self, &'a Node) -> Result<T, YamlError>,
    ) -> Result<T, YamlError> {
        let node = self.count(index)?;
        if self.depth > MAX_DEPTH {
            return Err(node.error("it is nested too deeply"));
        }
        self.depth += 1;
        let found = then(self, node);
        self.depth -= 1;
        found
    }

    fn follow<T>(
        &mut self,
        alias: usize,
        then: impl FnOnce(&mut Self) -> Result<T, YamlError>,
    ) -> Result<T, YamlError> {
        if !self.open.insert(alias) {
            return Err(self.nodes[alias].error("an anchor contains itself"));
        }
        let found = then(self)?;
        self.open.remove(&alias);
        Ok(found)
    }

    fn count(&mut self, index: usize) -> Result<&'a Node, YamlError> {
        let node = &self.nodes[index];
        self.decodes += 1;
        if !self.open.is_empty() {
            self.decodes_of_aliases += 1;
        }
        let share =
            u64::from(self.decodes_of_aliases) * 100 > u64::from(self.decodes) * ALIAS_PERCENT;
        if self.decodes > FREE_DECODES
            || (self.decodes_of_aliases > 100 && self.decodes > 1000 && share)
        {
            return Err(node.error("there are too many aliases"));
        }
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each anchor is as deep as the parser allows, and ends in an alias of the one before.
    #[test]
    fn aliases_within_each_other_are_not_followed_deeper_than_a_tree_may_be() {
        let (open, close) = ("[".repeat(190), "]".repeat(190));
        let mut text = format!("a0: &a0 {open}x{close}\n");
        for number in 1..60 {
            text += &format!("a{number}: &a{number} {open}*a{}{close}\n", number - 1);
        }
        let error = read(text.as_bytes()).err().expect("an error");
        assert_eq!((error.problem, error.line), ("it is nested too deeply", 1));
        assert!(read(format!("a0: &a0 {open}x{close}\nb: *a0\n").as_bytes()).is_ok());
    }

    #[test]
    fn what_the_parser_panics_at_is_an_error_or_read() {
        let problem = |text: &str| read(text.as_bytes()).err().map(|error| error.problem);
        assert_eq!(problem("a: [!b, c]"), Some(UNSUPPORTED));
        assert_eq!(problem("a: |\n  b"), None);
    }
}
