use super::number::Number;
use super::{Scalar, Style};

/// What a scalar means, as Go's YAML package decides it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resolved {
    /// Nothing.
    Null,
    /// True or false. `yes` and `no` are strings until somebody wants a boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A date or time.
    Timestamp,
    /// Anything else.
    String,
}

/// `tag` is an explicit one, as written.
pub(super) fn resolve(scalar: &Scalar, tag: Option<&str>) -> Resolved {
    match tag {
        Some("!!str" | "!" | "!!binary") => return Resolved::String,
        Some("!!null") => return Resolved::Null,
        Some("!!int" | "!!float" | "!!bool" | "!!timestamp") | None => {}
        Some(_) => return Resolved::String,
    }
    if scalar.style() != Style::Plain && tag.is_none() {
        return Resolved::String;
    }
    plain(scalar.value())
}

fn plain(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "true" | "True" | "TRUE" => Resolved::Bool(true),
        "false" | "False" | "FALSE" => Resolved::Bool(false),
        _ => match Number::read(text) {
            Some(number) => Resolved::Number(number),
            None if is_timestamp(text) => Resolved::Timestamp,
            None => Resolved::String,
        },
    }
}

/// `2001-12-14`, alone or with a time behind it.
fn is_timestamp(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let Some((year, rest)) = text.split_at_checked(digits).filter(|_| digits == 4) else { return false };
    let mut parts = rest.splitn(3, '-');
    let (Some(""), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let day_digits = day.bytes().take_while(u8::is_ascii_digit).count();
    let Some((day, time)) = day.split_at_checked(day_digits) else { return false };
    let number = |text: &str, most: u8| text.len() <= 2 && text.parse::<u8>().is_ok_and(|number| (1..=most).contains(&number));
    let good_time = time.is_empty()
        || time.strip_prefix(['T', 't', ' ']).is_some_and(|time| {
            time.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
                && time.contains(':')
                && time.bytes().all(|byte| byte.is_ascii_digit() || b":.+-Zz ".contains(&byte))
        });
    year.parse::<u16>().is_ok() && number(month, 12) && number(day, 31) && good_time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_they_mean_to_go() {
        assert_eq!(plain("no"), Resolved::String);
        assert_eq!(plain("True"), Resolved::Bool(true));
        assert_eq!(plain("~"), Resolved::Null);
        assert_eq!(plain("2001-12-14"), Resolved::Timestamp);
        assert_eq!(plain("2001-12-14T21:59:43.10-05:00"), Resolved::Timestamp);
        assert_eq!(plain("2001-13-14"), Resolved::String);
        assert_eq!(plain("v1.2"), Resolved::String);
    }

    #[test]
    fn quotes_and_tags_decide() {
        assert_eq!(resolve(&Scalar::quoted("5"), None), Resolved::String);
        assert_eq!(resolve(&Scalar::plain("5"), Some("!!str")), Resolved::String);
        assert_eq!(resolve(&Scalar::quoted("5"), Some("!!int")), Resolved::Number(Number::Integer(5)));
    }
}
