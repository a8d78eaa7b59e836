//! Is every byte of the tree still the byte that was built?

use std::io::{self, Read};

use super::App;
use crate::archive::SplitFragment;
use crate::model::{DigestAlgorithm, Hasher, Package, PackageId, TreeKey};
use crate::protocol::Info;
use crate::store::{StoreError, packages};

/// What is wrong with a package's tree; empty is "nothing".
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// Which package.
    pub package: PackageId,
    /// Files that were read.
    pub files: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// One sentence each.
    pub problems: Vec<String>,
}

/// Reads every file of a package again and compares it with what the database says was built.
pub fn package(app: &App, package: &Package, progress: &mut dyn FnMut(u64)) -> Result<Verified, StoreError> {
    let id = package.id;
    let fragments = app.store.read_now(move |conn| packages::fragments(conn, id))?;
    let mut verified = Verified { package: id, files: 0, bytes: 0, problems: Vec::new() };
    match read_info(app, id) {
        Ok(info) => {
            verified.files += 1;
            let says = (info.package, info.fragments, info.digest, &info.action);
            if says != (id, package.fragments, package.md5, &package.action) {
                verified.problems.push(format!("{id}/info is not the info file that was built"));
            }
        }
        Err(problem) => verified.problems.push(format!("{id}/info: {problem}")),
    }
    if fragments.len() != package.fragments.0 as usize {
        verified.problems.push(format!("the database lists {} of {} fragments", fragments.len(), package.fragments));
    }
    for fragment in &fragments {
        let key = TreeKey::Fragment { package: id, number: fragment.number };
        match check(app, key, fragment, &mut |bytes| {
            verified.bytes += bytes;
            progress(verified.bytes);
        }) {
            Ok(true) => verified.files += 1,
            Ok(false) => verified.problems.push(format!(
                "{key} is not the fragment that was built: restore it from a back-up or build the package again"
            )),
            Err(error) => verified.problems.push(format!("{key}: {error}")),
        }
    }
    Ok(verified)
}

fn read_info(app: &App, package: PackageId) -> Result<Info, String> {
    let mut text = Vec::new();
    let file = app.tree.open_file(TreeKey::Info { package }).map_err(|error| error.to_string())?;
    file.take(1 << 20).read_to_end(&mut text).map_err(|error| error.to_string())?;
    Info::parse(&text).map_err(|error| error.to_string())
}

fn check(app: &App, key: TreeKey, fragment: &SplitFragment, count: &mut dyn FnMut(u64)) -> io::Result<bool> {
    let mut file = app.tree.open_file(key)?;
    let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        size += n as u64;
        count(n as u64);
    }
    Ok(size == fragment.size && hasher.finish() == fragment.sha256)
}
