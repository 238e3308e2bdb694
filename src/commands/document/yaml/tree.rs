//! The nodes of the first document, made of the parser's events.

use std::collections::HashMap;
use std::panic;

use libyaml_safer::{Error, Event, EventData, MappingStyle, Parser, ScalarStyle, SequenceStyle};

use super::error::{UNSUPPORTED, YamlError};
use super::scalar::Scalar;

/// A file of this kind has seven levels.
pub(super) const MAX_DEPTH: usize = 200;
const MERGE_TAG: &str = "tag:yaml.org,2002:merge";

/// A node, and the line on which it begins, counted from 1.
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) line: u64,
}

/// The content of a node; others are referred to by their place in the list.
pub(super) enum Content {
    Scalar(Scalar),
    List(Vec<usize>),
    Map(Vec<(usize, usize)>),
    Alias(usize),
}

/// All nodes.
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// None if there is no document.
    pub(super) root: Option<usize>,
}

impl Node {
    /// An error at this node.
    pub(super) fn error(&self, problem: &'static str) -> YamlError {
        YamlError {
            problem,
            line: self.line,
        }
    }

    /// Whether it is the key `<<`.
    pub(super) fn is_merge_key(&self) -> bool {
        matches!(&self.content, Content::Scalar(one)
            if one.text == "<<" && (one.is_plain || one.tag.as_deref() == Some(MERGE_TAG)))
    }
}

impl Tree {
    /// Reads the first document; what follows it is not looked at.
    pub(super) fn read(text: &[u8]) -> Result<Self, YamlError> {
        // go-yaml skips it at the beginning alone.
        if let Some(line) = text
            .split(|byte| *byte == b'\n')
            .skip(1)
            .position(begins_with_mark)
        {
            let problem = "a byte order mark begins a line";
            let line = line as u64 + 2;
            return Err(YamlError { problem, line });
        }
        let mut text = text.to_owned();
        if !text.ends_with(b"\n") {
            // Without it the parser panics in a block scalar at the end.
            text.push(b'\n');
        }
        // It also panics at a tag that a comma follows.
        let read = || Builder::new(&text).tree();
        panic::catch_unwind(read).unwrap_or(Err(YamlError {
            problem: UNSUPPORTED,
            line: 0,
        }))
    }
}

struct Builder<'a> {
    parser: Parser<&'a [u8]>,
    nodes: Vec<Node>,
    anchors: HashMap<String, usize>,
    /// How many lists and mappings in brackets are open.
    flow_depth: usize,
}

impl<'a> Builder<'a> {
    fn new(text: &'a [u8]) -> Self {
        let mut parser = Parser::new();
        parser.set_input(text);
        Self {
            parser,
            nodes: Vec::new(),
            anchors: HashMap::new(),
            flow_depth: 0,
        }
    }

    fn tree(mut self) -> Result<Tree, YamlError> {
        let root = self.document()?;
        Ok(Tree {
            nodes: self.nodes,
            root,
        })
    }

    fn next(&mut self) -> Result<Event, YamlError> {
        self.parser.parse().map_err(|error| described(&error))
    }

    fn document(&mut self) -> Result<Option<usize>, YamlError> {
        loop {
            let event = self.next()?;
            match event.data {
                EventData::StreamStart { .. } => {}
                EventData::DocumentStart {
                    version_directive, ..
                } => {
                    let line = event.start_mark.line + 1;
                    if version_directive.is_some_and(|is| (is.major, is.minor) != (1, 1)) {
                        let problem = "%YAML names another version than 1.1";
                        return Err(YamlError { problem, line });
                    }
                    let event = self.next()?;
                    let root = self.node(event, 0)?;
                    // An error may follow the root.
                    self.next()?;
                    return Ok(root);
                }
                _ => return Ok(None),
            }
        }
    }

    /// The node that begins with this event; None if the event ends the collection around it.
    fn node(&mut self, event: Event, depth: usize) -> Result<Option<usize>, YamlError> {
        let line = event.start_mark.line + 1;
        let index = self.nodes.len();
        let mut is_flow = false;
        let (content, anchor) = match event.data {
            EventData::Alias { anchor } => {
                let target = self.anchors.get(&anchor).copied();
                let problem = "an alias has no anchor";
                let target = target.ok_or(YamlError { problem, line })?;
                (Content::Alias(target), None)
            }
            EventData::Scalar {
                anchor,
                tag,
                value,
                plain_implicit,
                style,
                ..
            } => {
                // go-yaml ends the scalar there and finds no comma.
                if self.flow_depth > 0 && style == ScalarStyle::Plain && value.contains('?') {
                    let problem = "a ? within brackets is not in quotes";
                    return Err(YamlError { problem, line });
                }
                let scalar = Scalar {
                    text: value,
                    tag,
                    is_plain: plain_implicit,
                };
                (Content::Scalar(scalar), anchor)
            }
            EventData::SequenceStart { anchor, style, .. } => {
                is_flow = style == SequenceStyle::Flow;
                (Content::List(Vec::new()), anchor)
            }
            EventData::MappingStart { anchor, style, .. } => {
                is_flow = style == MappingStyle::Flow;
                (Content::Map(Vec::new()), anchor)
            }
            _ => return Ok(None),
        };
        if depth > MAX_DEPTH {
            let problem = "it is nested too deeply";
            return Err(YamlError { problem, line });
        }
        self.nodes.push(Node { content, line });
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, index);
        }
        self.flow_depth += usize::from(is_flow);
        self.children(index, depth + 1)?;
        self.flow_depth -= usize::from(is_flow);
        Ok(Some(index))
    }

    fn children(&mut self, index: usize, depth: usize) -> Result<(), YamlError> {
        let is_map = match self.nodes[index].content {
            Content::List(_) => false,
            Content::Map(_) => true,
            Content::Scalar(_) | Content::Alias(_) => return Ok(()),
        };
        let mut children = Vec::new();
        loop {
            let event = self.next()?;
            match self.node(event, depth)? {
                Some(child) => children.push(child),
                None => break,
            }
        }
        self.nodes[index].content = if is_map {
            let pairs = children.chunks_exact(2).map(|pair| (pair[0], pair[1]));
            Content::Map(pairs.collect())
        } else {
            Content::List(children)
        };
        Ok(())
    }
}

fn begins_with_mark(line: &[u8]) -> bool {
    line.starts_with("\u{feff}".as_bytes())
}

fn described(error: &Error) -> YamlError {
    /// go-yaml takes a colon before a bracket or a comma for a part of the scalar.
    const ONLY_HERE: &str = "found unexpected ':'";
    let problem = match error.problem() {
        ONLY_HERE => UNSUPPORTED,
        problem => problem,
    };
    let line = error.problem_mark().map_or(0, |mark| mark.line + 1);
    YamlError { problem, line }
}
