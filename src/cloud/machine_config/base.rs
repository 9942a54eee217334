//! A cluster's base config as it is kept, where it has no patches.

use super::additions::{Additions, Tailscale};
use super::layer::{ConfigError, Layer, Level, Source};
use super::render::{Plan, contract_of_text};
use super::template::Facts;
use crate::secret::Secret;
use crate::wire::Name;

/// An operator's machine config, which goes to nodes octet for octet as long as nothing has to be merged into it.
#[derive(Debug)]
pub struct BaseConfig(Secret);

impl BaseConfig {
    /// Looks at an operator's config; `with_tailscale` when Fairlead is to add the Tailscale document.
    ///
    /// # Errors
    /// When no node could use it.
    pub fn parse(bytes: Secret, with_tailscale: bool) -> Result<Self, ConfigError> {
        let base = Self(bytes);
        if let Ok(hostname) = "node".parse::<Name>() {
            let key = Secret::from("key".to_owned());
            let tailscale = with_tailscale.then(|| Tailscale { auth_key: Some(&key), ..Tailscale::default() });
            base.render(&Additions { tailscale, ..Additions::named(&hostname) })?;
        }
        Ok(base)
    }

    /// Takes bytes that [`BaseConfig::parse`] accepted before they were stored.
    #[must_use]
    pub const fn from_store(bytes: Secret) -> Self {
        Self(bytes)
    }

    /// The config of one node: the operator's, and what Fairlead adds.
    ///
    /// # Errors
    /// When Talos would refuse what comes out.
    pub fn render(&self, additions: &Additions<'_>) -> Result<Secret, ConfigError> {
        let source = Source { level: Level::Base, name: String::new(), file: "machine config".to_owned() };
        let contract = contract_of_text(&self.0, &source)?;
        let plan = Plan::new(contract, &[Layer { source, text: self.0.clone(), template: false }])?;
        Ok(plan.render(&Facts::default(), additions)?.text)
    }
}
