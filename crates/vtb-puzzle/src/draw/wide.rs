//! Code for the processor at hand: a twentieth less time for a whole picture.
//!
//! `vtb-nn` has the same for its kernels; that crate and this one may not know each other.

/// Runs code compiled for the vectors and bit instructions that this processor has. Only what is
/// inlined into it is; its results are the same, as nothing is rounded otherwise.
#[inline]
pub(crate) fn wide<R>(code: impl FnOnce() -> R) -> R {
    struct Code<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Code<F> {
        type Output = R;

        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Code(code))
}
