use super::resolve::{Resolved, resolve};
use super::{Layout, Mapping, Node, Place, Scalar, Sequence, Style, Value};

/// What was written, and which place in the sources each line is from.
#[derive(Debug)]
pub struct Written {
    /// The text. It may hold secrets.
    pub text: zeroize::Zeroizing<String>,
    /// One for each line; of the default place are lines that separate documents.
    pub lines: Vec<Place>,
}

/// Writes documents, with `---` between them.
#[must_use]
pub fn write(documents: &[Node]) -> Written {
    let mut writer = Writer {
        text: String::with_capacity(4096),
        lines: Vec::with_capacity(256),
        line: String::with_capacity(128),
        place: Place::default(),
    };
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            writer.line.push_str("---");
            writer.end_line();
        }
        writer.document(document);
    }
    Written { text: zeroize::Zeroizing::new(writer.text), lines: writer.lines }
}

struct Writer {
    text: String,
    lines: Vec<Place>,
    /// The line that is being written, without its end.
    line: String,
    /// Where the last thing on the line is from.
    place: Place,
}

impl Writer {
    fn end_line(&mut self) {
        self.text.push_str(&self.line);
        self.text.push('\n');
        self.line.clear();
        self.lines.push(std::mem::take(&mut self.place));
    }

    fn indent(&mut self, columns: usize) {
        for _ in 0..columns {
            self.line.push(' ');
        }
    }

    fn document(&mut self, node: &Node) {
        match &node.value {
            Value::Mapping(mapping) if in_block(node) => self.entries(mapping, 0, true),
            Value::Sequence(sequence) if in_block(node) => self.items(sequence, 0, true),
            _ => {
                self.inline(node, 0);
                self.end_line();
            }
        }
    }

    /// Entries of a mapping, each on a line of its own; `started` when the first line has its indentation already.
    fn entries(&mut self, mapping: &Mapping, indentation: usize, started: bool) {
        for (index, entry) in mapping.entries.iter().enumerate() {
            if index > 0 || !started {
                self.indent(indentation);
            }
            self.place = entry.key.place;
            self.key(&entry.key);
            self.line.push(':');
            self.value(&entry.value, indentation);
        }
    }

    fn key(&mut self, key: &Node) {
        self.tag(key);
        if let Some(scalar) = key.as_scalar() {
            match scalar.style() {
                // A key is written on one line.
                Style::Literal | Style::Folded => self.line.push_str(&double_quoted(scalar.value())),
                _ if scalar.written().contains('\n') => self.line.push_str(&double_quoted(scalar.value())),
                _ => self.line.push_str(scalar.written()),
            }
        }
    }

    /// What stands behind `key:`.
    fn value(&mut self, node: &Node, indentation: usize) {
        match &node.value {
            Value::Mapping(mapping) if in_block(node) => {
                self.tag_behind(node);
                self.end_line();
                self.entries(mapping, indentation.saturating_add(STEP), false);
            }
            Value::Sequence(sequence) if in_block(node) => {
                self.tag_behind(node);
                self.end_line();
                self.items(sequence, indentation.saturating_add(STEP), false);
            }
            Value::Scalar(scalar) if scalar.style() == Style::Plain && scalar.value().is_empty() && node.tag.is_none() => self.end_line(),
            _ => {
                self.line.push(' ');
                self.place = node.place;
                self.inline(node, indentation.saturating_add(STEP));
                self.end_line();
            }
        }
    }

    fn items(&mut self, sequence: &Sequence, indentation: usize, started: bool) {
        for (index, item) in sequence.items.iter().enumerate() {
            if index > 0 || !started {
                self.indent(indentation);
            }
            self.place = item.place;
            self.line.push('-');
            match &item.value {
                Value::Mapping(mapping) if in_block(item) && item.tag.is_none() => {
                    self.line.push(' ');
                    self.entries(mapping, indentation.saturating_add(2), true);
                }
                Value::Sequence(inner) if in_block(item) && item.tag.is_none() => {
                    self.line.push(' ');
                    self.items(inner, indentation.saturating_add(2), true);
                }
                _ => self.value(item, indentation),
            }
        }
    }

    fn tag(&mut self, node: &Node) {
        if let Some(tag) = &node.tag {
            self.line.push_str(tag.as_str());
            self.line.push(' ');
        }
    }

    fn tag_behind(&mut self, node: &Node) {
        if let Some(tag) = &node.tag {
            self.line.push(' ');
            self.line.push_str(tag.as_str());
        }
    }

    /// A scalar, or a collection in brackets. Lines after the first are indented.
    fn inline(&mut self, node: &Node, indentation: usize) {
        self.tag(node);
        match &node.value {
            Value::Scalar(scalar) => self.scalar(scalar, indentation),
            Value::Sequence(sequence) => {
                self.line.push('[');
                for (index, item) in sequence.items.iter().enumerate() {
                    self.comma(index);
                    self.inline(item, indentation);
                    if empty_plain(item) {
                        self.line.push_str("null");
                    }
                }
                self.line.push(']');
            }
            Value::Mapping(mapping) => {
                self.line.push('{');
                for (index, entry) in mapping.entries.iter().enumerate() {
                    self.comma(index);
                    self.key(&entry.key);
                    self.line.push_str(": ");
                    self.inline(&entry.value, indentation);
                    if empty_plain(&entry.value) {
                        self.line.push_str("null");
                    }
                }
                self.line.push('}');
            }
        }
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.line.push_str(", ");
        }
    }

    fn scalar(&mut self, scalar: &Scalar, indentation: usize) {
        match scalar.style() {
            Style::Literal => self.literal(scalar.value(), indentation),
            Style::Folded => match &scalar.written {
                Some(lines) => self.block('>', lines.as_str(), scalar.value(), indentation),
                None => self.literal(scalar.value(), indentation),
            },
            Style::Plain | Style::Single | Style::Double => self.lines_of(scalar.written(), indentation),
        }
    }

    /// A scalar over several lines. YAML takes blanks at their starts away, so they are put at the new indentation.
    fn lines_of(&mut self, written: &str, indentation: usize) {
        for (index, line) in written.split('\n').enumerate() {
            if index > 0 {
                let place = self.place;
                self.end_line();
                self.place = Place { line: place.line.saturating_add(1), ..place };
                let content = line.trim_start_matches([' ', '\t']).trim_end_matches('\r');
                if !content.is_empty() {
                    self.indent(indentation.max(1));
                    self.line.push_str(content);
                }
            } else {
                self.line.push_str(line.trim_end_matches('\r'));
            }
        }
    }

    fn literal(&mut self, value: &str, indentation: usize) {
        if value.trim_matches('\n').is_empty() || !literal_can_hold(value) {
            self.line.push_str(&double_quoted(value));
            return;
        }
        self.block('|', value.trim_end_matches('\n'), value, indentation);
    }

    /// A block scalar: its header, then its lines. How it ends is taken from the value.
    fn block(&mut self, header: char, lines: &str, value: &str, indentation: usize) {
        self.line.push(header);
        // Blanks at the start of the first line, or an empty first line, would be taken for indentation.
        if lines.starts_with([' ', '\n', '\t']) {
            self.line.push_str(INDICATOR);
        }
        let ends = value.len().saturating_sub(value.trim_end_matches('\n').len());
        match ends {
            0 => self.line.push('-'),
            1 => {}
            _ => self.line.push('+'),
        }
        let indentation = indentation.max(STEP);
        let mut place = self.place;
        let more = ends.saturating_sub(1);
        for line in lines.split('\n').chain(std::iter::repeat_n("", more)) {
            self.end_line();
            place.line = place.line.saturating_add(1);
            self.place = place;
            if !line.is_empty() {
                self.indent(indentation);
                self.line.push_str(line);
            }
        }
    }
}

/// As Talos' own encoder has it. A block's indentation indicator counts from its parent, so it is the same number.
const STEP: usize = 4;
const INDICATOR: &str = "4";

/// Whether nothing would stand between brackets. A tag is something, and with it `null` would be a text.
fn empty_plain(node: &Node) -> bool {
    node.tag.is_none() && node.as_scalar().is_some_and(|scalar| scalar.style() == Style::Plain && scalar.value().is_empty())
}

/// Whether it is written over lines of its own: it is not empty, and was read so or holds what brackets can't.
fn in_block(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(_) => false,
        Value::Mapping(mapping) => !mapping.entries.is_empty() && (mapping.layout == Layout::Block || !fits_brackets(node)),
        Value::Sequence(sequence) => !sequence.items.is_empty() && (sequence.layout == Layout::Block || !fits_brackets(node)),
    }
}

fn fits_brackets(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => match scalar.style() {
            Style::Literal | Style::Folded => false,
            Style::Plain => !scalar.written().contains(['\n', ',', '[', ']', '{', '}']),
            Style::Single | Style::Double => !scalar.written().contains('\n'),
        },
        Value::Mapping(mapping) => {
            mapping.layout == Layout::Flow && mapping.entries.iter().all(|entry| fits_brackets(&entry.key) && fits_brackets(&entry.value))
                || mapping.entries.is_empty()
        }
        Value::Sequence(sequence) => {
            sequence.layout == Layout::Flow && sequence.items.iter().all(fits_brackets) || sequence.items.is_empty()
        }
    }
}

fn literal_can_hold(text: &str) -> bool {
    text.chars().all(|character| {
        character == '\n'
            || character == '\t'
            || (!character.is_control() && !matches!(character, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
    })
}

/// The style for a string that comes from the program and not from a source.
pub(super) fn style_for(text: &str) -> Style {
    if text.contains('\n') && !text.trim_matches('\n').is_empty() && literal_can_hold(text) {
        return Style::Literal;
    }
    let plain_characters = |character: char| character.is_ascii_alphanumeric() || "-_./:+@=,%$~".contains(character);
    let plain = text.starts_with(|first: char| first.is_ascii_alphanumeric() || matches!(first, '/' | '.' | '_'))
        && text.chars().all(plain_characters)
        && !text.ends_with(':')
        && !matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off")
        && resolve(&Scalar { value: text.into(), written: None, style: Style::Plain }, None) == Resolved::String;
    if plain { Style::Plain } else { Style::Double }
}

pub(super) fn double_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            character if character.is_control() || matches!(character, '\u{85}' | '\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(character)));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
