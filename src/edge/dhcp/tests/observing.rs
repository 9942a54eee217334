use std::net::Ipv4Addr;

use super::packet::Packet;
use super::site::Site;
use crate::edge::dhcp::{DropReason, Would};

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

fn site() -> Site {
    Site::with_config(
        r#"
        [[interface]]
        name = "eth1"
        mode = "observe"
        address = "192.0.2.1"
        [[subnet]]
        network = "192.0.2.0/24"
        pools = ["192.0.2.100-192.0.2.119"]
        "#,
    )
}

fn observe(site: &mut Site, packet: &Packet) -> Vec<Would> {
    let heard = site.hear(packet);
    assert!(heard.answers.is_empty() && heard.reports.is_empty() && heard.dropped.is_empty(), "{heard:?}");
    heard.observed.into_iter().map(|observation| observation.would).collect()
}

fn answer(message: &'static str, last: u8) -> Vec<Would> {
    vec![Would::Answer { message, address: Some(Ipv4Addr::new(192, 0, 2, last)), file: None }]
}

#[test]
fn nothing_is_sent_or_written_and_what_would_have_been_said_is_told() {
    let mut site = site();
    assert_eq!(observe(&mut site, &Packet::discover().mac(1)), answer("OFFER", 100));
    let own = Ipv4Addr::new(192, 0, 2, 100);
    assert_eq!(observe(&mut site, &Packet::request().mac(1).address(50, own).address(54, Ipv4Addr::new(192, 0, 2, 1))), answer("ACK", 100));
    assert_eq!(observe(&mut site, &Packet::release().mac(1).ciaddr(own)), []);
    let heard = site.hear(&Packet::discover().mac(2).option(60, b"PXEClient:Arch:00007").option(93, &[0, 7]));
    assert_eq!(heard.observed[0].to_string(), "DISCOVER of 52:54:00:12:34:02: would send OFFER of 192.0.2.101, to boot snponly.efi");
    assert!(site.disk.is_empty());
}

#[test]
fn what_the_sites_server_gives_is_not_offered_to_others() {
    let mut site = site();
    let taken = Ipv4Addr::new(192, 0, 2, 100);
    let silent = vec![Would::Silence(DropReason::OtherServer)];
    assert_eq!(observe(&mut site, &Packet::request().mac(1).address(50, taken).address(54, OTHER)), silent);
    assert_eq!(observe(&mut site, &Packet::discover().mac(2)), answer("OFFER", 101));
    // A client that renews by broadcast has its address from someone, too.
    let kept = Ipv4Addr::new(192, 0, 2, 102);
    assert_eq!(observe(&mut site, &Packet::request().mac(3).ciaddr(kept)), [Would::Silence(DropReason::UnknownLease)]);
    assert_eq!(observe(&mut site, &Packet::discover().mac(4)), answer("OFFER", 103));
    assert_eq!(observe(&mut site, &Packet::discover().mac(3)), answer("OFFER", 102));
}
