//! Bits of an H.264 parameter set.

use super::{Found, damaged};

/// Reads bits, most significant first, from a NAL unit's payload.
pub(super) struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// The payload of a NAL unit (header byte included) without its emulation prevention bytes.
    pub(super) fn of_nal(nal: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(nal.len());
        let mut zeros = 0;
        for &byte in nal.get(1..).unwrap_or_default() {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        Self { bytes, at: 0 }
    }

    pub(super) fn bit(&mut self) -> Found<bool> {
        let Some(byte) = self.bytes.get(self.at / 8) else {
            return damaged("an H.264 parameter set ends early");
        };
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// `count` of at most 32 bits.
    pub(super) fn bits(&mut self, count: u32) -> Found<u32> {
        let mut value = 0u64;
        for _ in 0..count {
            value = value << 1 | u64::from(self.bit()?);
        }
        Ok(value as u32)
    }

    /// An unsigned Exp-Golomb number.
    pub(super) fn ue(&mut self) -> Found<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return damaged("an H.264 parameter set holds a number beyond 32 bits");
            }
        }
        // (1 << zeros) + bits - 1 stays below 2^32 for 31 zeros.
        Ok((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// A signed Exp-Golomb number.
    pub(super) fn se(&mut self) -> Found<i32> {
        let code = i64::from(self.ue()?);
        let value = (code + 1) / 2;
        Ok(if code % 2 == 1 { value } else { -value } as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_the_standard_codes_them() {
        // ue: 1 | 010 | 011 | 00100 -> 0, 1, 2, 3; se: 010 | 011 -> 1, -1
        let mut bits = Bits::of_nal(&[0, 0b1010_0110, 0b0100_0100, 0b1100_0000]);
        for wanted in 0..4 {
            assert_eq!(bits.ue().unwrap(), wanted);
        }
        assert_eq!((bits.se().unwrap(), bits.se().unwrap()), (1, -1));
    }

    #[test]
    fn emulation_prevention_is_taken_out_and_the_end_is_an_error() {
        let mut bits = Bits::of_nal(&[0x67, 0, 0, 3, 1]);
        assert_eq!(bits.bits(24).unwrap(), 1);
        assert!(bits.bit().is_err());
        assert!(Bits::of_nal(&[0x67, 0, 0, 0, 0, 0, 0]).ue().is_err());
    }
}
