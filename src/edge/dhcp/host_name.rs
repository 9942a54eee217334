//! The names of machines: option 12, and option 81 (RFC 4702).

use super::explain::Source;
use super::levels::Levels;
use super::message::Request;
use super::option;
use super::reply::Reply;

/// Flags of option 81 (RFC 4702, section 2.1).
const SERVER_UPDATES: u8 = 1;
const OVERRIDDEN: u8 = 2;
const CANONICAL: u8 = 4;
const NO_UPDATES: u8 = 8;

/// The response codes, which have had no meaning since RFC 4702 (section 2.2) and are to be 255.
const OBSOLETE_CODE: u8 = 255;

/// The host name that is kept for the client, or that the configuration gives as option 12.
pub(super) fn put_host_name<'a>(reply: &mut Reply<'a>, levels: &Levels<'a>) {
    if let Some((name, source)) = host_name(levels) {
        reply.put(option::HOST_NAME, name.as_bytes(), source);
    }
}

fn host_name<'a>(levels: &Levels<'a>) -> Option<(&'a str, Source)> {
    let name = levels.reservation?.host_name.as_ref()?;
    Some((name.value.as_str(), Source::Configured(super::explain::Level::Reservation, name.origin)))
}

/// Answers option 81: nobody updates the DNS here, neither for the client nor in its place (section 4). A client that sent none
/// must get none.
pub(super) fn put_fqdn<'a>(reply: &mut Reply<'a>, request: &'a Request<'_>, levels: &Levels<'a>) {
    let Some([flags, _, _, name @ ..]) = request.option(option::CLIENT_FQDN) else { return };
    // What the client wanted of us is not done: `S` is clear in the answer, and `O` tells when that is another than it sent.
    let overridden = if flags & SERVER_UPDATES == 0 { 0 } else { OVERRIDDEN };
    let mut value = vec![NO_UPDATES | overridden | (flags & CANONICAL), OBSOLETE_CODE, OBSOLETE_CODE];
    match host_name(levels) {
        // The name that is kept for it, whatever it calls itself.
        Some((host, _)) => {
            let domain = levels.option(option::DOMAIN_NAME).and_then(|(_, domain)| std::str::from_utf8(&domain.octets).ok());
            let labels = host.split('.').chain(domain.into_iter().filter(|_| !host.contains('.')).flat_map(|domain| domain.split('.')));
            if flags & CANONICAL == 0 {
                value.extend_from_slice(labels.collect::<Vec<_>>().join(".").as_bytes());
            } else {
                for label in labels.filter(|label| !label.is_empty()) {
                    // Labels of configured names have at most 63 octets.
                    value.push(u8::try_from(label.len()).unwrap_or_default());
                    value.extend_from_slice(label.as_bytes());
                }
                value.push(0);
            }
        }
        None => value.extend_from_slice(name),
    }
    reply.put(option::CLIENT_FQDN, value, Source::Protocol);
}
