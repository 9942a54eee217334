use std::io::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, table};
use crate::clock;
use crate::cloud::actor::Actor;
use crate::cloud::admission::Policy;
use crate::cloud::config::CloudConfig;
use crate::cloud::state::{CloudState, random};
use crate::cloud::store::StoreError;
use crate::command_line::say;
use crate::failure::{Failure, Result};
use crate::secret::Secret;
use crate::wire::{JoinToken, Name};

#[derive(Debug, Subcommand)]
pub(super) enum SiteCommand {
    /// Add a site, and print the token with which its box joins
    Add(Add),
    /// Print a new join token, for a box that replaces the one that is there
    Token {
        /// The site's name
        name: Name,
        #[command(flatten)]
        lifetime: TokenLifetime,
    },
    /// Show what a site's box has found on its network: other DHCP servers, addresses in use without a lease
    Events {
        /// The site's name
        name: Name,
        /// How many, the newest first
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        most: u32,
        /// How to answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// List sites
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
    /// The cluster that the site's nodes join
    #[arg(long, value_name = "NAME")]
    cluster: Name,
    /// Who lets new nodes in: a person each time, or nobody has to be asked
    #[arg(long, value_enum, default_value_t)]
    admission: Policy,
    #[command(flatten)]
    lifetime: TokenLifetime,
}

#[derive(Debug, Args)]
pub(super) struct TokenLifetime {
    /// How long the join token works, such as 24h or 30m
    #[arg(long = "token-lifetime", value_name = "DURATION", default_value = "24h", value_parser = humantime_serde::re::humantime::parse_duration)]
    duration: Duration,
}

impl SiteCommand {
    pub(super) fn run(self, config: &CloudConfig, state: &CloudState) -> Result<()> {
        match self {
            Self::Add(add) => add.run(config, state),
            Self::Token { name, lifetime } => token(config, state, &name, lifetime.duration),
            Self::Events { name, most, output } => events(state, &name, most, output),
            Self::List { output } => list(state, output),
        }
    }
}

impl Add {
    fn run(self, config: &CloudConfig, state: &CloudState) -> Result<()> {
        let token = new_token(config, state, self.lifetime.duration)?;
        let now = clock::now();
        let (name, cluster, admission, made) = (self.name.clone(), self.cluster.clone(), self.admission, token.clone());
        let added = state.store.transaction(move |tx| {
            let Some(cluster) = tx.cluster_named(&cluster)? else { return Ok(false) };
            let site = tx.add_site(&name, cluster.id, admission, now)?;
            tx.add_join_token(site, &made.secret, made.expires_at)?;
            tx.audit(now, &Actor::Operator, "site.add", name.as_str(), admission.as_str());
            Ok::<_, StoreError>(true)
        })?;
        if !added {
            return Err(Failure::new(format!("there is no cluster `{}`", self.cluster))
                .hint("`fairlead-cloud cluster list` shows them, `fairlead-cloud cluster add` makes one"));
        }
        show(&token, &format!("added site {}; its box joins with this token, once", self.name))
    }
}

fn token(config: &CloudConfig, state: &CloudState, name: &Name, lifetime: Duration) -> Result<()> {
    let token = new_token(config, state, lifetime)?;
    let now = clock::now();
    let (wanted, made) = (name.clone(), token.clone());
    let found = state.store.transaction(move |tx| {
        let Some(site) = tx.site_named(&wanted)? else { return Ok(false) };
        tx.add_join_token(site.id, &made.secret, made.expires_at)?;
        tx.audit(now, &Actor::Operator, "site.token", wanted.as_str(), &format!("join token until {}", made.expires_at));
        Ok::<_, StoreError>(true)
    })?;
    if !found {
        return Err(Failure::new(format!("there is no site `{name}`")).hint("`fairlead-cloud site list` shows them"));
    }
    show(&token, &format!("a box that joins with this token becomes the box of site {name}; the one before is shut out"))
}

fn new_token(config: &CloudConfig, state: &CloudState, lifetime: Duration) -> Result<JoinToken> {
    Ok(JoinToken {
        url: config.site_plane.url.as_str().to_owned(),
        secret: Secret::new(random::<24>()?.to_vec()),
        root: state.authority.root_fingerprint(),
        expires_at: clock::now().after(lifetime),
    })
}

/// The token alone goes to standard output, so that it can be put into a file or variable.
fn show(token: &JoinToken, what: &str) -> Result<()> {
    let note = format!("{what}, until {}:\n  fairlead-edge join --token-file FILE", token.expires_at);
    // Standard error may be closed; the token is what matters.
    drop(writeln!(std::io::stderr(), "{note}"));
    say(&token.expose())
}

fn events(state: &CloudState, name: &Name, most: u32, output: Output) -> Result<()> {
    let wanted = name.clone();
    let found = state.store.read(move |tx| {
        let Some(site) = tx.site_named(&wanted)? else { return Ok(None) };
        tx.site_events(site.id, most).map(Some)
    })?;
    let Some(events) = found else {
        return Err(Failure::new(format!("there is no site `{name}`")).hint("`fairlead-cloud site list` shows them"));
    };
    match output {
        Output::Json => {
            let values: Vec<_> = events
                .iter()
                .map(|event| {
                    json!({
                        "at": event.at.to_string(), "kind": event.kind, "alarm": event.alarm, "summary": event.summary, "detail": event.detail,
                    })
                })
                .collect();
            table::write_json(&values)
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = events
                .iter()
                .map(|event| {
                    let mac = event.detail.get("mac").and_then(|mac| mac.as_str()).unwrap_or("-");
                    let alarm = if event.alarm { "ALARM" } else { "" };
                    vec![event.at.to_string(), alarm.to_owned(), mac.to_owned(), event.summary.clone()]
                })
                .collect();
            table::write(&["AT", "", "MAC", "WHAT"], &rows)
        }
    }
}

fn list(state: &CloudState, output: Output) -> Result<()> {
    let (sites, clusters) = state.store.read(|tx| Ok::<_, StoreError>((tx.sites()?, tx.clusters()?)))?;
    let cluster = |id: i64| clusters.iter().find(|cluster| cluster.id == id).map(|cluster| cluster.name.to_string()).unwrap_or_default();
    match output {
        Output::Json => {
            let values: Vec<_> = sites
                .iter()
                .map(|site| {
                    json!({
                        "id": site.id, "name": site.name, "cluster": cluster(site.cluster), "admission": site.policy,
                        "joined_at": site.joined_at.map(|at| at.to_string()),
                    })
                })
                .collect();
            table::write_json(&values)
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = sites
                .iter()
                .map(|site| {
                    let joined = site.joined_at.map_or_else(|| "not yet".to_owned(), |at| at.to_string());
                    vec![site.name.to_string(), cluster(site.cluster), site.policy.as_str().to_owned(), joined]
                })
                .collect();
            table::write(&["NAME", "CLUSTER", "ADMISSION", "JOINED"], &rows)
        }
    }
}
