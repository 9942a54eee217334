use serde_json::Value;

use super::sql::{Row, values};
use super::{StoreError, Tx};
use crate::clock::Timestamp;
use crate::wire::BootId;
use crate::wire::uplink::{EventBatch, SiteEventKind};

/// What happened, in the cloud's part of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A boot ticket was accepted.
    TicketAccepted,
    /// The node waits for approval.
    Waiting,
    /// It was approved.
    Approved,
    /// It was rejected.
    Rejected,
    /// It may be set up anew.
    Rearmed,
    /// It is held for a person.
    Held,
    /// It was taken out of service.
    Retired,
    /// It was handed the boot script.
    ScriptServed,
    /// Kernel or initramfs went to it, whole and checked.
    BlobServed,
    /// Its machine config was handed out.
    ConfigServed,
    /// It was sent to its disk.
    LocalBoot,
    /// Alarm: a ticket was shown a second time.
    TicketReplayed,
    /// Alarm: a ticket was shown by another machine.
    TicketForOtherMachine,
    /// Alarm: a machine shares something with a known node that no two machines share.
    IdentityConflict,
    /// A ticket came too late or too early.
    TicketOutOfTime,
    /// Alarm: a machine config was asked for with a token that does not work.
    ConfigRefused,
    /// Alarm: a blob on the cloud's disk is not what its digest says.
    BlobCorrupt,
    /// The machine config could not be made.
    ConfigFailed,
}

impl EventKind {
    /// The kind's name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TicketAccepted => "ticket_accepted",
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Rearmed => "rearmed",
            Self::Held => "held",
            Self::Retired => "retired",
            Self::ScriptServed => "script_served",
            Self::BlobServed => "blob_served",
            Self::ConfigServed => "config_served",
            Self::LocalBoot => "local_boot",
            Self::TicketReplayed => "ticket_replayed",
            Self::TicketForOtherMachine => "ticket_for_other_machine",
            Self::IdentityConflict => "identity_conflict",
            Self::TicketOutOfTime => "ticket_out_of_time",
            Self::ConfigRefused => "config_refused",
            Self::BlobCorrupt => "blob_corrupt",
            Self::ConfigFailed => "config_failed",
        }
    }

    /// Whether a person should look at once.
    #[must_use]
    pub const fn is_alarm(self) -> bool {
        matches!(
            self,
            Self::TicketReplayed | Self::TicketForOtherMachine | Self::IdentityConflict | Self::ConfigRefused | Self::BlobCorrupt
        )
    }
}

/// A line to add to a timeline.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// In words.
    pub summary: String,
    /// In values; never a secret.
    pub detail: Value,
}

/// A line of a timeline.
#[derive(Clone, Debug)]
pub struct Event {
    /// When: by the cloud's clock, or by the box's if the edge reported it.
    pub at: Timestamp,
    /// Whether the edge reported it.
    pub from_edge: bool,
    /// What happened.
    pub kind: String,
    /// Whether a person should look at once.
    pub alarm: bool,
    /// In words.
    pub summary: String,
    /// In values.
    pub detail: Value,
}

impl Tx<'_> {
    /// Adds a line of the cloud's to the timeline of a boot; without a node it shows in that of every node that came with it.
    ///
    /// # Errors
    /// The database's own.
    pub fn add_event(&self, site: u32, boot: BootId, node: Option<i64>, at: Timestamp, event: &NewEvent) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO event (site, boot, source, node, at, kind, alarm, summary, detail) VALUES (?1, ?2, 'cloud', ?3, ?4, ?5, ?6, ?7, ?8)",
            values![
                site,
                boot.to_string(),
                node,
                at,
                event.kind.as_str(),
                event.kind.is_alarm(),
                &event.summary,
                event.detail.to_string(),
            ],
        )?;
        Ok(())
    }

    /// Adds a site's reports that are new, and returns the highest number that is stored.
    ///
    /// A box that got no answer sends again; what is stored already is passed over.
    ///
    /// # Errors
    /// The database's own.
    pub fn add_site_events(&self, site: u32, batch: &EventBatch) -> Result<u64, StoreError> {
        // The row is there before it is locked, so that two requests of one box at once follow one another.
        self.execute(
            "INSERT INTO spool (site, name, stored_up_to) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING",
            values![site, &batch.spool],
        )?;
        let question = self.locked("SELECT stored_up_to FROM spool WHERE site = ?1 AND name = ?2");
        let mut stored_up_to: u64 = self.one(&question, values![site, &batch.spool])?.unwrap_or(0);
        for numbered in &batch.events {
            if numbered.number <= stored_up_to {
                continue;
            }
            let event = &numbered.event;
            let (kind, summary, mut detail) = describe(&event.what);
            if let (Some(mac), Value::Object(detail)) = (event.mac, &mut detail) {
                detail.insert("mac".to_owned(), mac.to_string().into());
            }
            let boot = event.boot.map_or_else(|| OF_THE_SITE.to_owned(), |boot| boot.to_string());
            self.execute(
                "INSERT INTO event (site, boot, source, node, at, kind, alarm, summary, detail) VALUES (?1, ?2, 'edge', NULL, ?3, ?4, ?5, ?6, ?7)",
                values![site, boot, event.at, kind, is_alarm(&event.what), summary, detail.to_string()],
            )?;
            stored_up_to = numbered.number;
        }
        self.execute("UPDATE spool SET stored_up_to = ?3 WHERE site = ?1 AND name = ?2", values![site, &batch.spool, stored_up_to])?;
        Ok(stored_up_to)
    }

    /// What a site has reported of itself and not of one boot, the newest first.
    ///
    /// # Errors
    /// The database's own.
    pub fn site_events(&self, site: u32, most: u32) -> Result<Vec<Event>, StoreError> {
        let rows = self.rows(
            "SELECT at, source = 'edge', kind, alarm, summary, detail FROM event WHERE site = ?1 AND boot = ?2 ORDER BY at DESC, id DESC LIMIT ?3",
            values![site, OF_THE_SITE, most],
        )?;
        rows.iter().map(read_event).collect()
    }

    /// The timeline of a boot, in order of time: what the edge reported and what the cloud saw of `node`.
    ///
    /// # Errors
    /// The database's own.
    pub fn timeline(&self, site: u32, boot: BootId, node: i64) -> Result<Vec<Event>, StoreError> {
        let rows = self.rows(
            "SELECT at, source = 'edge', kind, alarm, summary, detail FROM event \
             WHERE site = ?1 AND boot = ?2 AND (node IS NULL OR node = ?3) ORDER BY at, id",
            values![site, boot.to_string(), node],
        )?;
        rows.iter().map(read_event).collect()
    }
}

fn read_event(row: &Row) -> Result<Event, StoreError> {
    Ok(Event {
        at: row.get(0)?,
        from_edge: row.get(1)?,
        kind: row.get(2)?,
        alarm: row.get(3)?,
        summary: row.get(4)?,
        detail: serde_json::from_str(&row.get::<String>(5)?).unwrap_or(Value::Null),
    })
}

/// What stands in place of a boot's id in an event of the site itself.
const OF_THE_SITE: &str = "";

/// Whether a person should look at once.
const fn is_alarm(what: &SiteEventKind) -> bool {
    matches!(what, SiteEventKind::AddressInUse { .. } | SiteEventKind::OtherServer { .. })
}

/// A site's report in words and values.
fn describe(what: &SiteEventKind) -> (String, String, Value) {
    // An enum of named fields serialises as {"kind": {fields}}.
    let (kind, detail) = match serde_json::to_value(what) {
        Ok(Value::Object(map)) => map.into_iter().next().unwrap_or_default(),
        _ => Default::default(),
    };
    let arch = |arch: &Option<crate::wire::ClientArch>| arch.map_or_else(|| "unknown".to_owned(), |arch| arch.to_string());
    let summary = match what {
        SiteEventKind::Leased { address, seconds, arch: client } => {
            format!("address {address} leased for {seconds} s (client {})", arch(client))
        }
        SiteEventKind::ProxyAnswered { arch: client } => format!("answered as proxyDHCP (client {})", arch(client)),
        SiteEventKind::BootFileNamed { file, arch: client } => format!("named boot file {file} (client {})", arch(client)),
        SiteEventKind::FileServed { protocol, file, size, sha256 } => {
            format!("{file} fetched over {protocol}, {size} octets, sha256 {sha256}")
        }
        SiteEventKind::TicketMinted { uuid } => match uuid {
            Some(uuid) => format!("boot ticket signed for UUID {uuid}"),
            None => "boot ticket signed; the machine sent no UUID".to_owned(),
        },
        SiteEventKind::AddressInUse { .. } => format!("a machine {what}"),
        SiteEventKind::OtherServer { .. } | SiteEventKind::OtherServerGone { .. } | SiteEventKind::Unknown(_) => what.to_string(),
    };
    (kind, summary, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::cloud::admission::Policy;
    use crate::cloud::store::tests::Scratch;
    use crate::cloud::store::{Asset, NewCluster};
    use crate::secret::Secret;
    use crate::wire::uplink::{NumberedEvent, SiteEvent};
    use crate::wire::{Digest, MacAddr};

    #[test]
    fn a_report_that_is_sent_twice_stands_once() {
        Scratch::on_both("events", |scratch| a_report_is_sent_twice(&scratch));
    }

    fn a_report_is_sent_twice(scratch: &Scratch) {
        let asset = Asset { digest: Digest::of(b""), size: 0 };
        let boot = BootId([1; 8]);
        let event = move |number| NumberedEvent {
            number,
            event: SiteEvent {
                at: Timestamp(number),
                boot: Some(boot),
                mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
                what: SiteEventKind::TicketMinted { uuid: None },
            },
        };
        let batch = move |spool: &str, numbers: &[u64]| EventBatch {
            spool: spool.to_owned(),
            events: numbers.iter().copied().map(event).collect(),
        };
        scratch
            .store
            .transaction(move |tx| {
                let cluster = NewCluster {
                    name: "c".parse().unwrap(),
                    machine_config: Secret::from(String::new()),
                    tailscale_key: None,
                    kernel_args: String::new(),
                    kernel: asset,
                    initramfs: asset,
                };
                let cluster = tx.add_cluster(&cluster, Timestamp(1))?;
                let site = tx.add_site(&"s".parse().unwrap(), cluster, Policy::Approve, Timestamp(1))?;
                assert_eq!(tx.add_site_events(site, &batch("a", &[1, 2, 3]))?, 3);
                assert_eq!(tx.add_site_events(site, &batch("a", &[2, 3, 4]))?, 4);
                assert_eq!(tx.add_site_events(site, &batch("b", &[1]))?, 1, "another spool counts for itself");
                let timeline = tx.timeline(site, boot, 0)?;
                assert_eq!(timeline.len(), 5);
                assert_eq!(timeline.first().map(|event| event.kind.as_str()), Some("ticket_minted"));
                let heard = |number, what| NumberedEvent {
                    number,
                    event: SiteEvent { at: Timestamp(number), boot: None, mac: Some(MacAddr([2, 0, 0, 0, 0, 9])), what },
                };
                let server = std::net::Ipv4Addr::new(192, 0, 2, 9);
                let rival = SiteEventKind::OtherServer { interface: "eth1".to_owned(), server, silent: true };
                let later = SiteEventKind::Unknown(serde_json::json!({ "fan_stopped": {} }));
                let events = vec![heard(1, rival), heard(2, later)];
                assert_eq!(tx.add_site_events(site, &EventBatch { spool: "c".to_owned(), events })?, 2);
                let told = tx.site_events(site, 10)?;
                let told: Vec<(&str, bool)> = told.iter().map(|event| (event.kind.as_str(), event.alarm)).collect();
                assert_eq!(told, [("fan_stopped", false), ("other_server", true)]);
                assert_eq!(tx.timeline(site, boot, 0)?.len(), 5, "they are of no boot");
                Ok::<_, StoreError>(())
            })
            .unwrap();
    }
}
