//! Which mirror this machine takes its packages from: both formats of apt's own source lists, sources.list(5).

use std::fs;
use std::path::Path;

/// Names that stand for a release of Debian in a source, as opposed to those of its relatives and of third parties.
const DEBIAN_SUITES: [&str; 17] = [
    "unstable",
    "testing",
    "stable",
    "oldstable",
    "oldoldstable",
    "experimental",
    "sid",
    "forky",
    "trixie",
    "bookworm",
    "bullseye",
    "buster",
    "duke",
    "rc-buggy",
    "stretch",
    "jessie",
    "wheezy",
];

/// The URI of the Debian archive in the sources below `etc_apt` (normally `/etc/apt`), if they name one.
///
/// A mirror of the security archive has none of the packages asked for here, so it is passed over, as are disabled sources.
pub(super) fn mirror(etc_apt: &Path) -> Option<String> {
    let main_list = etc_apt.join("sources.list");
    let mut files: Vec<_> =
        fs::read_dir(etc_apt.join("sources.list.d")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.insert(0, main_list);
    files.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        match path.extension()?.to_str()? {
            "list" => from_one_line_format(&text),
            "sources" => from_deb822_format(&text),
            // Other endings are disabled sources and editors' leftovers; apt ignores them too.
            _ => None,
        }
    })
}

/// `deb [options] URI suite component...`, one source a line.
fn from_one_line_format(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let rest = line.trim().strip_prefix("deb")?;
        // Not `deb-src`.
        let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_ascii_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        is_debian_archive(uri, suite, words).then(|| uri.to_owned())
    })
}

/// Paragraphs of `Key: value` with continuation lines.
fn from_deb822_format(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).find_map(|paragraph| {
        let field = |name: &str| deb822_field(paragraph, name);
        if field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"))
            || !field("Types")?.split_ascii_whitespace().any(|word| word == "deb")
        {
            return None;
        }
        let (uris, suites, components) = (field("URIs")?, field("Suites")?, field("Components").unwrap_or_default());
        uris.split_ascii_whitespace()
            .find(|uri| suites.split_ascii_whitespace().any(|suite| is_debian_archive(uri, suite, components.split_ascii_whitespace())))
            .map(str::to_owned)
    })
}

fn deb822_field(paragraph: &[&str], name: &str) -> Option<String> {
    let mut lines = paragraph.iter().skip_while(|line| line.split_once(':').is_none_or(|(key, _)| !key.eq_ignore_ascii_case(name)));
    let mut value = lines.next()?.split_once(':')?.1.trim().to_owned();
    for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        value.push(' ');
        value.push_str(line.trim());
    }
    Some(value)
}

fn is_debian_archive<'a>(uri: &str, suite: &str, mut components: impl Iterator<Item = &'a str>) -> bool {
    let transport = ["http://", "https://", "ftp://", "file:", "copy:", "mirror+"].iter().any(|scheme| uri.starts_with(scheme));
    let release = suite.split(['-', '/']).next().unwrap_or_default();
    let security = suite.ends_with("-security") || suite.contains("/updates") || uri.contains("debian-security");
    transport && !security && DEBIAN_SUITES.contains(&release) && components.any(|component| component == "main")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deb822_sources_name_the_mirror() {
        let text = "Types: deb\n# a comment inside\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n";
        assert_eq!(from_deb822_format(text).as_deref(), Some("http://mirror.example/debian"));
    }

    #[test]
    fn deb822_fields_may_go_on_in_the_next_line_and_in_any_case() {
        let text = "types: deb deb-src\nuris:\n https://a.example/debian\n https://b.example/debian\nsuites:\n trixie\ncomponents: main\n";
        assert_eq!(from_deb822_format(text).as_deref(), Some("https://a.example/debian"));
    }

    #[test]
    fn one_line_sources_name_the_mirror_with_and_without_options() {
        assert_eq!(from_one_line_format("deb http://a.example/debian bookworm main\n").as_deref(), Some("http://a.example/debian"));
        let options = "# deb http://old.example/debian sid main\ndeb [arch=amd64 signed-by=/k.gpg] https://b.example/debian trixie main contrib # ours\n";
        assert_eq!(from_one_line_format(options).as_deref(), Some("https://b.example/debian"));
    }

    #[test]
    fn security_archives_third_parties_and_disabled_sources_are_passed_over() {
        for text in [
            "deb http://security.example/debian-security bookworm-security main",
            "deb https://packages.example/apt cloud-sdk-bookworm main",
            "deb-src http://a.example/debian bookworm main",
            "deb http://archive.ubuntu.example/ubuntu noble main",
            "deb http://a.example/debian bookworm contrib",
            "deb cdrom:[Debian]/ bookworm main",
            "deb",
            "deb [broken http://a.example/debian bookworm main",
        ] {
            assert_eq!(from_one_line_format(text), None, "{text}");
        }
        let disabled = "Enabled: no\nTypes: deb\nURIs: http://a.example/debian\nSuites: sid\nComponents: main\n";
        assert_eq!(from_deb822_format(disabled), None);
        let node = "Types: deb\nURIs: https://deb.example/node_20.x\nSuites: nodistro\nComponents: main\n";
        assert_eq!(from_deb822_format(node), None);
    }

    #[test]
    fn the_first_file_that_names_an_archive_wins() {
        let folder = std::env::temp_dir().join(format!("fairlead-apt-{}", std::process::id()));
        fs::create_dir_all(folder.join("sources.list.d")).unwrap();
        assert_eq!(mirror(&folder), None);
        fs::write(folder.join("sources.list"), "# moved to sources.list.d\n").unwrap();
        fs::write(folder.join("sources.list.d/a.list.disabled"), "deb http://no.example/debian sid main\n").unwrap();
        fs::write(folder.join("sources.list.d/z.sources"), "Types: deb\nURIs: http://z.example/debian\nSuites: sid\nComponents: main\n")
            .unwrap();
        assert_eq!(mirror(&folder).as_deref(), Some("http://z.example/debian"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
