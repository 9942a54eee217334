//! Numbers as Go's YAML package reads them, which is YAML 1.1 in part: `0600` is octal.

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number that fits 64 bits, signed or not.
    Integer(i128),
    /// Any other.
    Float(f64),
}

impl Number {
    /// Reads a plain scalar; none where it is no number.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text {
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Self::Float(f64::INFINITY)),
            "-.inf" | "-.Inf" | "-.INF" => return Some(Self::Float(f64::NEG_INFINITY)),
            ".nan" | ".NaN" | ".NAN" => return Some(Self::Float(f64::NAN)),
            _ => {}
        }
        if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
            return None;
        }
        let plain = text.replace('_', "");
        integer(&plain).map(Self::Integer).or_else(|| float(&plain).map(Self::Float))
    }
}

/// As Go's `strconv.ParseInt` with base 0: a sign, then `0x`, `0o`, `0b` or a leading zero for octal.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        Some(start) if start.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // A second sign would be taken by the parser of the standard library.
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { value.checked_neg()? } else { value };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at)?, unsigned.get(at.checked_add(1)?..)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let good_mantissa =
        digits(whole) && fraction.is_none_or(digits) && (!whole.is_empty() || fraction.is_some_and(|part| !part.is_empty()));
    let good_exponent = exponent.is_none_or(|text| {
        let text = text.strip_prefix(['-', '+']).unwrap_or(text);
        !text.is_empty() && digits(text)
    });
    if good_mantissa && good_exponent { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::Number;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let cases = [
            ("0600", Some(Number::Integer(384))),
            ("0o600", Some(Number::Integer(384))),
            ("0x1F", Some(Number::Integer(31))),
            ("0b101", Some(Number::Integer(5))),
            ("1_000", Some(Number::Integer(1000))),
            ("-7", Some(Number::Integer(-7))),
            ("+7", Some(Number::Integer(7))),
            ("0", Some(Number::Integer(0))),
            ("18446744073709551615", Some(Number::Integer(i128::from(u64::MAX)))),
            ("18446744073709551616", Some(Number::Float(18_446_744_073_709_551_616.0))),
            ("1e3", Some(Number::Float(1000.0))),
            (".5", Some(Number::Float(0.5))),
            ("5.", Some(Number::Float(5.0))),
            ("0900", Some(Number::Float(900.0))),
            ("1.2.3", None),
            ("10.0.0.0/8", None),
            ("-", None),
            (".", None),
            ("+-5", None),
            ("e3", None),
            ("infinity", None),
            ("12:30", None),
        ];
        for (text, number) in cases {
            assert_eq!(Number::read(text), number, "{text}");
        }
    }
}
