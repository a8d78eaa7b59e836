//! Looks into uploads while their package is still being described: what is inside, and what the build will say to it.
//!
//! A look is made once for an upload and a system, in the background, and remembered for a while: large archives take
//! their time, and a page asks often.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::App;
use super::contents::{Contents, Looked, Member};
use super::publish::{is_archive_name, summary_of};
use crate::disk::PositionedReader;
use crate::disk::uploads::Uploads;
use crate::model::{DigestAlgorithm, Hasher, OsFamily, Upload, UploadFile, UploadId};

/// Looks that are remembered.
const REMEMBERED: usize = 32;

/// What is known of an upload.
#[derive(Clone, Debug)]
pub enum Seen {
    /// It is being read: so many of so many bytes.
    Reading(u64, u64),
    /// This is inside.
    Found(Arc<Looked>),
    /// No package can be made of it; the sentence says why.
    Refused(String),
}

#[derive(Debug)]
struct Look {
    seen: Mutex<Seen>,
    changed: Condvar,
}

type Remembered = VecDeque<((UploadId, OsFamily), Arc<Look>)>;

/// The looks of a server.
#[derive(Clone, Debug, Default)]
pub struct Looks(Arc<Mutex<Remembered>>);

impl Look {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, seen: Seen) {
        *self.seen() = seen;
        self.changed.notify_all();
    }
}

impl Looks {
    /// What is known of a complete upload, as a package for that system. Waits so long at most if it is being read.
    pub fn at(&self, app: &App, upload: &Upload, os: OsFamily, patience: Duration) -> Seen {
        let key = (upload.id.clone(), os);
        let look = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, look)) = known.iter().find(|(one, _)| *one == key) {
                Arc::clone(look)
            } else {
                let look = Arc::new(Look { seen: Mutex::new(Seen::Reading(0, upload.size)), changed: Condvar::new() });
                known.push_back((key, Arc::clone(&look)));
                while known.len() > REMEMBERED {
                    known.pop_front();
                }
                let (telling, app, upload) = (Arc::clone(&look), app.clone(), upload.clone());
                std::thread::spawn(move || {
                    let seen = look_at(&app, &upload, os, &|done| {
                        *telling.seen() = Seen::Reading(done.min(upload.size), upload.size);
                    });
                    telling.tell(seen);
                });
                look
            }
        };
        let end = Instant::now() + patience;
        let mut seen = look.seen();
        while matches!(*seen, Seen::Reading(..)) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            seen = look.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        seen.clone()
    }
}

fn look_at(app: &App, upload: &Upload, os: OsFamily, told: &(dyn Fn(u64) + Sync)) -> Seen {
    let refused = |error: &dyn std::fmt::Display| Seen::Refused(error.to_string());
    if upload.files.is_empty() && !is_archive_name(&upload.name) {
        let sha256 = upload.sha256.map(|digest| digest.to_string()).unwrap_or_default();
        let member = Member { path: upload.name.clone(), size: upload.size, sha256, link: None };
        return found(app, os, vec![member]);
    }
    let file = match Uploads::of(&app.tree).read(&upload.id) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Seen::Refused("the upload is gone".to_owned()),
        Err(error) => return refused(&error),
    };
    if !upload.files.is_empty() {
        return match several(&file, &upload.files, told) {
            Ok(members) => found(app, os, members),
            Err(error) => refused(&error),
        };
    }
    match Contents::look(PositionedReader::new(&file), upload.size, os, &app.archive_limits, told) {
        Ok(looked) => Seen::Found(Arc::new(looked)),
        Err(error) => refused(&error),
    }
}

/// Files that are no archive yet, as the build will pack them.
fn found(app: &App, os: OsFamily, members: Vec<Member>) -> Seen {
    match summary_of(os, members.iter().map(|member| member.path.as_str()), app) {
        Ok(found) => {
            let contents = Contents { zip: os == OsFamily::Windows, members, omitted: 0 };
            Seen::Found(Arc::new((found, contents)))
        }
        Err(error) => Seen::Refused(error.to_string()),
    }
}

/// The files of an upload, hashed: they lie in it one behind the other.
fn several(file: &File, files: &[UploadFile], told: &(dyn Fn(u64) + Sync)) -> io::Result<Vec<Member>> {
    let mut reader = PositionedReader::new(file);
    let (mut buffer, mut done) = (vec![0; 256 << 10], 0);
    let mut members = Vec::with_capacity(files.len());
    for UploadFile { path, size } in files {
        let mut hasher = Hasher::new(DigestAlgorithm::Sha256);
        let mut rest = (&mut reader).take(*size);
        loop {
            let n = rest.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            done += n as u64;
            told(done);
        }
        members.push(Member { path: path.clone(), size: *size, sha256: hasher.finish().to_string(), link: None });
    }
    Ok(members)
}
