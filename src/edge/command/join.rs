//! `fairlead-edge join`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use crate::command_line::say;
use crate::edge::config::EdgeConfig;
use crate::edge::state::StateDir;
use crate::edge::uplink;
use crate::failure::{Failure, Result};
use crate::wire::JoinToken;

/// The environment variable that holds the token when no argument does.
const TOKEN_VARIABLE: &str = "FAIRLEAD_JOIN_TOKEN";

#[derive(Debug, Args)]
pub(super) struct JoinArguments {
    /// The join token; other users of this machine can see it in the list of processes, so prefer --token-file or the
    /// environment variable FAIRLEAD_JOIN_TOKEN
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// A file that holds the join token; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Give the box a new identity in place of the one it has
    #[arg(long)]
    replace: bool,
}

pub(super) async fn join(arguments: JoinArguments, config: EdgeConfig) -> Result<()> {
    let text = token_text(arguments.token, arguments.token_file.as_deref())?;
    let token: JoinToken = text.parse().map_err(|error| {
        Failure::new("the join token is malformed")
            .cause(&error)
            .hint("copy it whole, on one line, as `fairlead-cloud site add` or `fairlead-cloud site token` printed it")
    })?;
    let state = StateDir::open(&config.state_dir)?;
    let _lock = state.lock()?;
    tracing::info!("joining with the {token}");
    let identity = uplink::join::join(&state, &token, arguments.replace).await?;
    say(&format!("joined: this box is site `{}` (number {}) of {}", identity.site, identity.site_number, identity.url))?;
    say(&format!("root fingerprint: {}", identity.root()))?;
    say(&format!("certificate until {}; `fairlead-edge run` renews it by itself", identity.validity().not_after))?;
    say("next: `fairlead-edge check`, then `fairlead-edge run`")
}

fn token_text(argument: Option<String>, file: Option<&Path>) -> Result<Zeroizing<String>> {
    if let Some(text) = argument {
        return Ok(Zeroizing::new(text));
    }
    let Some(path) = file else {
        return std::env::var(TOKEN_VARIABLE).map(Zeroizing::new).map_err(|_| {
            Failure::new("there is no join token")
                .hint("make one with `fairlead-cloud site add` in the cloud and give it with --token-file FILE, --token TOKEN or FAIRLEAD_JOIN_TOKEN")
        });
    };
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).map(drop)
    };
    read.map_err(|error| {
        Failure::new(format!("cannot read the join token from `{}`", path.display()))
            .cause(&error)
            .hint("name the file that holds what `fairlead-cloud site add` printed")
    })?;
    Ok(text)
}
