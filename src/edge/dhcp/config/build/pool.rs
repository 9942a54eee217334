use std::net::Ipv4Addr;

use crate::config_file::Source;
use crate::edge::dhcp::config::section::SubnetSection;
use crate::edge::lease::AddressRange;
use crate::failure::Failure;

/// Addresses that nobody may be given, and whose each is.
pub(super) type Taken<'a> = [(Ipv4Addr, &'a str)];

/// The pools, and what is left out of them.
pub(super) fn build(
    source: &Source,
    section: &SubnetSection,
    taken: &Taken<'_>,
) -> Result<(Vec<AddressRange>, Vec<AddressRange>), Failure> {
    let network = *section.network.get_ref();
    let excluded: Vec<AddressRange> = section.exclude.iter().map(|range| range.get_ref().0).collect();
    let mut pools: Vec<AddressRange> = Vec::new();
    for pool in &section.pools {
        let (span, pool) = (pool.span(), *pool.get_ref());
        if !network.is_host(pool.first()) || !network.is_host(pool.last()) {
            return Err(source.error(
                &span,
                &format!("pool {pool} is not inside subnet {network}"),
                &format!("a pool lies between {} and {}, both of which name no machine", network.address(), network.broadcast()),
            ));
        }
        let is_given = |address: Ipv4Addr| pool.contains(address) && !excluded.iter().any(|range| range.contains(address));
        if let Some((address, whose)) = taken.iter().find(|(address, _)| is_given(*address)) {
            return Err(source.error(
                &span,
                &format!("pool {pool} holds {address}, {whose}"),
                "end the pool before this address or begin it behind it, or leave the address out with `exclude`",
            ));
        }
        if let Some(other) = pools.iter().find(|other| other.overlaps(pool)) {
            return Err(source.error(
                &span,
                &format!("pool {pool} overlaps pool {other}"),
                "make the pools one, or end one before the other",
            ));
        }
        pools.push(pool);
    }
    for range in &section.exclude {
        let inside = |pool: &AddressRange| pool.contains(range.get_ref().0.first()) && pool.contains(range.get_ref().0.last());
        if !pools.iter().any(inside) {
            return Err(source.error(
                &range.span(),
                &format!("exclusion {} is not inside a pool of subnet {network}", shown(range.get_ref().0)),
                "what no pool holds is not given out anyway: remove it, or correct it; one that spans two pools is written as two",
            ));
        }
    }
    Ok((pools, excluded))
}

fn shown(range: AddressRange) -> String {
    if range.first() == range.last() { range.first().to_string() } else { range.to_string() }
}
