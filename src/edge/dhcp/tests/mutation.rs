use super::packet::{Answer, Packet};
use super::site::{SERVER, Site};

/// A small generator (xorshift) whose every run is the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let features = [0xb1, 5, 1, 2, 3, 4, 5, 0xeb, 3, 2, 0, 0, 0x14, 1, 1, 0x13, 1, 1];
    let ipxe = |packet: Packet| {
        packet
            .option(60, b"PXEClient:Arch:00000:UNDI:002001")
            .option(77, b"iPXE")
            .option(93, &[0, 0])
            .option(97, &[0; 17])
            .option(175, &features)
            .option(57, &[5, 192])
            .option(55, &[1, 3, 6, 15, 28, 42, 66, 67, 43, 60, 175])
            .option(61, &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56])
    };
    let own = std::net::Ipv4Addr::new(192, 0, 2, 100);
    let relay = std::net::Ipv4Addr::new(198, 51, 100, 9);
    vec![
        ipxe(Packet::discover()).build(),
        ipxe(Packet::request().address(54, SERVER).address(50, own)).build(),
        ipxe(Packet::request().ciaddr(own)).option(52, &[3]).build(),
        Packet::discover().relayed(relay).option(82, &[1, 4, 0, 0, 0, 1, 2, 6, 1, 2, 3, 4, 5, 6]).option(81, b"\0\0\0name").build(),
        Packet::release().address(54, SERVER).ciaddr(own).build(),
        Packet::decline().address(54, SERVER).address(50, own).build(),
        Packet::inform().ciaddr(own).option(80, &[]).option(94, &[1]).option(152, &[]).build(),
        Packet::discover().option(60, b"HTTPClient:Arch:00016:UNDI:003000").option(93, &[0, 16]).build(),
    ]
}

/// Bits flipped, octets set to values that lengths stumble over, parts cut out, doubled and swapped.
fn mutate(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        if octets.is_empty() {
            break;
        }
        // Options are where the lengths are.
        let place = if dice.below(3) == 0 || octets.len() <= 240 { dice.below(octets.len()) } else { 240 + dice.below(octets.len() - 240) };
        match dice.below(7) {
            0 => octets[place] ^= 1 << dice.below(8),
            1 => octets[place] = [0, 1, 2, 16, 17, 127, 128, 254, 255][dice.below(9)],
            2 => octets[place] = dice.octet(),
            3 => octets.truncate(place),
            4 => drop(octets.drain(place..(place + dice.below(20)).min(octets.len()))),
            5 => {
                let part = octets[place..(place + dice.below(40)).min(octets.len())].to_vec();
                octets.splice(place..place, part);
            }
            _ => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len());
                octets.splice(place.., other[from..].iter().copied());
            }
        }
    }
    octets
}

#[test]
fn mutated_packets_never_panic_and_every_answer_stays_well_formed() {
    let seeds = seeds();
    let mut dice = Dice(0x5eed_cafe_f00d);
    let mut answered = 0_u32;
    for site in &mut [Site::server(), Site::proxy()] {
        for number in 0..200_000 {
            let octets = mutate(&mut dice, &seeds);
            let port = if number % 5 == 0 { 4011 } else { 67 };
            let heard = site.hear_octets(&octets, "192.0.2.111:68", SERVER, port);
            // Reading an answer is what checks it; a reply is in turn no request, whoever sends it back.
            for (_, _, answer) in &heard.answers {
                answered += 1;
                assert!(matches!(answer.kind(), "OFFER" | "ACK" | "NAK"));
            }
            site.now = site.now.after(std::time::Duration::from_millis(500));
            site.disk.clear();
            site.disk_works = number % 11 != 0;
        }
    }
    assert!(answered > 50_000, "{answered}: the mutations leave nothing to test");
}

#[test]
fn every_length_of_every_seed_is_survived() {
    for seed in seeds() {
        for length in 0..=seed.len() {
            for site in &mut [Site::server(), Site::proxy()] {
                let heard = site.hear_octets(&seed[..length], "192.0.2.111:68", SERVER, 67);
                assert!(length >= 240 || heard.answers.is_empty());
                assert!(heard.answers.iter().all(|(_, _, answer): &(_, _, Answer)| !answer.codes().is_empty()));
            }
        }
    }
}
