//! `fairlead-edge status`.

use clap::Args;

use crate::clock;
use crate::command_line::say;
use crate::edge::config::EdgeConfig;
use crate::edge::control::{Answer, Client, Request, Status, SubnetStatus};
use crate::failure::{Failure, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fairlead-edge status\n  fairlead-edge status --json | jq '.subnets[0].active'")]
pub(super) struct StatusArguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &StatusArguments, config: &EdgeConfig) -> Result<()> {
    let Some(mut client) = Client::connect(&config.state_dir)? else {
        return Err(Failure::new(format!("no fairlead-edge runs with the state folder `{}`", config.state_dir.display()))
            .hint("start it (`systemctl start fairlead-edge`), or name its configuration with `--config`"));
    };
    let status = match client.ask(&Request::Status)? {
        Answer::Status(status) => status,
        other => return Err(other.unexpected()),
    };
    if arguments.json {
        let text = serde_json::to_string(&status).map_err(|error| Failure::new("cannot write the status as JSON").cause(&error))?;
        return say(&text);
    }
    say(in_words(&status).trim_end())
}

fn in_words(status: &Status) -> String {
    let seconds = clock::now().since(status.started_at).as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let mut text =
        format!("fairlead-edge {} runs since {} ({days} days {hours} hours {minutes} minutes)\n", status.version, status.started_at);
    for subnet in &status.subnets {
        let SubnetStatus { network, dynamic, active, expired, released, declined, offered, in_use } = subnet;
        text += &format!(
            "subnet {network}: {active} leases of {dynamic} addresses in pools; {offered} on offer, {expired} expired, {released} released, \
             {declined} declined, {in_use} used by strangers\n"
        );
    }
    for (reason, count) in &status.drops {
        text += &format!("not answered: {count} times, {reason}\n");
    }
    text
}
