//! What operators do to leases while the server runs.

use std::net::Ipv4Addr;

use super::action::{Action, Commit};
use super::config::Ipv4Network;
use super::engine::Engine;
use crate::clock::Timestamp;
use crate::edge::lease::migration::judge;
use crate::edge::lease::{LeaseRecord, LeaseState, Refused, Summary};

impl Engine {
    /// How many addresses of each subnet are in which state, in the configuration's order. Looks at every lease.
    #[must_use]
    pub fn lease_summaries(&self, now: Timestamp) -> Vec<(Ipv4Network, Summary)> {
        self.config.subnets().iter().zip(&self.tables).map(|(subnet, table)| (subnet.network.value, table.summary(now))).collect()
    }

    /// Frees an address at an operator's word, whoever has it, and ends its quarantine. Returns what was known of it.
    ///
    /// Its client is not told: DHCP has no common way to. If it is still there, it goes on to use the address until it renews, and
    /// gets it again then unless someone else has it.
    pub fn release_lease(&mut self, now: Timestamp, address: Ipv4Addr) -> (Option<LeaseRecord>, Vec<Action>) {
        let Some(table) = self.table_of(address) else { return (None, Vec::new()) };
        let Some(before) = table.record(address).cloned() else { return (None, Vec::new()) };
        let record = LeaseRecord { state: LeaseState::Released, starts_at: now, expires_at: now, ..before.clone() };
        table.put(record.clone());
        (Some(before), vec![Action::Commit(Commit { record, promise: None })])
    }

    /// Takes over leases of another server. Returns how many are taken, and which are not.
    pub fn import_leases(&mut self, now: Timestamp, records: Vec<LeaseRecord>) -> (usize, Vec<Refused>, Vec<Action>) {
        let (mut refused, mut commits) = (Vec::new(), Vec::new());
        for record in records {
            let address = record.address;
            let taken = match self.table_of(address) {
                None => Err("the address is outside of every subnet".to_owned()),
                Some(table) => judge(table.record(address), &record, now).map(|()| table.put(record.clone())),
            };
            match taken {
                Ok(()) => commits.push(Action::Commit(Commit { record, promise: None })),
                Err(why) => refused.push(Refused { address, why }),
            }
        }
        (commits.len(), refused, commits)
    }
}
