//! URLs, which Talos merges part by part.

#[derive(Default)]
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    query: &'a str,
    fragment: &'a str,
}

/// The parts that `new` has, and those of `old` that it has not. None where Talos' merge fails, which is when both have a user.
pub(super) fn merge(old: &str, new: &str) -> Option<String> {
    let (old, new) = (parts(old), parts(new));
    if old.user.is_some() && new.user.is_some() {
        return None;
    }
    let either = |new: &'_ str, old: &'_ str| if new.is_empty() { old.to_owned() } else { new.to_owned() };
    let mut url = either(new.scheme, old.scheme);
    if !url.is_empty() {
        url.push_str("://");
    }
    if let Some(user) = new.user.or(old.user) {
        url.push_str(user);
        url.push('@');
    }
    url.push_str(&either(new.host, old.host));
    url.push_str(&either(new.path, old.path));
    for (mark, text) in [('?', either(new.query, old.query)), ('#', either(new.fragment, old.fragment))] {
        if !text.is_empty() {
            url.push(mark);
            url.push_str(&text);
        }
    }
    Some(url)
}

fn parts(url: &str) -> Parts<'_> {
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let Some((scheme, rest)) = rest.split_once("://") else {
        return Parts { path: rest, query, fragment, ..Parts::default() };
    };
    let (authority, path) = rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    Parts { scheme, user, host, path, query, fragment }
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn parts_that_are_not_there_stay_as_they_were() {
        assert_eq!(merge("https://a:6443/x?q=1", "https://b:6443").as_deref(), Some("https://b:6443/x?q=1"));
        assert_eq!(merge("https://a:6443", "http://[::1]:80/y#z").as_deref(), Some("http://[::1]:80/y#z"));
        assert_eq!(merge("https://u@a", "https://v@b"), None);
        assert_eq!(merge("https://u@a", "https://b").as_deref(), Some("https://u@b"));
    }
}
