//! The names in a directory, in one allocation.

/// See the module. Directories end in a slash, which puts what is in them where it belongs among the full names.
#[derive(Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// In `bytes`.
    start: usize,
    length: u16,
    /// Whether it is a symbolic link that is followed.
    is_link: bool,
}

impl Names {
    pub(super) fn push(&mut self, name: &[u8], suffix: &[u8], is_link: bool) {
        // Names in a Linux directory are at most 255 bytes.
        if let Ok(length) = u16::try_from(name.len() + suffix.len()) {
            self.places.push(Place { start: self.bytes.len(), length, is_link });
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(suffix);
        }
    }

    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places.sort_unstable_by_key(|place| &bytes[place.start..place.start + usize::from(place.length)]);
    }

    /// The name at `index`, and whether it is a link that is followed.
    pub(super) fn at(&self, index: usize) -> Option<(&[u8], bool)> {
        let place = self.places.get(index)?;
        Some((&self.bytes[place.start..place.start + usize::from(place.length)], place.is_link))
    }
}
