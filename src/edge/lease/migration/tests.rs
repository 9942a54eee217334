use std::fmt::Write as _;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

fn leases(format: Format, text: &str) -> Vec<String> {
    let found = read(format, text.as_bytes(), NOW).unwrap();
    let in_words = |lease: &Located<LeaseRecord>| {
        let LeaseRecord { address, client, hardware, state, expires_at, host_name, .. } = &lease.value;
        let name = host_name.as_deref().unwrap_or("-");
        format!("{}: {address} {client} {hardware} {state:?} +{} {name}", lease.line, expires_at.since(NOW).as_secs())
    };
    found.leases.iter().map(in_words).collect()
}

fn left_out(format: Format, text: &str) -> Vec<(usize, String, Why)> {
    let found = read(format, text.as_bytes(), NOW).unwrap();
    found.left_out.into_iter().map(|left_out| (left_out.line, left_out.value.address, left_out.value.why)).collect()
}

fn error(format: Format, text: &str) -> String {
    read(format, text.as_bytes(), NOW).unwrap_err().to_string()
}

const KEA: &str = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n\
    192.0.2.10,52:54:00:00:00:0a,,3600,1795000100,1,0,0,,0,\n\
    192.0.2.11,52:54:00:00:00:0b,01:52:54:00:00:00:0b,3600,1795000100,1,0,0,node-b.example.,0,{ \"ISC\": 1 }\n\
    192.0.2.10,52:54:00:00:00:0a,,3600,1795002000,1,0,0,a&#x2cb,0,\n\
    192.0.2.12,,,86400,1795080000,1,0,0,,1,\n\
    192.0.2.13,52:54:00:00:00:0d,,3600,1794999999,1,0,0,,0,\n\
    192.0.2.14,52:54:00:00:00:0e,,3600,1795003000,1,0,0,,0,\n\
    192.0.2.14,52:54:00:00:00:0e,,0,1795000000,1,0,0,,0,\n\
    192.0.2.15,52:54:00:00:00:0f,,3600,1795003000,1,0,0,,2,\n\
    192.0.2.16,,,3600,1795003000,1,0,0,,0,\n\
    192.0.2.17,52:54:00:00:00:11,,4294967295,6089967295,1,0,0,,0,\n";

#[test]
fn kea_the_last_line_of_an_address_counts() {
    assert_eq!(
        leases(Format::KeaCsv, KEA),
        [
            "4: 192.0.2.10 0152540000000a 52:54:00:00:00:0a Bound +2000 -",
            "3: 192.0.2.11 0152540000000b 52:54:00:00:00:0b Bound +100 node-b.example",
            "5: 192.0.2.12 0000 hardware 1/ Declined +80000 -",
            "11: 192.0.2.17 01525400000011 52:54:00:00:00:11 Bound +4294967295 -",
        ]
    );
    let expected = [
        (2, "192.0.2.10", Why::Replaced),
        (6, "192.0.2.13", Why::Over),
        (7, "192.0.2.14", Why::Replaced),
        (8, "192.0.2.14", Why::Over),
        (9, "192.0.2.15", Why::Over),
        (10, "192.0.2.16", Why::Nobody),
    ];
    assert_eq!(left_out(Format::KeaCsv, KEA), expected.map(|(line, address, why)| (line, address.to_owned(), why)));
}

#[test]
fn kea_files_of_other_versions_and_put_together_are_read() {
    let older = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname\n192.0.2.10,52:54:00:00:00:0a,,3600,1795000100,1,0,0,\n";
    assert_eq!(leases(Format::KeaCsv, older).len(), 1);
    assert_eq!(leases(Format::KeaCsv, &format!("{older}{KEA}")).len(), 4);
}

#[test]
fn kea_what_can_not_be_understood_is_told_with_its_line() {
    let with = |line: &str| error(Format::KeaCsv, &format!("{}\n{line}\n", KEA.lines().next().unwrap()));
    assert_eq!(with("192.0.2.10,52:54"), "line 2: 2 fields where the header names 11");
    assert_eq!(with("192.0.2.300,,,1,1,1,0,0,,0,"), "line 2: `192.0.2.300` is no IPv4 address");
    assert_eq!(with("192.0.2.1,zz,,1,1,1,0,0,,0,"), "line 2: `zz` is no hardware address: up to 16 octets such as 52:54:00:12:34:56");
    assert_eq!(with("192.0.2.1,,01,1,1,1,0,0,,0,"), "line 2: `01` is no client identifier: 2 to 255 octets in hexadecimal");
    assert_eq!(with("192.0.2.1,,,x,1,1,0,0,,0,"), "line 2: `x` is no number of seconds for `valid_lifetime`");
    assert_eq!(with("192.0.2.1,02:00,,1,1,1,0,0,,9,"), "line 2: `9` is no state of a lease of IPv4");
    assert!(error(Format::KeaCsv, "address,duid,valid_lifetime\n").contains("no column `hwaddr`"));
    assert!(error(Format::KeaCsv, "").contains("it is empty"));
}

const ISC: &str = r#"# The format of this file is documented in the dhcpd.leases(5) manual page.
authoring-byte-order little-endian;
server-duid "\000\001\000\001+\"\\RT\000\022";

lease 192.0.2.20 {
  starts 1 2026/11/23 04:00:00;
  ends 1 2026/11/23 05:00:00;
  cltt 1 2026/11/23 04:00:00;
  binding state active;
  next binding state free;
  rewind binding state free;
  hardware ethernet 52:54:00:00:00:14;
  uid "\001RT\000\000\000\024";
  set vendor-class-identifier = "PXE{Client}:Arch;00007";
  client-hostname "node-20";
  on expiry {
    if (1 = 1) { log(info, "over"); }
  }
}
lease 192.0.2.21 {
  starts epoch 1794999000; # Mon Nov 23 2026
  ends never;
  binding state active;
  hardware ethernet 52:54:0:0:0:15;
  uid ff:00:00:00:15:00:01;
}
lease 192.0.2.20 { starts 1 2026/11/23 04:30:00; ends 5 2027/01/01 00:00:00; binding state active;
  hardware ethernet 52:54:00:00:00:14; uid "\001RT\000\000\000\024"; client-hostname "with \"quotes\""; }
failover peer "dhcp" state {
  my state normal at 1 2026/11/23 04:00:00;
}
lease 192.0.2.22 { starts 1 2026/11/23 04:00:00; ends 1 2026/11/23 04:10:00; binding state free; hardware ethernet 52:54:00:00:00:16; }
lease 192.0.2.23 { binding state abandoned; starts 1 2026/11/23 04:00:00; ends 1 2026/11/23 04:10:00; }
lease 192.0.2.24 { ends 5 2027/01/01 00:00:00; binding state active; }
host made { dynamic; hardware ethernet 52:54:00:00:00:99; fixed-address 192.0.2.99; }
"#;

#[test]
fn isc_the_last_block_of_an_address_counts() {
    let ends = 1_798_761_600 - NOW.as_secs();
    assert_eq!(
        leases(Format::Isc, ISC),
        [
            format!("27: 192.0.2.20 01525400000014 52:54:00:00:00:14 Bound +{ends} -"),
            "20: 192.0.2.21 ff000000150001 52:54:00:00:00:15 Bound +4294967295 -".to_owned(),
            "33: 192.0.2.23 0000 hardware 0/ Declined +86400 -".to_owned(),
        ]
    );
    let expected = [(5, "192.0.2.20", Why::Replaced), (32, "192.0.2.22", Why::Over), (34, "192.0.2.24", Why::Nobody)];
    assert_eq!(left_out(Format::Isc, ISC), expected.map(|(line, address, why)| (line, address.to_owned(), why)));
}

#[test]
fn isc_what_can_not_be_understood_is_told_with_its_line() {
    assert_eq!(
        error(Format::Isc, "lease 192.0.2.1 {\n ends tomorrow;\n}"),
        "line 2: `tomorrow` is no time such as `2 2026/11/23 04:05:06`"
    );
    assert_eq!(error(Format::Isc, "lease x {}"), "line 1: `x` is no IPv4 address");
    assert_eq!(error(Format::Isc, "lease { }"), "line 1: `lease` is not followed by an address and `{`");
    assert_eq!(error(Format::Isc, "\n}"), "line 2: a declaration should begin here, such as `lease 192.0.2.5 {`");
    assert!(error(Format::Isc, "lease 192.0.2.1 { binding state odd; }").contains("`odd` is no binding state"));
    assert!(error(Format::Isc, "lease 192.0.2.1 { hardware smoke 1:2; }").contains("is no type of hardware"));
    assert!(error(Format::Isc, "lease 192.0.2.1 { uid \"a").contains("a quoted text does not end"));
    assert!(error(Format::Isc, "lease 192.0.2.1 { uid \"\\777\"; }").contains("an escaped octet is over 255"));
    for length in 0..ISC.len() {
        // Cut off anywhere: read or refused, never worse.
        drop(read(Format::Isc, &ISC.as_bytes()[..length], NOW));
    }
}

const DNSMASQ: &str = "1795000500 52:54:00:00:00:1e 192.0.2.30 node-30 01:52:54:00:00:00:1e\n\
    1795000500 52:54:00:00:00:1f 192.0.2.31 * *\n\
    0 06-00:01:02:03:04:05 192.0.2.32 odd'name ff:01:02\n\
    1794999999 52:54:00:00:00:21 192.0.2.33 * *\n\
    duid 00:01:00:01:2b\n\
    1795000500 1234 2001:db8::5 node-30 00:01:00:01\n";

#[test]
fn dnsmasq_leases_are_read_and_those_of_ipv6_passed_over() {
    assert_eq!(
        leases(Format::Dnsmasq, DNSMASQ),
        [
            "1: 192.0.2.30 0152540000001e 52:54:00:00:00:1e Bound +500 node-30",
            "2: 192.0.2.31 0152540000001f 52:54:00:00:00:1f Bound +500 -",
            "3: 192.0.2.32 ff0102 hardware 6/000102030405 Bound +4294967295 -",
        ]
    );
    let expected = [(4, "192.0.2.33", Why::Over), (6, "2001:db8::5", Why::NotIpv4)];
    assert_eq!(left_out(Format::Dnsmasq, DNSMASQ), expected.map(|(line, address, why)| (line, address.to_owned(), why)));
    assert_eq!(error(Format::Dnsmasq, "1 2\n"), "line 1: 2 fields where a lease of dnsmasq has 5");
    assert_eq!(error(Format::Dnsmasq, "x 52:54:00:00:00:1e 192.0.2.30 * *"), "line 1: `x` is no time in seconds");
    assert!(error(Format::Dnsmasq, "1 zz-52:54 192.0.2.30 * *").contains("begins with no hardware type"));
}

#[test]
fn what_is_exported_can_be_imported() {
    let mut found = read(Format::KeaCsv, KEA.as_bytes(), NOW).unwrap().leases;
    found.retain(|lease| lease.value.hardware.octets().len() == 6);
    let records: Vec<LeaseRecord> = found.into_iter().map(|lease| lease.value).collect();
    for (format, text) in [(Format::Json, export_json(&records, NOW)), (Format::Csv, export_csv(&records, NOW))] {
        let again = read(format, text.as_bytes(), NOW).unwrap();
        assert_eq!(again.leases.into_iter().map(|lease| lease.value).collect::<Vec<_>>(), records, "{text}");
        assert!(again.left_out.is_empty());
    }
    let json = export_json(&records, NOW).replace("52:54:00:00:00:0b", "nonsense");
    assert!(error(Format::Json, &json).starts_with("line 3: `nonsense` is no hardware address"), "{}", error(Format::Json, &json));
    assert!(error(Format::Json, "[\n{\"address\": 7}]").starts_with("line 2: "));
    assert!(error(Format::Csv, "address\n").contains("the header should be"));
    let mut csv = export_csv(&[], NOW);
    writeln!(csv, "192.0.2.1,odd,1,,,,,").unwrap();
    assert_eq!(error(Format::Csv, &csv), "line 2: `odd` is no state of a lease");
}

/// Whatever a file holds: read or refused, in no time.
#[test]
fn hostile_files_do_no_harm() {
    let mut state = 11_u64;
    let samples = [(Format::KeaCsv, KEA), (Format::Isc, ISC), (Format::Dnsmasq, DNSMASQ)];
    for round in 0..20_000_usize {
        let (format, sample) = samples[round % samples.len()];
        let mut octets = sample.as_bytes().to_vec();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = usize::try_from(state >> 33).unwrap() % octets.len();
            match state & 3 {
                0 => octets[place] = u8::try_from((state >> 24) & 0xff).unwrap(),
                1 => octets.truncate(place.max(1)),
                2 => drop(octets.remove(place)),
                _ => octets.extend_from_slice(&sample.as_bytes()[place.min(sample.len() - 1)..]),
            }
            if octets.is_empty() {
                octets.push(b'{');
            }
        }
        drop(read(format, &octets, NOW));
    }
    drop(read(Format::Isc, "{".repeat(100_000).as_bytes(), NOW));
    drop(read(Format::Isc, format!("lease 192.0.2.1 {}", "{".repeat(100_000)).as_bytes(), NOW));
    drop(read(Format::Json, "[".repeat(100_000).as_bytes(), NOW));
}

#[test]
fn a_lease_in_force_here_gives_way_to_none() {
    let record = read(Format::Dnsmasq, DNSMASQ.as_bytes(), NOW).unwrap().leases[0].value.clone();
    assert_eq!(judge(None, &record, NOW), Ok(()));
    let longer = LeaseRecord { expires_at: record.expires_at.after(Duration::from_secs(1)), ..record.clone() };
    assert_eq!(judge(Some(&record), &longer, NOW), Ok(()));
    assert!(judge(Some(&longer), &record, NOW).unwrap_err().contains("as long or longer"));
    let other = LeaseRecord { client: ClientId::from_option(&[9, 9]).unwrap(), ..record.clone() };
    assert!(judge(Some(&other), &longer, NOW).unwrap_err().contains("is leased here to 52:54:00:00:00:1e"));
    assert_eq!(judge(Some(&other), &longer, record.expires_at), Ok(()));
    let declined = LeaseRecord { state: LeaseState::Declined, ..record };
    assert!(judge(Some(&declined), &longer, NOW).unwrap_err().contains("in quarantine"));
}

#[test]
fn a_lease_that_ends_when_no_calendar_goes_any_more_is_one_without_an_end() {
    let header = KEA.lines().next().unwrap();
    let found =
        read(Format::KeaCsv, format!("{header}\n192.0.2.10,52:54:00:00:00:0a,,3600,597626089924346,1,0,0,,0,\n").as_bytes(), NOW).unwrap();
    let record = &found.leases[0].value;
    assert_eq!(record.expires_at.since(NOW).as_secs(), 0xffff_ffff);
    assert_eq!(
        read(Format::Json, export_json(std::slice::from_ref(record), NOW).as_bytes(), NOW).unwrap().leases[0].value.address,
        record.address
    );
}
