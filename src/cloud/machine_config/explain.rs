//! Which layer gave each line.

use super::render::{Rendered, hide_secrets};
use super::yaml::{Place, write};

/// One line of a config, and where it is from.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Such as `site berlin, site.yaml:7`; empty for a line between documents.
    pub from: String,
    /// The line. Secrets are hidden by the names of their fields.
    pub text: String,
}

/// Every line of a config with the layer that gave it.
#[must_use]
pub fn explain(rendered: &Rendered) -> Vec<Line> {
    let mut documents = rendered.documents.clone();
    documents.iter_mut().for_each(hide_secrets);
    let written = write(&documents);
    let from = |place: &Place| match rendered.sources.get(usize::from(place.source)) {
        Some(_) if *place == Place::default() => String::new(),
        Some(source) => source.place(place.line),
        None => String::new(),
    };
    written.lines.iter().zip(written.text.lines()).map(|(place, text)| Line { from: from(place), text: text.to_owned() }).collect()
}
