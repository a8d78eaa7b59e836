//! Replies in their containers, kept. Most computers are told what others are told: nothing, or the packages of their group;
//! and to pack a reply costs more than to decide what is in it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::protocol::envelope::{self, Container};

/// Replies that are kept, each in a place that its text chooses.
const PLACES: usize = 64;
/// Bytes of a text that is kept: some 150 offers.
const LARGEST: usize = 32 << 10;

/// What was packed lately.
#[derive(Debug)]
pub(super) struct Sealed([Mutex<Option<Kept>>; PLACES]);

#[derive(Debug)]
struct Kept {
    container: Container,
    xml: String,
    body: Bytes,
}

impl Default for Sealed {
    fn default() -> Self {
        Self([const { Mutex::new(None) }; PLACES])
    }
}

impl Sealed {
    /// The text in that container.
    pub(super) fn seal(&self, container: Container, xml: String) -> Bytes {
        if xml.len() > LARGEST {
            return envelope::seal(container, &xml).into();
        }
        let place = self.place(container, &xml);
        let kept = |kept: &Kept| kept.container == container && kept.xml == xml;
        if let Some(kept) = place.lock().unwrap_or_else(PoisonError::into_inner).as_ref().filter(|it| kept(it)) {
            return kept.body.clone();
        }
        let body = Bytes::from(envelope::seal(container, &xml));
        let new = Kept { container, xml, body: body.clone() };
        let before = place.lock().unwrap_or_else(PoisonError::into_inner).replace(new);
        drop(before); // outside the lock
        body
    }

    fn place(&self, container: Container, xml: &str) -> &Mutex<Option<Kept>> {
        let mut hasher = DefaultHasher::new();
        (container, xml).hash(&mut hasher);
        let number = usize::try_from(hasher.finish() % PLACES as u64).unwrap_or_default();
        &self.0[number]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Container; 3] = [Container::Zlib, Container::Gzip, Container::Plain];

    #[test]
    fn each_text_comes_out_of_each_container_as_it_went_in() {
        let sealed = Sealed::default();
        // Many more than there are places, and each twice.
        for number in (0..1000).chain(0..1000) {
            for container in ALL {
                let xml = format!("<REPLY>{number}</REPLY>");
                let body = sealed.seal(container, xml.clone());
                assert_eq!(envelope::open(&body, 1024).expect("opens"), (container, xml.into_bytes()));
            }
        }
    }

    #[test]
    fn what_was_packed_is_not_packed_again_unless_it_is_large() {
        let sealed = Sealed::default();
        for (length, again) in [(LARGEST - 7, true), (LARGEST, false)] {
            let xml = format!("<REPLY>{}", "x".repeat(length));
            let (first, second) =
                (sealed.seal(Container::Zlib, xml.clone()), sealed.seal(Container::Zlib, xml.clone()));
            assert_eq!(first, second);
            assert_eq!(first.as_ptr() == second.as_ptr(), again, "{length}");
        }
    }
}
