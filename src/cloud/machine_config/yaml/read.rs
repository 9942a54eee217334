use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle, Tag};

use super::{Entry, Layout, Mapping, Node, Place, Scalar, Sequence, Style, Text, Value};

/// How much YAML is taken from a stranger.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Octets of text.
    pub octets: usize,
    /// Nodes, those that aliases repeat counted each time.
    pub nodes: usize,
    /// How deep collections may stand in one another.
    pub depth: usize,
}

impl Default for Budget {
    /// Talos itself takes 4 MiB over its API. The deepest thing that it knows, an OpenAPI schema in a manifest, is text to us.
    fn default() -> Self {
        Self { octets: 4 << 20, nodes: 200_000, depth: 64 }
    }
}

/// What is wrong with a text that should be YAML. It quotes no value, since any may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct YamlError {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: YamlErrorKind,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YamlErrorKind {
    /// Too long.
    #[error("it has more than {0} octets, which are the most that is taken")]
    TooLong(usize),
    /// Too many nodes, mostly by aliases that repeat aliases.
    #[error("with its aliases written out it has more than {0} values")]
    TooManyNodes(usize),
    /// Nested too deep.
    #[error("its values are nested more than {0} deep")]
    TooDeep(usize),
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// A tab where only spaces may be.
    #[error("there is a tab where YAML takes only spaces")]
    Tab,
    /// A key twice in one mapping.
    #[error("the key `{key}` is there twice, first on line {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// The line of the first.
        first: u32,
    },
    /// A key that is no text.
    #[error("a key is empty, a list or a mapping")]
    KeyNotScalar,
    /// `<<` with something that can't be merged.
    #[error("`<<` needs a mapping, or a list of mappings")]
    BadMerge,
    /// An alias inside of what it stands for.
    #[error("an alias stands inside of its own anchor")]
    AliasInItself,
    /// Anything else that is not YAML.
    #[error("it is not valid YAML: {0}")]
    Syntax(String),
}

/// Reads all documents of a text; empty ones are left out. `source` becomes part of every [`Place`].
///
/// # Errors
/// When it is not YAML, a key is there twice, or it is larger than the budget.
pub fn read(bytes: &[u8], source: u16, budget: Budget) -> Result<Vec<Node>, YamlError> {
    let start = Place { source, line: 1, column: 1 };
    if bytes.len() > budget.octets {
        return Err(YamlError { place: start, kind: YamlErrorKind::TooLong(budget.octets) });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        YamlError { place: Place { line: u32::try_from(line).unwrap_or(u32::MAX), ..start }, kind: YamlErrorKind::NotText }
    })?;
    let options = granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        // As libyaml and Go have it.
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: budget.depth,
        block_nesting_limit: budget.depth,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { parser, text, source, budget, nodes: 0, anchors: HashMap::new() };
    let mut documents = Vec::new();
    while let Some((event, _)) = reader.next()? {
        if matches!(event, Event::DocumentStart(..)) {
            reader.anchors.clear();
            let (event, span) = reader.expect()?;
            let document = reader.node(event, span, 0)?;
            if !document.is_null() {
                documents.push(document);
            }
        }
    }
    Ok(documents)
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    source: u16,
    budget: Budget,
    nodes: usize,
    /// What each anchor stands for, and of how many nodes that is.
    anchors: HashMap<usize, (Node, usize)>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, YamlError> {
        self.parser.next_event().transpose().map_err(|error| self.syntax(&error))
    }

    fn expect(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.next()? {
            Some(event) => Ok(event),
            None => Err(YamlError { place: self.place_at(1, 0), kind: YamlErrorKind::Syntax("it ends too early".to_owned()) }),
        }
    }

    fn place_at(&self, line: usize, column: usize) -> Place {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place { source: self.source, line: number(line), column: number(column.saturating_add(1)) }
    }

    /// The parser has a block scalar begin at its first line; here it begins above that, with its header.
    fn place(&self, event: &Event<'_>, span: &Span) -> Place {
        let header = usize::from(matches!(event, Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..)));
        self.place_at(span.start.line().saturating_sub(header), span.start.col())
    }

    /// The parser's own words never quote the text.
    fn syntax(&self, error: &ScanError) -> YamlError {
        let place = self.place_at(error.marker().line(), error.marker().col());
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return YamlError { place, kind: YamlErrorKind::TooDeep(self.budget.depth) };
        }
        let line = self.text.lines().nth(error.marker().line().saturating_sub(1)).unwrap_or_default();
        let indentation_has_tab = line.chars().take_while(|character| character.is_whitespace()).any(|character| character == '\t');
        let words = error.kind().to_string();
        let kind = match indentation_has_tab || words.contains("tab") {
            true => YamlErrorKind::Tab,
            false => YamlErrorKind::Syntax(words),
        };
        YamlError { place, kind }
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.budget.nodes {
            return Err(YamlError { place, kind: YamlErrorKind::TooManyNodes(self.budget.nodes) });
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let place = self.place(&event, &span);
        if depth > self.budget.depth {
            return Err(YamlError { place, kind: YamlErrorKind::TooDeep(self.budget.depth) });
        }
        self.count(1, place)?;
        let before = self.nodes;
        let (value, tag, anchor) = match event {
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return Err(YamlError { place, kind: YamlErrorKind::AliasInItself });
                };
                self.count(size, place)?;
                return Ok(node);
            }
            Event::Scalar(value, style, anchor, tag) => (Value::Scalar(self.scalar(value, style, &span)), tag, anchor),
            Event::SequenceStart(style, anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.expect()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth.saturating_add(1))?),
                    }
                }
                (Value::Sequence(Sequence { items, layout: layout(style) }), tag, anchor)
            }
            Event::MappingStart(style, anchor, tag) => {
                let entries = self.entries(depth.saturating_add(1))?;
                (Value::Mapping(Mapping { entries, layout: layout(style) }), tag, anchor)
            }
            _ => return Err(YamlError { place, kind: YamlErrorKind::Syntax("a value was expected".to_owned()) }),
        };
        let node = Node { value, tag: tag.as_deref().map(written_tag), place };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes.saturating_sub(before)));
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merges = Vec::new();
        let mut seen: HashSet<Text> = HashSet::new();
        loop {
            let (event, span) = self.expect()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, span, depth)?;
            let Some(scalar) = key.as_scalar().filter(|scalar| scalar.style() != Style::Plain || !scalar.value().is_empty()) else {
                return Err(YamlError { place: key.place, kind: YamlErrorKind::KeyNotScalar });
            };
            let is_merge = scalar.style() == Style::Plain && scalar.value() == "<<" && key.tag.is_none();
            let text = scalar.value.clone();
            let (event, span) = self.expect()?;
            let value = self.node(event, span, depth)?;
            if is_merge {
                merges.push(value);
                continue;
            }
            // Most mappings are small, and a set of their keys would cost more than looking.
            let double = match entries.len() {
                0..16 => entries.iter().any(|entry| entry.key_text() == text.as_str()),
                length => {
                    if seen.len() < length {
                        seen.extend(entries.iter().filter_map(|entry| entry.key.as_scalar()).map(|key| key.value.clone()));
                    }
                    !seen.insert(text.clone())
                }
            };
            if double {
                let first = entries.iter().find(|entry| entry.key_text() == text.as_str()).map_or(0, |entry| entry.key.place.line);
                return Err(YamlError { place: key.place, kind: YamlErrorKind::DuplicateKey { key: text.as_str().to_owned(), first } });
            }
            entries.push(Entry { key, value });
        }
        for merge in merges {
            merge_into(&mut entries, &merge)?;
        }
        Ok(entries)
    }

    fn scalar(&self, value: Cow<'a, str>, style: ScalarStyle, span: &Span) -> Scalar {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        let slice = span.slice(self.text).unwrap_or_default();
        let (value, written) = match style {
            // The parser writes a `~` of its own where nothing stands.
            Style::Plain if slice.is_empty() => ("".into(), None),
            Style::Literal => (value, None),
            Style::Folded => {
                let lines = folded_lines(slice, &value, span.start.col());
                (value, lines.map(Text::new))
            }
            _ if slice == value => (value, None),
            _ => (value, Some(Text::from(slice.trim_end_matches(['\n', '\r', ' ', '\t'])))),
        };
        Scalar { value: Text::new(value.into_owned()), written, style }
    }
}

impl std::hash::Hash for Text {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

const fn layout(style: StructureStyle) -> Layout {
    match style {
        StructureStyle::Flow => Layout::Flow,
        _ => Layout::Block,
    }
}

fn written_tag(tag: &Tag) -> Text {
    match tag.core_suffix() {
        Some(suffix) => Text::new(format!("!!{suffix}")),
        None => Text::new(tag.original()),
    }
}

/// The content lines of a folded block without their indentation; the slice begins with the first content, behind its indentation.
/// None where they are not to be had in a way that surely means the same.
fn folded_lines(slice: &str, value: &str, indentation: usize) -> Option<String> {
    if slice.contains(['\r', '\t']) {
        return None;
    }
    let blank = value.len().saturating_sub(value.trim_start_matches('\n').len());
    let mut lines = "\n".repeat(blank);
    for (index, line) in slice.lines().enumerate() {
        match line.get(indentation..) {
            _ if index == 0 => lines.push_str(line),
            Some(content) => lines.push_str(content),
            None if line.trim_start().is_empty() => {}
            None => return None,
        }
        lines.push('\n');
    }
    lines.truncate(lines.trim_end_matches('\n').len());
    Some(lines)
}

/// `<<: *base`: keys of the mapping that are not there yet.
fn merge_into(entries: &mut Vec<Entry>, merge: &Node) -> Result<(), YamlError> {
    let bad = |node: &Node| YamlError { place: node.place, kind: YamlErrorKind::BadMerge };
    match &merge.value {
        Value::Mapping(mapping) => {
            for entry in &mapping.entries {
                if !entries.iter().any(|there| there.key_text() == entry.key_text()) {
                    entries.push(entry.clone());
                }
            }
            Ok(())
        }
        Value::Sequence(sequence) => sequence.items.iter().try_for_each(|item| match &item.value {
            Value::Mapping(_) => merge_into(entries, item),
            _ => Err(bad(item)),
        }),
        Value::Scalar(_) => Err(bad(merge)),
    }
}
