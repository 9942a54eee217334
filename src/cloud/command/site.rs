use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, table};
use crate::clock;
use crate::cloud::actor::Actor;
use crate::cloud::admission::{Hours, Limits, Policy};
use crate::cloud::config::CloudConfig;
use crate::cloud::inventory::read_list;
use crate::cloud::state::{CloudState, random};
use crate::cloud::store::{Site, StoreError, Tx};
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
        /// Let a site in again that was revoked
        #[arg(long)]
        reinstate: bool,
    },
    /// Say how a site lets new nodes in: who decides, how many a day, at which hours
    Admission(Admission),
    /// Put machines on the list of those that the policy `allow` lets in
    Allow(Allow),
    /// Show that list
    Allowed {
        /// The site's name
        name: Name,
        /// How to answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Cut a site off at once: its certificates, tickets, join tokens, and what its nodes were handed
    Revoke {
        /// The site's name
        name: Name,
        /// Why, for those who ask later
        #[arg(long, value_name = "TEXT", default_value = "revoked by the operator")]
        reason: String,
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
    /// Who lets new nodes in: a person each time, a list of machines, or nobody has to be asked
    #[arg(long, value_enum, default_value_t)]
    admission: Policy,
    #[command(flatten)]
    lifetime: TokenLifetime,
}

#[derive(Debug, Args)]
pub(super) struct Admission {
    /// The site's name
    name: Name,
    /// Who lets new nodes in: a person each time, a list of machines, or nobody has to be asked
    #[arg(long, value_enum)]
    policy: Policy,
    /// By itself the policy lets in at most this many within 24 hours
    #[arg(long, value_name = "NUMBER")]
    per_day: Option<u32>,
    /// By itself the policy lets nodes in only at these hours, in UTC
    #[arg(long, value_name = "HH:MM-HH:MM")]
    hours: Option<Hours>,
}

#[derive(Debug, Args)]
pub(super) struct Allow {
    /// The site's name
    name: Name,
    /// CSV with a heading, or JSON: uuid, serial, mac, hostname; what is given must be as given
    file: PathBuf,
    /// Take those off the list that are not in the file
    #[arg(long)]
    replace: bool,
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
            Self::Token { name, lifetime, reinstate } => token(config, state, &name, lifetime.duration, reinstate),
            Self::Admission(admission) => admission.run(state),
            Self::Allow(allow) => allow.run(state),
            Self::Allowed { name, output } => allowed(state, &name, output),
            Self::Revoke { name, reason } => revoke(state, &name, reason),
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

impl Admission {
    fn run(self, state: &CloudState) -> Result<()> {
        let Self { name, policy, per_day, hours } = self;
        let limits = Limits { per_day, hours };
        let number = per_day.map(|per_day| format!(", at most {per_day} within 24 hours")).unwrap_or_default();
        let during = hours.map(|hours| format!(", during {hours} UTC")).unwrap_or_default();
        let detail = format!("{}{number}{during}", policy.as_str());
        let said = format!("site {name} lets new nodes in by the policy {detail}");
        on_site(state, &name, move |tx, site| {
            tx.set_admission(site.id, policy, limits)?;
            tx.audit(clock::now(), &Actor::Operator, "site.admission", site.name.as_str(), &detail);
            Ok(())
        })?;
        say(&said)
    }
}

impl Allow {
    fn run(self, state: &CloudState) -> Result<()> {
        let Self { name, file, replace } = self;
        let cannot = || Failure::new(format!("cannot read the list `{}`", file.display()));
        let text = std::fs::read_to_string(&file).map_err(|error| cannot().cause(&error))?;
        let machines = read_list(&text).map_err(|error| {
            cannot()
                .cause(&error)
                .hint("write CSV whose first line names some of uuid, serial, mac and hostname, or a JSON array of objects")
        })?;
        let count = machines.len();
        let added = on_site(state, &name, move |tx, site| {
            let now = clock::now();
            let gone = if replace { tx.allow_nobody(site.id)? } else { 0 };
            let added = tx.allow(site.id, &machines, now)?;
            tx.audit(now, &Actor::Operator, "site.allow", site.name.as_str(), &format!("{added} put on the list, {gone} taken off before"));
            Ok((added, site.policy))
        })?;
        say(&format!("{count} machines are on the list of site {name}, {} of them new", added.0))?;
        if added.1 == Policy::Allow {
            Ok(())
        } else {
            say(&format!("the list counts under: fairlead-cloud site admission {name} --policy allow"))
        }
    }
}

fn allowed(state: &CloudState, name: &Name, output: Output) -> Result<()> {
    let machines = on_site(state, name, |tx, site| tx.allowed(site.id))?;
    match output {
        Output::Json => {
            let values: Vec<_> = machines
                .iter()
                .map(|machine| json!({"uuid": machine.uuid, "serial": machine.serial, "mac": machine.mac, "hostname": machine.hostname}))
                .collect();
            table::write_json(&values)
        }
        Output::Table => {
            let text = |value: Option<String>| value.unwrap_or_else(|| "any".to_owned());
            let rows: Vec<Vec<String>> = machines
                .iter()
                .map(|machine| {
                    let hostname = machine.hostname.as_ref().map(ToString::to_string).unwrap_or_default();
                    let (uuid, mac) = (machine.uuid.map(|uuid| uuid.to_string()), machine.mac.map(|mac| mac.to_string()));
                    vec![text(uuid), text(machine.serial.clone()), text(mac), hostname]
                })
                .collect();
            table::write(&["UUID", "SERIAL", "MAC", "HOSTNAME"], &rows)
        }
    }
}

fn revoke(state: &CloudState, name: &Name, reason: String) -> Result<()> {
    on_site(state, name, move |tx, site| {
        let now = clock::now();
        tx.revoke_site(site.id, now)?;
        tx.audit(now, &Actor::Operator, "site.revoke", site.name.as_str(), &reason);
        Ok(())
    })?;
    say(&format!("site {name} is cut off: its box is refused, its nodes get nothing"))?;
    say(&format!("to let it in again with a new box: fairlead-cloud site token {name} --reinstate"))
}

/// Does something to the site of that name.
fn on_site<T: Send + 'static>(
    state: &CloudState,
    name: &Name,
    work: impl Fn(&Tx<'_>, &Site) -> std::result::Result<T, StoreError> + Send + 'static,
) -> Result<T> {
    let name = name.clone();
    Ok(state.store.transaction(move |tx| {
        let site = tx.site_named(&name)?.ok_or_else(|| StoreError::NotThere { kind: "site", name: name.to_string() })?;
        work(tx, &site)
    })?)
}

fn token(config: &CloudConfig, state: &CloudState, name: &Name, lifetime: Duration, reinstate: bool) -> Result<()> {
    let token = new_token(config, state, lifetime)?;
    let now = clock::now();
    let (wanted, made) = (name.clone(), token.clone());
    let found = state.store.transaction(move |tx| {
        let Some(site) = tx.site_named(&wanted)? else { return Ok(None) };
        if site.revoked_at.is_some() && !reinstate {
            return Ok(Some(false));
        }
        if site.revoked_at.is_some() {
            tx.reinstate_site(site.id)?;
            tx.audit(now, &Actor::Operator, "site.reinstate", wanted.as_str(), "");
        }
        tx.add_join_token(site.id, &made.secret, made.expires_at)?;
        tx.audit(now, &Actor::Operator, "site.token", wanted.as_str(), &format!("join token until {}", made.expires_at));
        Ok::<_, StoreError>(Some(true))
    })?;
    if found == Some(false) {
        return Err(Failure::new(format!("site `{name}` was cut off")).hint("to let it in again, say `--reinstate`"));
    }
    if found.is_none() {
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
                        "per_day": site.limits.per_day, "hours": site.limits.hours.map(|hours| hours.to_string()),
                        "revoked_at": site.revoked_at.map(|at| at.to_string()), "joined_at": site.joined_at.map(|at| at.to_string()),
                    })
                })
                .collect();
            table::write_json(&values)
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = sites
                .iter()
                .map(|site| {
                    let joined = match (site.revoked_at, site.joined_at) {
                        (Some(at), _) => format!("revoked {at}"),
                        (None, Some(at)) => at.to_string(),
                        (None, None) => "not yet".to_owned(),
                    };
                    vec![site.name.to_string(), cluster(site.cluster), site.policy.as_str().to_owned(), joined]
                })
                .collect();
            table::write(&["NAME", "CLUSTER", "ADMISSION", "JOINED"], &rows)
        }
    }
}
