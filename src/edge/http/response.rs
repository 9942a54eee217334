use std::ops::Range;

use http::header::{ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, response};

use super::range::Selection;
use crate::edge::boot_files::{BootFile, BootFiles};

/// An answer, and what its body is made from.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status and fields.
    pub(super) head: Response<()>,
    /// The body.
    pub(super) content: Content,
}

/// The body of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// None, as for HEAD.
    None,
    /// A line for a person.
    Text(&'static str),
    /// These octets of a file.
    File(BootFile, Range<usize>),
}

/// Answers a request for `path`.
pub(super) fn answer(files: &BootFiles, method: &Method, path: &str, fields: &HeaderMap) -> Answer {
    let head_only = method == Method::HEAD;
    if !head_only && method != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are served\n", head_only, |head| head.header(ALLOW, "GET, HEAD"));
    }
    // The path is compared as it was written: no name needs an escape, so one that has any is not there.
    let Some(file) = files.look_up(path.as_bytes()) else {
        return text(StatusCode::NOT_FOUND, "There is no such boot file\n", head_only, |head| head);
    };
    let size = file.bytes().len();
    let etag = format!("\"{}\"", file.sha256());
    let same = fields.get(IF_RANGE).is_none_or(|known| known.as_bytes() == etag.as_bytes());
    let selection = match fields.get(RANGE) {
        // Range has a meaning for GET only (RFC 9110, section 14.2), and only for the file the client began with (section 13.1.5).
        Some(field) if !head_only && same => Selection::of(field.as_bytes(), size),
        _ => Selection::Whole,
    };
    let (status, octets, content_range) = match selection {
        Selection::Whole => (StatusCode::OK, 0..size, None),
        Selection::Part(part) => {
            let content_range = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
            (StatusCode::PARTIAL_CONTENT, part, Some(content_range))
        }
        Selection::Unsatisfiable => {
            return text(StatusCode::RANGE_NOT_SATISFIABLE, "The file is shorter than that\n", head_only, |head| {
                head.header(CONTENT_RANGE, format!("bytes */{size}"))
            });
        }
    };
    let mut head = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type(file.name()))
        .header(CONTENT_LENGTH, octets.len())
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, etag);
    if let Some(content_range) = content_range {
        head = head.header(CONTENT_RANGE, content_range);
    }
    finish(head, if head_only { Content::None } else { Content::File(file, octets) })
}

fn text(status: StatusCode, line: &'static str, head_only: bool, more: impl FnOnce(response::Builder) -> response::Builder) -> Answer {
    let head = Response::builder().status(status).header(CONTENT_TYPE, "text/plain; charset=utf-8").header(CONTENT_LENGTH, line.len());
    finish(more(head), if head_only { Content::None } else { Content::Text(line) })
}

fn finish(head: response::Builder, content: Content) -> Answer {
    let head = head.body(()).unwrap_or_else(|_| {
        // A field that can't be written; none of ours can be such.
        let mut broken = Response::new(());
        *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        broken.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        broken
    });
    if head.status() == StatusCode::INTERNAL_SERVER_ERROR { Answer { head, content: Content::None } } else { Answer { head, content } }
}

/// UEFI 2.10, section 24.7.3.1: firmware takes `application/efi` for a program, whatever the name.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("efi") => "application/efi",
        Some("ipxe") => "text/plain; charset=utf-8",
        Some("iso") => "application/vnd.efi-iso",
        Some("img") => "application/vnd.efi-img",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::{Answer, Content, answer};
    use crate::edge::boot_files::{BootFile, BootFiles};

    fn ask(method: &Method, path: &str, fields: &[(&'static str, &str)]) -> Answer {
        let files = BootFiles::new([
            BootFile::new("snponly.efi", "0123456789").unwrap(),
            BootFile::new("autoexec.ipxe", "#!ipxe\n").unwrap(),
            BootFile::new("undionly.kpxe", "").unwrap(),
        ]);
        let fields: HeaderMap = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        answer(&files, method, path, &fields)
    }

    fn shown(answer: &Answer) -> String {
        let field = |name| answer.head.headers().get(name).map_or("-", |value| value.to_str().unwrap());
        let content = match &answer.content {
            Content::None => "nothing".to_owned(),
            Content::Text(_) => "text".to_owned(),
            Content::File(file, octets) => String::from_utf8_lossy(&file.bytes()[octets.clone()]).into_owned(),
        };
        format!("{} {} {} [{}]", answer.head.status().as_u16(), field("content-length"), field("content-range"), content)
    }

    #[test]
    fn rfc9110_9_3_2_head_has_the_fields_of_get_and_no_body() {
        let get = ask(&Method::GET, "/snponly.efi", &[]);
        let head = ask(&Method::HEAD, "/snponly.efi", &[("range", "bytes=0-1")]);
        assert_eq!((shown(&get).as_str(), shown(&head).as_str()), ("200 10 - [0123456789]", "200 10 - [nothing]"));
        assert_eq!(get.head.headers(), head.head.headers());
    }

    #[test]
    fn rfc9110_15_3_7_a_range_is_answered_with_206() {
        assert_eq!(shown(&ask(&Method::GET, "/snponly.efi", &[("range", "bytes=2-4")])), "206 3 bytes 2-4/10 [234]");
        assert_eq!(shown(&ask(&Method::GET, "/snponly.efi", &[("range", "bytes=-3")])), "206 3 bytes 7-9/10 [789]");
    }

    #[test]
    fn rfc9110_15_5_17_a_range_past_the_end_is_answered_with_416_and_the_size() {
        assert_eq!(shown(&ask(&Method::GET, "/snponly.efi", &[("range", "bytes=10-")])), "416 30 bytes */10 [text]");
        assert_eq!(shown(&ask(&Method::GET, "/undionly.kpxe", &[("range", "bytes=0-")])), "416 30 bytes */0 [text]");
    }

    #[test]
    fn rfc9110_13_1_5_a_range_of_another_version_gets_the_whole_file() {
        let etag = ask(&Method::GET, "/snponly.efi", &[]).head.headers()["etag"].to_str().unwrap().to_owned();
        for (known, status) in [(etag.as_str(), 206), ("\"other\"", 200), ("Sat, 29 Oct 1994 19:43:31 GMT", 200)] {
            assert_eq!(ask(&Method::GET, "/snponly.efi", &[("range", "bytes=2-4"), ("if-range", known)]).head.status(), status);
        }
    }

    #[test]
    fn uefi_24_7_3_1_the_type_says_what_firmware_can_run() {
        for (path, expected) in [
            ("/snponly.efi", "application/efi"),
            ("/autoexec.ipxe", "text/plain; charset=utf-8"),
            ("/undionly.kpxe", "application/octet-stream"),
        ] {
            assert_eq!(ask(&Method::GET, path, &[]).head.headers()["content-type"], expected);
        }
    }

    #[test]
    fn what_is_not_a_boot_file_is_not_there() {
        for path in ["/", "", "/nosuch", "/../snponly.efi", "//snponly.efi", "/snponly.efi/", "/%73nponly.efi", "/etc/passwd", "*"] {
            assert_eq!(shown(&ask(&Method::GET, path, &[])), "404 27 - [text]", "{path}");
        }
        assert_eq!(shown(&ask(&Method::HEAD, "/nosuch", &[])), "404 27 - [nothing]");
    }

    #[test]
    fn rfc9110_15_5_6_other_methods_are_refused_with_those_that_are_allowed() {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::CONNECT, Method::TRACE, Method::OPTIONS] {
            let answer = ask(&method, "/snponly.efi", &[]);
            assert_eq!((shown(&answer).as_str(), &answer.head.headers()["allow"]), ("405 29 - [text]", &"GET, HEAD".parse().unwrap()));
        }
    }
}
