//! What puzzles of one size share.

use std::cell::RefCell;

/// What was made last of a size of picture, for as long as nothing else is asked for.
pub(super) struct Last<K, V>(RefCell<Option<(K, V)>>);

/// Larger pictures are not kept.
const MOST_PIXELS: u64 = 1 << 20;

impl<K: PartialEq, V> Last<(K, [u32; 2]), V> {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// Looks at what belongs to `key`; makes it unless it is there.
    ///
    /// # Errors
    /// That of `make`.
    pub(super) fn with<R, E>(
        &self,
        key: (K, [u32; 2]),
        make: impl FnOnce() -> Result<V, E>,
        look: impl FnOnce(&V) -> R,
    ) -> Result<R, E> {
        let [width, height] = key.1.map(u64::from);
        if width * height > MOST_PIXELS {
            return Ok(look(&make()?));
        }
        let mut last = self.0.borrow_mut();
        Ok(match &*last {
            Some((of, kept)) if *of == key => look(kept),
            _ => look(&last.insert((key, make()?)).1),
        })
    }
}
