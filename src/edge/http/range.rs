use std::ops::Range;

/// What the `Range` field of a request comes to for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// No range, or one that a server may ignore: all of it (RFC 9110, section 14.2).
    Whole,
    /// These octets.
    Part(Range<usize>),
    /// Nothing of what was asked is there: 416 (RFC 9110, section 15.5.17).
    Unsatisfiable,
}

impl Selection {
    /// Reads the `Range` field for a file of `size` octets.
    ///
    /// Other units, lists of ranges and what can't be read are ignored, as RFC 9110 allows: the client gets the whole file and sees that from the 200.
    pub(super) fn of(field: &[u8], size: usize) -> Self {
        Self::parse(field, size).unwrap_or(Self::Whole)
    }

    fn parse(field: &[u8], size: usize) -> Option<Self> {
        let field = std::str::from_utf8(field).ok()?;
        let (unit, range) = field.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        let selected = if first.is_empty() {
            size.saturating_sub(number(last)?)..size
        } else {
            let first = number(first)?;
            let last = if last.is_empty() { usize::MAX } else { number(last)? };
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        };
        Some(if selected.is_empty() { Self::Unsatisfiable } else { Self::Part(selected) })
    }
}

/// Digits and nothing else; a number past what is counted here stands as the largest.
fn number(text: &str) -> Option<usize> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::Selection::{self, Part, Unsatisfiable, Whole};

    #[test]
    fn rfc9110_14_1_2_byte_ranges() {
        for (field, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-99", Part(0..100)),
            ("bytes=10-19", Part(10..20)),
            ("Bytes=90-", Part(90..100)),
            ("bytes=90-1000", Part(90..100)),
            ("bytes=90-99999999999999999999999", Part(90..100)),
            ("bytes=-1", Part(99..100)),
            ("bytes=-1000", Part(0..100)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
        ] {
            assert_eq!(Selection::of(field.as_bytes(), 100), expected, "{field}");
        }
    }

    #[test]
    fn rfc9110_14_2_a_range_that_cannot_be_read_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=0-1,5-6",
            "lines=0-1",
            "bytes=--1",
            "bytes=1-2-3",
        ] {
            assert_eq!(Selection::of(field.as_bytes(), 100), Whole, "{field}");
        }
        assert_eq!(Selection::of(b"bytes=\xff-", 100), Whole);
    }

    #[test]
    fn rfc9110_14_1_2_nothing_of_an_empty_file_can_be_selected() {
        for field in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(Selection::of(field.as_bytes(), 0), Unsatisfiable);
        }
    }
}
