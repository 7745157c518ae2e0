//! The allocator of every program.
//!
//! Tensor code frees and asks for the same few large blocks all the time. Handing freed pages back to the system in
//! between means that the next block comes as fresh pages, each a fault and a clearing, which took up to twice as long
//! as the product written into it (`docs/benchmarks.md`).

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's option table; the binding names only options that did not move.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Milliseconds freed pages are kept: longer than a training step, shorter than the pause between two phases.
const KEEP_MS: std::ffi::c_long = 5_000;

/// Keeps freed pages for a while, unless the user has set `MIMALLOC_PURGE_DELAY`.
pub fn keep_freed_pages() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: the call takes two numbers, may be made at any time, and ignores options it does not know.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEEP_MS) };
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_option_is_the_purge_delay() {
        // SAFETY: as above. The table's default is 10 ms (1000 in its third version).
        let default = unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        assert!([10, 1000].contains(&default), "{default}");
        super::keep_freed_pages();
        // SAFETY: as above.
        let now = unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        assert_eq!(now, super::KEEP_MS);
    }
}
