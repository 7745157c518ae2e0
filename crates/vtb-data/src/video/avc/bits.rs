//! Bits of a NAL unit, written.

/// Collects bits, most significant first.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits not written yet, the last lowest; fewer than 32.
    bits: u64,
    count: u32,
}

impl BitWriter {
    /// A unit that begins with this header byte.
    pub(super) fn new(header: u8) -> Self {
        Self {
            bytes: vec![header],
            bits: 0,
            count: 0,
        }
    }

    /// The lowest `count` bits of `value`, at most 32.
    #[inline]
    pub(super) fn bits(&mut self, value: u32, count: u32) {
        self.bits = self.bits << count | u64::from(value);
        self.count += count;
        if self.count >= 32 {
            self.count -= 32;
            let word = (self.bits >> self.count) as u32;
            self.bytes.extend(word.to_be_bytes());
        }
    }

    pub(super) fn bit(&mut self, value: bool) {
        self.bits(u32::from(value), 1);
    }

    /// An unsigned Exp-Golomb number below 2^16 - 1.
    #[inline]
    pub(super) fn ue(&mut self, value: u32) {
        let length = (value + 1).ilog2();
        self.bits(value + 1, 2 * length + 1);
    }

    /// A signed Exp-Golomb number.
    pub(super) fn se(&mut self, value: i32) {
        let code = 2 * value.unsigned_abs();
        self.ue(if value > 0 { code - 1 } else { code });
    }

    /// The unit: the bits, the one that ends them, and a 3 wherever the bytes would look like the
    /// start of a unit (H.264, 7.4.1).
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bits(1, 1);
        self.bits(0, (8 - self.count % 8) % 8);
        while self.count > 0 {
            self.count -= 8;
            self.bytes.push((self.bits >> self.count) as u8);
        }
        let mut unit = Vec::with_capacity(self.bytes.len() + 16);
        let (mut from, mut zeros) = (0, 0);
        for (at, byte) in self.bytes.iter().enumerate() {
            if zeros == 2 && *byte <= 3 {
                unit.extend(&self.bytes[from..at]);
                unit.push(3);
                (from, zeros) = (at, 0);
            }
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
        }
        unit.extend(&self.bytes[from..]);
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::bits::Bits;

    #[test]
    fn numbers_read_as_they_were_written() {
        let mut out = BitWriter::new(0x67);
        for value in 0..70 {
            out.ue(value);
            out.se(value as i32 - 35);
            out.bits(value, 7);
        }
        out.ue(65_534);
        out.bits(u32::MAX, 32);
        out.bits(0, 32);
        let unit = out.finish();
        let mut bits = Bits::of_nal(&unit);
        for value in 0..70 {
            assert_eq!(bits.ue().unwrap(), value);
            assert_eq!(bits.se().unwrap(), value as i32 - 35);
            assert_eq!(bits.bits(7).unwrap(), value);
        }
        assert_eq!(bits.ue().unwrap(), 65_534);
        assert_eq!(bits.bits(32).unwrap(), u32::MAX);
        assert_eq!(bits.bits(32).unwrap(), 0);
        assert!(bits.bit().unwrap());
    }

    #[test]
    fn nothing_inside_looks_like_a_start() {
        let mut out = BitWriter::new(0x41);
        for value in [0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0] {
            out.bits(value, 8);
        }
        let unit = out.finish();
        assert!(
            unit.windows(3)
                .all(|three| three[..2] != [0, 0] || three[2] >= 3)
        );
        assert_eq!(
            unit,
            [
                0x41, 0, 0, 3, 0, 0, 3, 0, 1, 0, 0, 3, 2, 0, 0, 3, 3, 0, 0, 4, 0, 0, 0x80
            ]
        );
    }
}
