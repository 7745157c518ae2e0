//! The size a picture is resized to: multiples of a factor, within a range of pixel counts, the shape kept as
//! nearly as that allows. (The rule is `smart_resize` of the reference processors.)

/// The most a picture may be longer than wide, or the reverse.
const MAX_ASPECT: f64 = 200.0;

/// `(height, width)` after resizing by the rule of the `transformers` processors.
///
/// Sides are rounded to multiples of `factor`, ties to even (720 / 32 = 22.5 becomes 22), then scaled where the
/// pixel count lies outside `min_pixels..=max_pixels`.
///
/// # Errors
/// A sentence saying why there is no such size: an empty picture, or one more than 200 times longer than wide.
pub fn smart_resize(
    height: usize,
    width: usize,
    factor: usize,
    min_pixels: usize,
    max_pixels: usize,
) -> Result<(usize, usize), String> {
    let (h, w, f) = check(height, width, factor)?;
    let (h_bar, w_bar) = ((h / f).round_ties_even() * f, (w / f).round_ties_even() * f);
    Ok(fit(
        (h, w),
        (h_bar, w_bar),
        f,
        (min_pixels as f64, max_pixels as f64),
    ))
}

/// The same by the rule of `qwen-vl-utils`, which `ms-swift` trains with: a side shorter than half the factor
/// becomes one factor, not zero, before the pixel count is looked at.
pub(super) fn smart_resize_utils(
    height: usize,
    width: usize,
    factor: usize,
    min_pixels: usize,
    max_pixels: usize,
) -> Result<(usize, usize), String> {
    let (h, w, f) = check(height, width, factor)?;
    let round = |side: f64| ((side / f).round_ties_even() * f).max(f);
    Ok(fit(
        (h, w),
        (round(h), round(w)),
        f,
        (min_pixels as f64, max_pixels as f64),
    ))
}

/// The size all frames of a video are resized to: as [`smart_resize`], but the range counts the pixels of all frames,
/// and frames narrower than one factor are enlarged first.
///
/// # Errors
/// As [`smart_resize`]; also fewer frames than `temporal`, which make one token together.
pub fn smart_resize_video(
    frames: usize,
    (height, width): (usize, usize),
    temporal: usize,
    factor: usize,
    (min_pixels, max_pixels): (usize, usize),
) -> Result<(usize, usize), String> {
    if frames < temporal {
        return Err(format!(
            "has {frames} frames to look at, at least {temporal} are needed"
        ));
    }
    if height == 0 || width == 0 || factor == 0 || temporal == 0 {
        return Err(format!("has no pixels ({width}x{height})"));
    }
    let (mut height, mut width) = (height, width);
    if height < factor || width < factor {
        let scale = (factor as f64 / height as f64).max(factor as f64 / width as f64);
        height = (height as f64 * scale) as usize;
        width = (width as f64 * scale) as usize;
    }
    let (h, w, f) = check(height, width, factor)?;
    let round = |n: f64, f: f64| (n / f).round_ties_even() * f;
    let (n, t) = (frames as f64, temporal as f64);
    let (h_bar, w_bar, t_bar) = (round(h, f), round(w, f), round(n, t));
    // The range is compared with the rounded number of frames, and reached with the true one.
    let (min, max) = (min_pixels as f64, max_pixels as f64);
    let total = t_bar * h_bar * w_bar;
    let (h, w) = if total > max {
        let beta = (n * h * w / max).sqrt();
        let shrink = |side: f64| ((side / beta / f).floor() * f).max(f);
        (shrink(h), shrink(w))
    } else if total < min {
        let beta = (min / (n * h * w)).sqrt();
        let grow = |side: f64| (side * beta / f).ceil() * f;
        (grow(h), grow(w))
    } else {
        (h_bar, w_bar)
    };
    Ok((h as usize, w as usize))
}

fn check(height: usize, width: usize, factor: usize) -> Result<(f64, f64, f64), String> {
    if height == 0 || width == 0 || factor == 0 {
        return Err(format!("has no pixels ({width}x{height})"));
    }
    let aspect = height.max(width) as f64 / height.min(width) as f64;
    if aspect > MAX_ASPECT {
        return Err(format!(
            "is {width}x{height}: one side is {aspect:.0} times the other, more than {MAX_ASPECT}; crop it"
        ));
    }
    Ok((height as f64, width as f64, factor as f64))
}

fn fit(
    (h, w): (f64, f64),
    (h_bar, w_bar): (f64, f64),
    f: f64,
    (min, max): (f64, f64),
) -> (usize, usize) {
    let (h, w) = if h_bar * w_bar > max {
        let beta = (h * w / max).sqrt();
        let shrink = |side: f64| ((side / beta / f).floor() * f).max(f);
        (shrink(h), shrink(w))
    } else if h_bar * w_bar < min {
        let beta = (min / (h * w)).sqrt();
        let grow = |side: f64| (side * beta / f).ceil() * f;
        (grow(h), grow(w))
    } else {
        (h_bar, w_bar)
    };
    (h as usize, w as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn published_bounds_give_the_reference_sizes() {
        for (from, to) in [
            ((720, 1280), (704, 1280)),
            ((1080, 1920), (1088, 1920)),
            ((224, 224), (256, 256)),
            ((100, 170), (224, 352)),
            ((1365, 2048), (1376, 2048)),
            ((5000, 7000), (3456, 4832)),
            ((1, 200), (32, 3648)),
        ] {
            assert_eq!(
                smart_resize(from.0, from.1, 32, 65_536, 16_777_216),
                Ok(to),
                "{from:?}"
            );
        }
    }

    #[test]
    fn thin_sides_differ_between_the_two_rules() {
        assert_eq!(smart_resize(1, 200, 32, 4096, 16_777_216), Ok((32, 928)));
        assert_eq!(
            smart_resize_utils(1, 200, 32, 4096, 16_777_216),
            Ok((32, 192))
        );
        assert_eq!(
            smart_resize_utils(224, 224, 32, 4096, 16_777_216),
            Ok((224, 224))
        );
    }

    #[test]
    fn impossible_pictures_are_refused() {
        assert!(
            smart_resize(1, 201, 32, 4096, 65_536)
                .unwrap_err()
                .contains("201 times")
        );
        assert!(smart_resize(0, 5, 32, 4096, 65_536).is_err());
    }

    #[test]
    fn frames_share_the_range_of_pixels() {
        let size = |frames, at, range| smart_resize_video(frames, at, 2, 32, range);
        // 12 frames of 64x96 have 73,728 pixels.
        assert_eq!(size(12, (64, 96), (4096, 1 << 20)), Ok((64, 96)));
        assert_eq!(size(12, (64, 96), (4096, 40_000)), Ok((32, 64)));
        assert_eq!(size(2, (64, 96), (40_000, 1 << 20)), Ok((128, 192)));
        assert_eq!(size(4, (20, 40), (4096, 1 << 20)), Ok((32, 64)));
        assert!(
            size(1, (64, 96), (4096, 1 << 20))
                .unwrap_err()
                .contains("at least 2")
        );
        assert!(size(4, (0, 96), (4096, 1 << 20)).is_err());
        assert!(size(4, (1, 300), (4096, 1 << 20)).is_err());
    }

    proptest! {
        #[test]
        fn sizes_are_multiples_and_never_empty(h in 1_usize..3000, w in 1_usize..3000) {
            for rule in [smart_resize, smart_resize_utils] {
                if let Ok((a, b)) = rule(h, w, 32, 4096, 1 << 20) {
                    prop_assert!(a > 0 && b > 0 && a % 32 == 0 && b % 32 == 0);
                    prop_assert!(a * b >= 4096, "{a}x{b}");
                }
            }
        }
    }
}
