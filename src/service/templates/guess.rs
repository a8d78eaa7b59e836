//! What a file's name tells of what is in it.

use super::built_in;

/// A name and a version as a file's name has them: `firefox-esr_128.0.deb` is `firefox-esr` and `128.0`.
pub fn guess_name(file: &str) -> (String, String) {
    let mut stem = file;
    let ends = built_in().iter().flat_map(|template| &template.ends).map(String::as_str);
    let ends = ends.filter(|end| end.starts_with('.')).chain([".zip", ".tar.gz", ".tgz"]);
    for end in ends {
        let at = stem.len().saturating_sub(end.len());
        if at > 0 && stem.is_char_boundary(at) && stem[at..].eq_ignore_ascii_case(end) {
            stem = &stem[..at];
            break;
        }
    }
    let is_break = |c: char| matches!(c, '-' | '_' | ' ');
    let begins_version = |rest: &str| {
        rest.trim_start_matches(['v', 'V']).starts_with(|c: char| c.is_ascii_digit())
            && rest.contains(|c: char| c.is_ascii_digit())
    };
    for (at, _) in stem.char_indices().filter(|(_, c)| is_break(*c)) {
        let rest = &stem[at + 1..];
        if at > 0 && begins_version(rest) {
            let version = rest.split(is_break).next().unwrap_or_default();
            return (stem[..at].to_owned(), version.trim_start_matches(['v', 'V']).to_owned());
        }
    }
    (stem.to_owned(), String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_has_a_name_and_a_version() {
        for (file, name, version) in [
            ("htop_3.2.2-2_amd64.deb", "htop", "3.2.2"),
            ("Firefox Setup 128.0esr.msi", "Firefox Setup", "128.0esr"),
            ("tool-v2.tar.gz", "tool", "2"),
            ("7z2301-x64.exe", "7z2301-x64", ""),
            ("setup.exe", "setup", ""),
            ("dripfeed-agent", "dripfeed-agent", ""),
        ] {
            assert_eq!(guess_name(file), (name.to_owned(), version.to_owned()), "{file}");
        }
    }
}
