//! A reward that fades out before the length limit, in place of a cliff at it.

/// What a completion of `tokens` tokens is charged, 0 to 1: nothing up to `limit - buffer`, then in proportion, and all
/// from the limit on (DAPO, arXiv 2503.14476, eq. 13). Nothing where `buffer` is 0.
pub fn overlong_charge(tokens: usize, limit: usize, buffer: usize) -> f64 {
    if buffer == 0 {
        return 0.0;
    }
    let free = limit.saturating_sub(buffer);
    (tokens.saturating_sub(free) as f64 / buffer as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_from_the_buffer_to_the_limit() {
        let charged = [0, 90, 95, 100, 120].map(|tokens| overlong_charge(tokens, 100, 10));
        assert_eq!(charged, [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert_eq!(overlong_charge(100, 100, 0), 0.0);
    }

    #[test]
    fn a_buffer_larger_than_the_limit_charges_from_the_first_token() {
        assert_eq!(overlong_charge(5, 10, 20), 0.25);
    }
}
