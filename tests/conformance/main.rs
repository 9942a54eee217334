//! One battery of real packets for three DHCP servers.
//!
//! `cargo test --test conformance` runs it; words behind `--` pick cases by name, `--test-threads` limits how many servers run at once.
//! `cargo test --test conformance -- write-table` writes docs/conformance.md anew.
//!
//! A case that fails for our server fails the test. For Kea and dnsmasq a case fails the test only when docs/conformance.md says
//! something else about the very version that is installed. `manners` are trials beside the battery: how our server behaves on a network
//! that is not its own alone.

#![expect(clippy::print_stdout, reason = "the table is for whoever runs the battery")]

mod cases;
mod manners;
mod message;
mod server;
mod site;
mod table;
mod wire;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairlead::command_line::finish;
use fairlead::failure::{Failure, Result};
use fairlead_lab::{interrupt, joined_box, namespace};
use libtest_mimic::{Arguments, Failed, Trial};

use cases::Case;
use server::Product;
use site::{Profile, Site};
use table::{Document, Mark, Results};

/// Servers that run at once, as a rule: what is waited for is silence, not this machine.
const AT_ONCE: usize = 8;

/// A server that is started when its first case runs.
type Place = Arc<Mutex<Option<std::result::Result<Site, String>>>>;

/// What all cases share.
struct Battery {
    cases: Vec<Case>,
    sites: BTreeMap<(Product, Profile), Place>,
    versions: BTreeMap<Product, String>,
    results: Mutex<Results>,
    /// The page that is held against what is seen, unless it is written anew.
    document: Option<Document>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let writes = words.first().is_some_and(|word| word == "write-table");
    let mut arguments = Arguments::from_iter(std::env::args().filter(|word| word != "write-table"));
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    match Battery::prepare(arguments.list, writes) {
        Ok(battery) => run(&arguments, &Arc::new(battery), writes),
        Err(failure) => finish(Err(failure)),
    }
}

fn run(arguments: &Arguments, battery: &Arc<Battery>, writes: bool) -> ExitCode {
    let trials = battery.pairs().into_iter().map(|(case, product)| {
        let battery = Arc::clone(battery);
        Trial::test(case.name, move || battery.run(&case, product)).with_kind(product.name())
    });
    let manners = manners::TRIALS
        .iter()
        .map(|(name, trial)| Trial::test(*name, move || trial().map_err(|failure| failure.to_string().into())).with_kind("manners"));
    // The longest ones first.
    let conclusion = libtest_mimic::run(arguments, manners.chain(trials).collect());
    battery.take_down(conclusion.num_failed == 0);
    let outcome = battery.conclude(writes);
    if conclusion.num_failed > 0 { ExitCode::FAILURE } else { finish(outcome) }
}

impl Battery {
    fn prepare(only_lists: bool, writes: bool) -> Result<Self> {
        let cases = cases::all();
        let mut versions = BTreeMap::new();
        if !only_lists {
            namespace::require_privileges()?;
            namespace::remove_left_behind(false);
            interrupt::remove_all_when_interrupted()?;
            for product in Product::ALL {
                versions.insert(product, product.version()?);
            }
        }
        let document = if writes { None } else { Some(Document::load()?) };
        let sites =
            cases.iter().flat_map(|case| case.applies_to.iter().map(|product| ((*product, case.profile), Place::default()))).collect();
        Ok(Self { cases, sites, versions, results: Mutex::default(), document })
    }

    /// Cases and servers, one of each server after the other, so that threads seldom wait for the same one.
    fn pairs(&self) -> Vec<(Case, Product)> {
        let mut queues: BTreeMap<(Product, Profile), Vec<Case>> = BTreeMap::new();
        for case in self.cases.iter().rev() {
            for product in case.applies_to {
                queues.entry((*product, case.profile)).or_default().push(*case);
            }
        }
        let mut pairs = Vec::new();
        while !queues.is_empty() {
            queues.retain(|(product, _), queue| {
                pairs.extend(queue.pop().map(|case| (case, *product)));
                !queue.is_empty()
            });
        }
        pairs
    }

    fn run(&self, case: &Case, product: Product) -> std::result::Result<(), Failed> {
        let outcome = self.at_site(case, product);
        let mark = if outcome.is_ok() { Mark::Pass } else { Mark::Fail };
        lock(&self.results).insert((case.name, product), mark);
        if product == Product::Edge {
            return outcome.map_err(Failed::from);
        }
        let version = self.versions.get(&product).map_or("", String::as_str);
        let Some(document) = &self.document else {
            // Whoever writes the table wants to know why.
            if let Err(why) = outcome {
                println!("{}: {}: {why}", product.name(), case.name);
            }
            return Ok(());
        };
        match (document.expected(case.name, product, version), outcome) {
            (Some(expected), outcome) if expected != mark => {
                let why = outcome.err().unwrap_or_else(|| "it passes".to_owned());
                Err(format!("docs/conformance.md says {expected:?} for {} {version}, and now: {why}", product.name()).into())
            }
            _ => Ok(()),
        }
    }

    fn at_site(&self, case: &Case, product: Product) -> std::result::Result<(), String> {
        let place = self.sites.get(&(product, case.profile)).ok_or("there is no such server")?;
        let mut place = lock(place);
        let site = place.get_or_insert_with(|| Site::build(product, case.profile).map_err(|failure| failure.to_string()));
        let site = site.as_mut().map_err(|failure| failure.clone())?;
        let outcome = (case.run)(site).map_err(|failure| failure.to_string());
        site.is_alive().map_err(|failure| failure.to_string())?;
        outcome
    }

    /// Stops all servers. Their logs stay when something went wrong.
    fn take_down(&self, all_is_well: bool) {
        for place in self.sites.values() {
            let mut place = lock(place);
            if let Some(Ok(site)) = place.as_mut()
                && all_is_well
            {
                site.discard();
            }
            *place = None;
        }
        joined_box::forget_shared();
    }

    /// Prints the table of a full run and holds it against the page, or writes the page.
    fn conclude(&self, writes: bool) -> Result<()> {
        let results = lock(&self.results);
        let expected: usize = self.cases.iter().map(|case| case.applies_to.len()).sum();
        if results.len() < expected {
            return if writes { Err(Failure::new("the table is written by a full run only")) } else { Ok(()) };
        }
        let text = Document::render(&self.cases, &results, &self.versions);
        println!("{}", text.split_once("\n|").map_or("", |(_, table)| table));
        let Some(document) = &self.document else { return Document::store(&text) };
        let is_known = |product: &Product| {
            let version = self.versions.get(product).map_or("", String::as_str);
            self.cases.iter().all(|case| !case.applies_to.contains(product) || document.expected(case.name, *product, version).is_some())
        };
        // With other versions of the peers the page can't be the same; our own column was held against it case by case.
        let same_versions = Product::ALL.iter().all(is_known);
        let ours_is_known = is_known(&Product::Edge);
        if ours_is_known && (!same_versions || document.is(&text)) { Ok(()) } else { Err(Document::is_out_of_date()) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
