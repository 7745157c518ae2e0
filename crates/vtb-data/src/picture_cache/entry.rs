//! The bytes of one entry: a header, and pixels that are packed where that makes them smaller.

use image::RgbImage;

use super::CacheKey;

/// Names the layout; another layout gets another name.
const MAGIC: &[u8; 8] = b"vtbpix01";
const HEADER: usize = 8 + 32 + 4 + 4 + 4 + 4;
/// Longest side of an entry: what is above was not written here.
const MAX_SIDE: u32 = 1 << 16;

/// Magic, key, width, height, form (0 plain, 1 LZ4 block), CRC-32C of all before it and of the payload; payload.
pub(super) fn encode(key: &CacheKey, image: &RgbImage) -> Vec<u8> {
    let packed = lz4_flex::block::compress(image);
    let (form, payload): (u32, &[u8]) = if packed.len() < image.len() {
        (1, &packed)
    } else {
        (0, image)
    };
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&key.0);
    for number in [image.width(), image.height(), form] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// `None` if the bytes are not the whole, undamaged entry of this key.
pub(super) fn decode(key: &CacheKey, mut bytes: Vec<u8>) -> Option<RgbImage> {
    let (header, payload) = bytes.split_at_checked(HEADER)?;
    let number = |at: usize| {
        let four: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(four))
    };
    let (width, height, form, sum) = (number(40)?, number(44)?, number(48)?, number(52)?);
    let sound = crc32c::crc32c_append(crc32c::crc32c(&header[..52]), payload) == sum;
    if !header.starts_with(MAGIC) || header[8..40] != key.0 || !sound {
        return None;
    }
    if width.max(height) > MAX_SIDE {
        return None;
    }
    let size = width as usize * height as usize * 3;
    let pixels = match form {
        0 => {
            bytes.drain(..HEADER);
            bytes
        }
        1 => lz4_flex::block::decompress(payload, size).ok()?,
        _ => return None,
    };
    // Checks that there are as many pixels as the header says.
    if pixels.len() == size {
        RgbImage::from_raw(width, height, pixels)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn key() -> CacheKey {
        CacheKey::new(b"file", "geometry")
    }

    fn images() -> [RgbImage; 2] {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        [
            RgbImage::from_pixel(40, 30, Rgb([9, 8, 7])),
            RgbImage::from_fn(40, 30, |_, _| Rgb([noise(), noise(), noise()])),
        ]
    }

    #[test]
    fn flat_pictures_shrink_and_noise_is_kept_plain() {
        let [flat, noise] = images();
        let size = flat.len();
        assert!(encode(&key(), &flat).len() < size / 10);
        assert_eq!(encode(&key(), &noise).len(), size + HEADER);
        for image in [flat, noise] {
            assert_eq!(decode(&key(), encode(&key(), &image)), Some(image));
        }
    }

    #[test]
    fn any_damage_and_another_key_make_it_no_entry() {
        for image in images() {
            let good = encode(&key(), &image);
            assert!(decode(&CacheKey::new(b"file", "other"), good.clone()).is_none());
            for at in (0..good.len()).step_by(7).chain(0..HEADER) {
                let mut bad = good.clone();
                bad[at] ^= 0x10;
                assert!(decode(&key(), bad).is_none(), "byte {at}");
                assert!(decode(&key(), good[..at].to_vec()).is_none(), "cut at {at}");
            }
        }
    }
}
