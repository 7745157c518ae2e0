//! What puzzles of one size share.

use std::cell::RefCell;
use std::convert::Infallible;

/// What was made last of a size of picture, for as long as nothing else is asked for.
pub(super) struct Last<K, V>(RefCell<Option<(K, V)>>);

/// Larger pictures are not kept.
const MOST_PIXELS: u64 = 1 << 20;
/// The size of what is the same in pictures of every size.
pub(super) const ANY: [u32; 2] = [0; 2];

impl<K: PartialEq, V> Last<(K, [u32; 2]), V> {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// Looks at what belongs to `key`; makes it unless it is there.
    pub(super) fn with<R>(
        &self,
        key: (K, [u32; 2]),
        make: impl FnOnce() -> V,
        look: impl FnOnce(&V) -> R,
    ) -> R {
        let Ok(seen) = self.try_with(key, || Ok::<_, Infallible>(make()), look);
        seen
    }

    /// The same of what may not be made.
    ///
    /// # Errors
    /// That of `make`.
    pub(super) fn try_with<R, E>(
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
