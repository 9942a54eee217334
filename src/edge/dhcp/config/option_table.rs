//! The DHCP options that have a name here, after IANA's registry "BOOTP Vendor Extensions and DHCP Options".

/// An option with a name and a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownOption {
    /// Its number.
    pub code: u8,
    /// How the configuration names it: IANA's name in small letters.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Where it is defined.
    pub defined_in: &'static str,
}

/// What an option's value is, in the file and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One octet, 0 or 1.
    Flag,
    /// One octet.
    Octet(u8, u8),
    /// Two octets.
    Short(u16, u16),
    /// A list of two octets each, none below this.
    Shorts(u16),
    /// Four octets: seconds.
    Seconds,
    /// Four octets with a sign: seconds.
    Offset,
    /// One address.
    Address,
    /// One address or more.
    Addresses,
    /// One pair of addresses or more.
    Pairs,
    /// Characters, without an end.
    Text,
    /// A domain name as text.
    DomainName,
    /// Domain names in the encoding of RFC 1035.
    DomainNames,
    /// A URL as text.
    Url,
    /// RFC 3442.
    Routes,
    /// RFC 3361: domain names or addresses, with an octet in front that says which.
    SipServers,
    /// RFC 2132, section 8.4: sub-options.
    SubOptions,
    /// RFC 3925, section 3: enterprise numbers, each with its data.
    VendorClasses,
    /// RFC 3925, section 4: enterprise numbers, each with its sub-options.
    VendorOptions,
}

impl Kind {
    /// A word for it, in the list of options.
    #[must_use]
    pub const fn word(self) -> &'static str {
        self.in_words().0
    }

    /// What the configuration says it as.
    #[must_use]
    pub const fn about(self) -> &'static str {
        self.in_words().1
    }

    /// An example.
    #[must_use]
    pub const fn example(self) -> &'static str {
        self.in_words().2
    }

    /// What is wanted here, its bounds among it.
    #[must_use]
    pub fn wanted(self) -> String {
        match self {
            Self::Octet(least, most) => format!("a number from {least} to {most}"),
            Self::Short(least, most) => format!("a number from {least} to {most}"),
            Self::Shorts(least) => format!("a list of numbers from {least} to 65535"),
            other => other.about().to_owned(),
        }
    }

    const fn in_words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Flag => ("flag", "true or false", "true"),
            Self::Octet(..) => ("octet", "a number of one octet", "64"),
            Self::Short(..) => ("short", "a number of two octets", "1500"),
            Self::Shorts(_) => ("shorts", "a list of numbers of two octets", "[296, 1500]"),
            Self::Seconds => ("duration", "a duration as text with its unit, or a number of seconds", "\"30m\""),
            Self::Offset => ("offset", "a number of seconds from -2147483648 to 2147483647", "3600"),
            Self::Address => ("address", "an IPv4 address", "\"192.0.2.1\""),
            Self::Addresses => ("addresses", "a list of IPv4 addresses, or one", "[\"192.0.2.1\", \"192.0.2.2\"]"),
            Self::Pairs => ("pairs", "a list of pairs of IPv4 addresses", "[[\"198.51.100.0\", \"192.0.2.1\"]]"),
            Self::Text => ("text", "text of 1 to 255 octets without control characters", "\"text\""),
            Self::DomainName => ("domain", "a domain name", "\"site.example\""),
            Self::DomainNames => ("domains", "a list of domain names, or one", "[\"a.example\", \"b.example\"]"),
            Self::Url => ("URL", "a URL", "\"https://portal.example/api\""),
            Self::Routes => ("routes", "a list of networks and the router to each", "[{ to = \"10.0.0.0/8\", via = \"192.0.2.1\" }]"),
            Self::SipServers => ("SIP servers", "a list of domain names or a list of IPv4 addresses", "[\"sip.site.example\"]"),
            Self::SubOptions => ("sub-options", "a table of sub-options and their octets", "{ 6 = \"hex:08\" }"),
            Self::VendorClasses => ("vendor classes", "a table of enterprise numbers and their octets", "{ 3561 = \"text:class\" }"),
            Self::VendorOptions => {
                ("vendor options", "a table of enterprise numbers and their sub-options", "{ 3561 = { 1 = \"text:value\" } }")
            }
        }
    }
}

const fn option(code: u8, name: &'static str, kind: Kind, defined_in: &'static str) -> KnownOption {
    KnownOption { code, name, kind, defined_in }
}

/// All of them, in the order of their numbers. The list in docs/configuration.md is the same, and a test holds it so.
pub const KNOWN: &[KnownOption] = &[
    option(2, "time-offset", Kind::Offset, "RFC 2132, 3.4"),
    option(3, "routers", Kind::Addresses, "RFC 2132, 3.5"),
    option(4, "time-servers", Kind::Addresses, "RFC 2132, 3.6"),
    option(5, "name-servers", Kind::Addresses, "RFC 2132, 3.7"),
    option(6, "domain-name-servers", Kind::Addresses, "RFC 2132, 3.8"),
    option(7, "log-servers", Kind::Addresses, "RFC 2132, 3.9"),
    option(8, "quotes-servers", Kind::Addresses, "RFC 2132, 3.10"),
    option(9, "lpr-servers", Kind::Addresses, "RFC 2132, 3.11"),
    option(10, "impress-servers", Kind::Addresses, "RFC 2132, 3.12"),
    option(11, "resource-location-servers", Kind::Addresses, "RFC 2132, 3.13"),
    option(13, "boot-file-size", Kind::Short(1, u16::MAX), "RFC 2132, 3.15"),
    option(14, "merit-dump-file", Kind::Text, "RFC 2132, 3.16"),
    option(15, "domain-name", Kind::DomainName, "RFC 2132, 3.17"),
    option(16, "swap-server", Kind::Address, "RFC 2132, 3.18"),
    option(17, "root-path", Kind::Text, "RFC 2132, 3.19"),
    option(18, "extensions-path", Kind::Text, "RFC 2132, 3.20"),
    option(19, "ip-forwarding", Kind::Flag, "RFC 2132, 4.1"),
    option(20, "non-local-source-routing", Kind::Flag, "RFC 2132, 4.2"),
    option(21, "policy-filter", Kind::Pairs, "RFC 2132, 4.3"),
    option(22, "max-dgram-reassembly", Kind::Short(576, u16::MAX), "RFC 2132, 4.4"),
    option(23, "default-ip-ttl", Kind::Octet(1, 255), "RFC 2132, 4.5"),
    option(24, "path-mtu-aging-timeout", Kind::Seconds, "RFC 2132, 4.6"),
    option(25, "path-mtu-plateau-table", Kind::Shorts(68), "RFC 2132, 4.7"),
    option(26, "interface-mtu", Kind::Short(68, u16::MAX), "RFC 2132, 5.1"),
    option(27, "all-subnets-local", Kind::Flag, "RFC 2132, 5.2"),
    option(29, "perform-mask-discovery", Kind::Flag, "RFC 2132, 5.4"),
    option(30, "mask-supplier", Kind::Flag, "RFC 2132, 5.5"),
    option(31, "router-discovery", Kind::Flag, "RFC 2132, 5.6"),
    option(32, "router-solicitation-address", Kind::Address, "RFC 2132, 5.7"),
    option(33, "static-routes", Kind::Pairs, "RFC 2132, 5.8"),
    option(34, "trailer-encapsulation", Kind::Flag, "RFC 2132, 6.1"),
    option(35, "arp-cache-timeout", Kind::Seconds, "RFC 2132, 6.2"),
    option(36, "ieee802-3-encapsulation", Kind::Flag, "RFC 2132, 6.3"),
    option(37, "default-tcp-ttl", Kind::Octet(1, 255), "RFC 2132, 7.1"),
    option(38, "tcp-keepalive-interval", Kind::Seconds, "RFC 2132, 7.2"),
    option(39, "tcp-keepalive-garbage", Kind::Flag, "RFC 2132, 7.3"),
    option(40, "nis-domain", Kind::Text, "RFC 2132, 8.1"),
    option(41, "nis-servers", Kind::Addresses, "RFC 2132, 8.2"),
    option(42, "ntp-servers", Kind::Addresses, "RFC 2132, 8.3"),
    option(43, "vendor-encapsulated", Kind::SubOptions, "RFC 2132, 8.4"),
    option(44, "netbios-name-servers", Kind::Addresses, "RFC 2132, 8.5"),
    option(45, "netbios-dd-servers", Kind::Addresses, "RFC 2132, 8.6"),
    option(46, "netbios-node-type", Kind::Octet(1, 8), "RFC 2132, 8.7"),
    option(47, "netbios-scope", Kind::Text, "RFC 2132, 8.8"),
    option(48, "font-servers", Kind::Addresses, "RFC 2132, 8.9"),
    option(49, "x-display-managers", Kind::Addresses, "RFC 2132, 8.10"),
    option(60, "vendor-class-identifier", Kind::Text, "RFC 2132, 9.13"),
    option(64, "nisplus-domain", Kind::Text, "RFC 2132, 8.11"),
    option(65, "nisplus-servers", Kind::Addresses, "RFC 2132, 8.12"),
    option(66, "tftp-server-name", Kind::Text, "RFC 2132, 9.4"),
    option(67, "boot-file-name", Kind::Text, "RFC 2132, 9.5"),
    option(68, "mobile-ip-home-agents", Kind::Addresses, "RFC 2132, 8.13"),
    option(69, "smtp-servers", Kind::Addresses, "RFC 2132, 8.14"),
    option(70, "pop-servers", Kind::Addresses, "RFC 2132, 8.15"),
    option(71, "nntp-servers", Kind::Addresses, "RFC 2132, 8.16"),
    option(72, "www-servers", Kind::Addresses, "RFC 2132, 8.17"),
    option(73, "finger-servers", Kind::Addresses, "RFC 2132, 8.18"),
    option(74, "irc-servers", Kind::Addresses, "RFC 2132, 8.19"),
    option(75, "streettalk-servers", Kind::Addresses, "RFC 2132, 8.20"),
    option(76, "stda-servers", Kind::Addresses, "RFC 2132, 8.21"),
    option(85, "nds-servers", Kind::Addresses, "RFC 2241, 2"),
    option(86, "nds-tree-name", Kind::Text, "RFC 2241, 3"),
    option(87, "nds-context", Kind::Text, "RFC 2241, 4"),
    option(88, "bcms-domain-names", Kind::DomainNames, "RFC 4280, 4.1"),
    option(89, "bcms-servers", Kind::Addresses, "RFC 4280, 4.3"),
    option(98, "uap-servers", Kind::Text, "RFC 2485"),
    option(100, "tz-posix", Kind::Text, "RFC 4833, 2"),
    option(101, "tz-database", Kind::Text, "RFC 4833, 2"),
    option(108, "ipv6-only-preferred", Kind::Seconds, "RFC 8925, 3.1"),
    option(112, "netinfo-servers", Kind::Addresses, "RFC 3679"),
    option(113, "netinfo-tag", Kind::Text, "RFC 3679"),
    option(114, "captive-portal", Kind::Url, "RFC 8910, 2.1"),
    option(116, "auto-configure", Kind::Flag, "RFC 2563, 2"),
    option(117, "name-service-search", Kind::Shorts(0), "RFC 2937"),
    option(119, "domain-search", Kind::DomainNames, "RFC 3397"),
    option(120, "sip-servers", Kind::SipServers, "RFC 3361"),
    option(121, "classless-static-routes", Kind::Routes, "RFC 3442"),
    option(124, "vendor-class", Kind::VendorClasses, "RFC 3925, 3"),
    option(125, "vendor-options", Kind::VendorOptions, "RFC 3925, 4"),
    option(136, "pana-agents", Kind::Addresses, "RFC 5192, 4"),
    option(138, "capwap-controllers", Kind::Addresses, "RFC 5417, 3"),
    option(141, "sip-ua-domains", Kind::DomainNames, "RFC 6011, 4.1"),
    option(150, "tftp-servers", Kind::Addresses, "RFC 5859"),
    option(209, "pxelinux-config-file", Kind::Text, "RFC 5071, 4"),
    option(210, "pxelinux-path-prefix", Kind::Text, "RFC 5071, 5"),
    option(211, "pxelinux-reboot-time", Kind::Seconds, "RFC 5071, 6"),
    option(249, "ms-classless-static-routes", Kind::Routes, "[MS-DHCPE], 2.2.8"),
    option(252, "wpad-url", Kind::Url, "draft-ietf-wrec-wpad-01, 4.4.1"),
];

/// Options that the server decides and what to do instead of setting them. `(0, ..)` and `(255, ..)` frame the others.
const DECIDED: &[(u8, &str, &str)] = &[
    (0, "pad", "it is no option"),
    (1, "subnet-mask", "it follows from the subnet's `network`"),
    (12, "host-name", "name a machine with `host_name` in its reservation"),
    (28, "broadcast-address", "it follows from the subnet's `network`"),
    (50, "requested-address", "clients send it; keep an address for a machine with a reservation"),
    (51, "lease-time", "set `lease_time`"),
    (52, "option-overload", "the server uses it where an answer would not fit"),
    (53, "message-type", "it is what the answer is"),
    (54, "server-identifier", "it is the `address` of the interface"),
    (55, "parameter-request-list", "clients send it; `always_send` sends what they do not list"),
    (56, "message", "the server says there why it refuses"),
    (57, "max-message-size", "clients send it"),
    (58, "renewal-time", "set `renewal_time`"),
    (59, "rebinding-time", "set `rebinding_time`"),
    (61, "client-identifier", "clients send it; `client_id` in a reservation knows a machine by it"),
    (80, "rapid-commit", "set `rapid_commit`"),
    (81, "client-fqdn", "the server answers what the client sends"),
    (82, "relay-agent-information", "relays send it; `circuit_id` in a reservation and `relay` in a class know a machine by its relay"),
    (93, "client-arch", "clients send it; `arch` in a class matches it"),
    (94, "client-network-interface", "clients send it"),
    (97, "client-uuid", "clients send it; `uuid` in a reservation knows a machine by it"),
    (118, "subnet-selection", "clients send it"),
    (175, "ipxe-encapsulated", "the box tells iPXE there whom to trust"),
    (crate::wire::private_option::TICKET, "boot-ticket", "the box hands the boot ticket on in it; take another of 226 to 254"),
    (crate::wire::private_option::BOOT_URL, "boot-url", "the box hands the cloud's URL on in it; take another of 226 to 254"),
    (255, "end", "it is no option"),
];

/// The option of this number.
#[must_use]
pub fn by_code(code: u8) -> Option<&'static KnownOption> {
    KNOWN.binary_search_by_key(&code, |known| known.code).ok().and_then(|place| KNOWN.get(place))
}

/// The option of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static KnownOption> {
    KNOWN.iter().find(|known| known.name == name)
}

/// What a person calls the option, those that the server decides among them: its name, or `option N`.
#[must_use]
pub fn name(code: u8) -> String {
    let decided = || DECIDED.iter().find(|(known, ..)| *known == code).map(|(_, name, _)| *name);
    by_code(code).map(|known| known.name).or_else(decided).map_or_else(|| format!("option {code}"), ToOwned::to_owned)
}

/// Why the configuration can't set the option, when it can't: number, name, and what to do instead.
pub(super) fn decided_by_the_server(key: &str) -> Option<(u8, &'static str, &'static str)> {
    let code = key.parse().ok();
    DECIDED.iter().copied().find(|(known, name, _)| Some(*known) == code || *name == key)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_option_stands_once_in_the_order_of_numbers() {
        assert!(KNOWN.is_sorted_by(|a, b| a.code < b.code) && DECIDED.is_sorted_by(|a, b| a.0 < b.0));
        assert!(KNOWN.iter().all(|known| DECIDED.iter().all(|(code, name, _)| *code != known.code && *name != known.name)));
        let names: HashSet<&str> = KNOWN.iter().map(|known| known.name).collect();
        assert_eq!(names.len(), KNOWN.len());
        assert!(names.iter().all(|name| name.parse::<u8>().is_err()));
    }

    #[test]
    fn names_are_those_of_the_registry_whoever_decides() {
        assert_eq!((name(26), name(1), name(230)), ("interface-mtu".to_owned(), "subnet-mask".to_owned(), "option 230".to_owned()));
    }
}
