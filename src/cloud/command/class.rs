use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, table};
use crate::clock;
use crate::cloud::actor::Actor;
use crate::cloud::state::CloudState;
use crate::cloud::store::{Class, ClassPattern, StoreError};
use crate::command_line::say;
use crate::failure::{Failure, Result};
use crate::wire::Name;

#[derive(Debug, Subcommand)]
pub(super) enum ClassCommand {
    /// Add a class: what its nodes have in common, and their labels
    Add(Add),
    /// Remove a class; its nodes stay
    Remove {
        /// Its name
        name: Name,
    },
    /// List classes
    List {
        /// How to answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Name: lower-case letters, digits and hyphens
    name: Name,
    /// Architecture, as iPXE names it: x86_64, arm64, i386; each text may end with `*` for anything
    #[arg(long, default_value = "")]
    arch: String,
    /// Manufacturer, as SMBIOS has it
    #[arg(long, default_value = "")]
    vendor: String,
    /// Product, as SMBIOS has it
    #[arg(long, default_value = "")]
    product: String,
    /// Serial number
    #[arg(long, default_value = "")]
    serial: String,
    /// Name of the site
    #[arg(long, default_value = "")]
    site: String,
    /// A label; may be given again
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

impl ClassCommand {
    pub(super) fn run(self, state: &CloudState) -> Result<()> {
        match self {
            Self::Add(add) => add.run(state),
            Self::Remove { name } => remove(state, name),
            Self::List { output } => list(state, output),
        }
    }
}

impl Add {
    fn run(self, state: &CloudState) -> Result<()> {
        let Self { name, arch, vendor, product, serial, site, labels } = self;
        let pattern = ClassPattern { arch, vendor, product, serial, site };
        if pattern == ClassPattern::default() {
            return Err(Failure::new(format!("class `{name}` would have every node"))
                .hint("say what its nodes have in common: --arch, --vendor, --product, --serial or --site"));
        }
        let class = Class { name: name.clone(), pattern, labels: labels.into_iter().collect::<BTreeMap<_, _>>() };
        state.store.transaction(move |tx| {
            let now = clock::now();
            tx.add_class(&class, now)?;
            tx.audit(now, &Actor::Operator, "class.add", class.name.as_str(), &format!("{:?} {:?}", class.pattern, class.labels));
            Ok::<_, StoreError>(())
        })?;
        say(&format!("added class {name}; its nodes: fairlead-cloud node list --select class={name}"))
    }
}

fn remove(state: &CloudState, name: Name) -> Result<()> {
    let said = format!("removed class {name}");
    state.store.transaction(move |tx| {
        if !tx.remove_class(&name)? {
            return Err(StoreError::NotThere { kind: "class", name: name.to_string() });
        }
        tx.audit(clock::now(), &Actor::Operator, "class.remove", name.as_str(), "");
        Ok(())
    })?;
    say(&said)
}

fn list(state: &CloudState, output: Output) -> Result<()> {
    let classes = state.store.read(|tx| tx.classes())?;
    match output {
        Output::Json => {
            let values: Vec<_> = classes
                .iter()
                .map(|class| {
                    let ClassPattern { arch, vendor, product, serial, site } = &class.pattern;
                    json!({
                        "name": class.name, "arch": arch, "vendor": vendor, "product": product, "serial": serial, "site": site,
                        "labels": class.labels,
                    })
                })
                .collect();
            table::write_json(&values)
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = classes
                .iter()
                .map(|class| {
                    let ClassPattern { arch, vendor, product, serial, site } = &class.pattern;
                    let labels: Vec<String> = class.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    let texts =
                        [arch, vendor, product, serial, site].map(|text| if text.is_empty() { "*".to_owned() } else { text.clone() });
                    [class.name.to_string()].into_iter().chain(texts).chain([labels.join(",")]).collect()
                })
                .collect();
            table::write(&["NAME", "ARCH", "VENDOR", "PRODUCT", "SERIAL", "SITE", "LABELS"], &rows)
        }
    }
}

fn label(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.' | b'/');
    if name.is_empty() || !name.bytes().all(plain) || !value.bytes().all(plain) {
        return Err("a label has letters, digits, and -_./ in its name and value".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}
