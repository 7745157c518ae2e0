//! Coefficients in the variable-length code of H.264, 9.2.

use super::bits::BitWriter;
use super::tables::{COEFF_TOKEN, Code, RUN_BEFORE, TOTAL_ZEROS, TOTAL_ZEROS_CHROMA};

/// What the blocks to the left and above tell of a block: how many coefficients to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    /// By their mean number of coefficients.
    Count(u8),
    /// The DC coefficients of a chroma plane have a code of their own.
    ChromaDc,
}

/// Writes the coefficients of a block, lowest frequency first; all of them must lie within
/// +-2000. Returns how many are not zero.
pub(super) fn write_block(out: &mut BitWriter, levels: &[i16], around: Around) -> u8 {
    // From the highest frequency down: values, and zeros before each.
    let mut values = [0i32; 16];
    let mut runs = [0u8; 16];
    let mut total = 0;
    let mut zeros = 0;
    for &level in levels {
        if level == 0 {
            zeros += 1;
            continue;
        }
        values[total] = i32::from(level);
        runs[total] = zeros;
        total += 1;
        zeros = 0;
    }
    let table = match around {
        Around::Count(0..2) => 0,
        Around::Count(2..4) => 1,
        Around::Count(4..8) => 2,
        Around::Count(_) => 3,
        Around::ChromaDc => 4,
    };
    let (values, runs) = (&values[..total], &runs[..total]);
    let ones = values.iter().rev().take(3);
    let ones = ones.take_while(|value| value.abs() == 1).count();
    code(out, COEFF_TOKEN[table][total][ones]);
    if total == 0 {
        return 0;
    }
    for value in values.iter().rev().take(ones) {
        out.bit(*value < 0);
    }
    write_levels(out, values, ones);
    let mut left: usize = runs.iter().map(|run| usize::from(*run)).sum();
    if total < levels.len() {
        code(
            out,
            match around {
                Around::ChromaDc => TOTAL_ZEROS_CHROMA[total - 1][left],
                Around::Count(_) => TOTAL_ZEROS[total - 1][left],
            },
        );
    }
    for run in runs[1..].iter().rev().map(|run| usize::from(*run)) {
        if left == 0 {
            break;
        }
        code(out, RUN_BEFORE[left.min(7) - 1][run]);
        left -= run;
    }
    total as u8
}

/// All values but the trailing ones, from the last to the first (9.2.2.1).
fn write_levels(out: &mut BitWriter, values: &[i32], ones: usize) {
    let mut suffix = u32::from(values.len() > 10 && ones < 3);
    for (at, value) in values.iter().rev().enumerate().skip(ones) {
        let mut code = match value {
            1.. => 2 * value - 2,
            _ => -2 * value - 1,
        } as u32;
        if at == ones && ones < 3 {
            // It cannot be a one.
            code -= 2;
        }
        match suffix {
            0 if code < 14 => out.bits(1, code + 1),
            0 if code < 30 => {
                out.bits(1, 15);
                out.bits(code - 14, 4);
            }
            0 => {
                out.bits(1, 16);
                out.bits(code - 30, 12);
            }
            _ if code < 15 << suffix => {
                out.bits(1, (code >> suffix) + 1);
                out.bits(code & ((1 << suffix) - 1), suffix);
            }
            _ => {
                out.bits(1, 16);
                out.bits(code - (15 << suffix), 12);
            }
        }
        suffix = suffix.max(1);
        if value.unsigned_abs() > 3 << (suffix - 1) && suffix < 6 {
            suffix += 1;
        }
    }
}

#[inline]
fn code(out: &mut BitWriter, (value, length): Code) {
    out.bits(u32::from(value), u32::from(length));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(levels: &[i16], around: Around) -> String {
        let mut out = BitWriter::new(0xff);
        write_block(&mut out, levels, around);
        let bytes = out.finish();
        let bits: String = bytes[1..].iter().map(|b| format!("{b:08b}")).collect();
        // Without the bit that ends the unit and the zeros behind it.
        bits.trim_end_matches('0')
            .strip_suffix('1')
            .unwrap()
            .to_owned()
    }

    /// Examples worked out by hand from the tables.
    #[test]
    fn blocks_are_coded_as_the_standard_says() {
        // 0, 3, 0, 1, -1, -1, 0, 1: five coefficients, three trailing ones, three zeros.
        let mut levels = [0; 16];
        levels[..8].copy_from_slice(&[0, 3, 0, 1, -1, -1, 0, 1]);
        assert_eq!(
            written(&levels, Around::Count(0)),
            // token, signs + - -, +1 (prefix 0), 3 (001 0), zeros 3, runs 1 0 0 1
            concat!("0000100", "011", "1", "0010", "111", "10", "1", "1", "01")[..].to_owned()
        );
        assert_eq!(written(&[0; 16], Around::Count(0)), "1");
        assert_eq!(written(&[0; 15], Around::Count(9)), "000011");
        assert_eq!(written(&[0; 4], Around::ChromaDc), "01");
        // One coefficient of 2: it cannot be 1, so its code is 0.
        assert_eq!(written(&[2, 0, 0, 0], Around::ChromaDc), "00011111");
    }
}
