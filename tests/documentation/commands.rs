//! Every command that a document names is one that the program takes.

use clap::{CommandFactory as _, Parser as _};
use fairlead::cloud::command::CloudArguments;
use fairlead::edge::command::EdgeArguments;

use super::{code, read};

fn check(line: &str) {
    let words: Vec<&str> = line.split(" > ").next().unwrap_or_default().split_whitespace().collect();
    let outcome = match words.first() {
        Some(&"fairlead-cloud") => CloudArguments::try_parse_from(&words).map(drop),
        Some(&"fairlead-edge") => EdgeArguments::try_parse_from(&words).map(drop),
        _ => return,
    };
    if let Err(error) = outcome {
        panic!("`{line}`: {error}");
    }
}

#[test]
fn every_command_in_the_readme_is_taken() {
    let readme = read("README.md");
    let lines = code(&readme, "sh");
    assert!(lines.iter().any(|line| line.starts_with("fairlead-cloud")) && lines.iter().any(|line| line.starts_with("fairlead-edge")));
    for line in lines {
        check(&line);
    }
    // In the tables, with NODE for a node.
    for cell in readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')) {
        check(cell.0);
    }
}

#[test]
fn every_command_of_the_cloud_is_in_the_readme_or_in_its_help() {
    let readme = read("README.md");
    let command = CloudArguments::command();
    let named = command.get_subcommands().filter(|command| !matches!(command.get_name(), "completions" | "man" | "check" | "help"));
    for name in named.map(clap::Command::get_name) {
        assert!(readme.contains(&format!("fairlead-cloud {name}")), "the README does not speak of `fairlead-cloud {name}`");
    }
}
