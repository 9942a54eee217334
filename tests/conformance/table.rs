//! The table of results in docs/conformance.md: written by a run, and held against the next one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fairlead::failure::{Failure, Result};
use fairlead_lab::files::{read, write};

use crate::cases::Case;
use crate::server::Product;

/// How a case ended for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It does what the case says.
    Pass,
    /// It does something else.
    Fail,
    /// It does not have what the case is about.
    NotApplicable,
}

impl Mark {
    const fn text(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "**fail**",
            Self::NotApplicable => "–",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Pass, Self::Fail, Self::NotApplicable].into_iter().find(|mark| mark.text() == text)
    }
}

/// Results by case and server.
pub(crate) type Results = BTreeMap<(&'static str, Product), Mark>;

const INTRODUCTION: &str = "\
# Conformance

What a DHCP server must do, by the sections of the standards, and what three servers do: one battery of real packets over a cable between two
network namespaces (`tests/conformance`), run against `fairlead-edge` and, set up for the same site, against Debian's Kea and dnsmasq. A case
that the others fail is worth a second look: they have more users than we.

This page is written by `cargo test --test conformance -- write-table`. Every run holds it against what it sees: for our column strictly, for the
others where their version is the one that is named here. A dash means that the server does not have what the case is about.
";

/// The document that says what it says now.
#[derive(Debug)]
pub(crate) struct Document {
    text: String,
    versions: BTreeMap<Product, String>,
    marks: BTreeMap<(String, Product), Mark>,
}

impl Document {
    /// The page, as text.
    pub(crate) fn render(cases: &[Case], results: &Results, versions: &BTreeMap<Product, String>) -> String {
        let mut text = INTRODUCTION.to_owned();
        let named = |product: Product| match product {
            Product::Edge => product.name().to_owned(),
            _ => format!("{} {}", product.name(), versions.get(&product).map_or("", String::as_str)),
        };
        text.push_str(&format!("\n| case | {} |\n|---|---|---|---|\n", Product::ALL.map(named).join(" | ")));
        let mark = |case: &Case, product: Product| results.get(&(case.name, product)).copied().unwrap_or(Mark::NotApplicable);
        for case in cases {
            text.push_str(&format!("| `{}` | {} |\n", case.name, Product::ALL.map(|product| mark(case, product).text()).join(" | ")));
        }
        let passed = |product: Product| {
            let of_product = || cases.iter().map(|case| mark(case, product)).filter(|mark| *mark != Mark::NotApplicable);
            format!("{} of {}", of_product().filter(|mark| *mark == Mark::Pass).count(), of_product().count())
        };
        text.push_str(&format!("| passed | {} |\n", Product::ALL.map(passed).join(" | ")));
        text
    }

    /// Reads the page of this tree.
    pub(crate) fn load() -> Result<Self> {
        let text = String::from_utf8_lossy(&read(&place())?).into_owned();
        let (mut versions, mut marks) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [case, columns @ ..] = cells.as_slice() else { continue };
            for (product, cell) in Product::ALL.into_iter().zip(columns) {
                if *case == "case" {
                    versions.insert(product, cell.trim_start_matches(product.name()).trim().to_owned());
                } else if let Some(mark) = Mark::parse(cell) {
                    marks.insert((case.trim_matches('`').to_owned(), product), mark);
                }
            }
        }
        Ok(Self { text, versions, marks })
    }

    /// Whether the page says just that.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    /// What the page says of a case, when it speaks of that version; ours is always the one that is meant.
    pub(crate) fn expected(&self, case: &str, product: Product, version: &str) -> Option<Mark> {
        let is_meant = product == Product::Edge || self.versions.get(&product).is_some_and(|named| named == version);
        is_meant.then(|| self.marks.get(&(case.to_owned(), product)).copied()).flatten()
    }

    /// Replaces the page.
    pub(crate) fn store(text: &str) -> Result<()> {
        write(&place(), text)
    }

    /// What to say when a full run saw something else than the page says.
    pub(crate) fn is_out_of_date() -> Failure {
        Failure::new("docs/conformance.md does not say what this run saw")
            .hint("if what changed is meant, write it anew: `cargo test --test conformance -- write-table`")
    }
}

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md")
}
