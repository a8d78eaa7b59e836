//! Several files of one upload: a folder, or what somebody chose together.

use std::collections::BTreeSet;

use crate::model::UploadFile;

/// Files of one upload: their names go into one document.
const MOST: usize = 10_000;
/// Bytes of a path.
const PATH: usize = 1024;

/// Can these be one archive? The rules of each system are asked when the archive is looked at; these hold for all.
pub(super) fn check(files: &[UploadFile], size: u64) -> Result<(), String> {
    if files.is_empty() {
        return Ok(());
    }
    if files.len() > MOST {
        return Err(format!("{} files are more than {MOST}: pack them yourself, as a ZIP or a TAR.GZ", files.len()));
    }
    let sum = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size));
    if sum != Some(size) {
        return Err(format!("the sizes of the files are not {size} bytes together"));
    }
    let mut paths = BTreeSet::new();
    for file in files {
        let shown: String = file.path.chars().filter(|c| !c.is_control()).take(80).collect();
        if let Some(problem) = problem(&file.path) {
            return Err(format!("\"{shown}\" is no path of a file: {problem}"));
        }
        if !paths.insert(file.path.as_str()) {
            return Err(format!("there are two files \"{shown}\": rename one of them"));
        }
    }
    for path in &paths {
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        if let Some(file) = above.find(|above| paths.contains(above)) {
            return Err(format!("\"{file}\" cannot be a file and a directory with \"{path}\" in it"));
        }
    }
    Ok(())
}

fn problem(path: &str) -> Option<&'static str> {
    let wrong = |part: &str| part.is_empty() || part == "." || part == "..";
    match path {
        "" => Some("it is empty"),
        _ if path.len() > PATH => Some("it is too long"),
        _ if path.chars().any(char::is_control) => Some("it holds control characters"),
        _ if path.contains('\\') => Some("it holds a backslash"),
        _ if path.starts_with('/') => Some("it is absolute"),
        _ if path.split('/').any(wrong) => Some("it leads out of its directory, or has an empty part"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(files: &[(&str, u64)]) -> Result<(), String> {
        let files: Vec<UploadFile> =
            files.iter().map(|(path, size)| UploadFile { path: (*path).to_owned(), size: *size }).collect();
        check(&files, 10)
    }

    #[test]
    fn files_have_paths_that_stay_inside_and_are_there_once() {
        assert_eq!(checked(&[("a/b.txt", 4), ("a/c.txt", 6), ("empty", 0)]), Ok(()));
        assert_eq!(checked(&[]), Ok(()), "a file by itself");
        for (files, part) in [
            (&[("../etc/passwd", 10)][..], "leads out"),
            (&[("a/../../b", 10)], "leads out"),
            (&[("a//b", 10)], "empty part"),
            (&[("/etc/passwd", 10)], "absolute"),
            (&[("a\\b", 10)], "backslash"),
            (&[("a\nb", 10)], "control"),
            (&[("", 10)], "empty"),
            (&[("a", 4), ("a", 6)], "two files"),
            (&[("a", 4), ("a/b", 6)], "a file and a directory"),
            (&[("a", 4)], "not 10 bytes together"),
            (&[("a", u64::MAX), ("b", 11)], "not 10 bytes together"),
        ] {
            let error = checked(files).expect_err("refused");
            assert!(error.contains(part), "{files:?}: {error}");
        }
    }
}
