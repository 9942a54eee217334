//! `fairlead-edge reload`.

use std::path::Path;

use crate::command_line::say;
use crate::edge::config::EdgeConfig;
use crate::edge::control::{Answer, Client, Reloaded, Request};
use crate::failure::{Failure, Result};

/// Has the running box read its configuration again, and says what is different.
pub(super) fn reload(path: &Path) -> Result<()> {
    // A file that is wrong is told here, with its line, whether the box runs or not.
    let config = EdgeConfig::load(path)?;
    let Some(mut client) = Client::connect(&config.state_dir)? else {
        return Err(Failure::new(format!("no fairlead-edge runs with the state folder `{}`", config.state_dir.display()))
            .hint("start it with `fairlead-edge run`; it reads its configuration then"));
    };
    match client.ask(&Request::Reload)? {
        Answer::Reloaded(Reloaded { changes, warnings }) => {
            for warning in warnings {
                say(&format!("warning: {warning}"))?;
            }
            for change in &changes {
                say(change)?;
            }
            match changes.len() {
                0 => say("ok: nothing is different"),
                1 => say("ok: one change is in use"),
                count => say(&format!("ok: {count} changes are in use")),
            }
        }
        Answer::Failed(failure) => Err(failure),
        _ => Err(Failure::new("the running fairlead-edge answered something else").hint("it may be of another version: restart it")),
    }
}
