//! Little-endian bytes to typed host tensors, converted in parallel chunks.

use burn::tensor::{DType, Element, TensorData};
use bytemuck::Pod;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::vec::HalfBitsVecExt;
use half::{bf16, f16};
use rayon::prelude::*;

#[cfg(target_endian = "big")]
compile_error!("safetensors are little-endian and read here without swapping bytes");

/// Elements converted by one task: large enough to hide scheduling, small enough for a cache.
const CHUNK: usize = 1 << 16;

/// Reads `bytes` (elements of type `from`, any alignment) as a tensor of type `to`. Floats convert among each
/// other with round-to-nearest-even; every other type only to itself, `None` otherwise.
pub(super) fn cast(bytes: &[u8], from: DType, to: DType, shape: &[usize]) -> Option<TensorData> {
    let count = shape.iter().product::<usize>();
    debug_assert_eq!(bytes.len(), count * from.size());
    Some(match to {
        DType::F64 => {
            let mut out = vec![0f64; count];
            to_f64(bytes, from, &mut out)?;
            TensorData::new(out, shape.to_vec())
        }
        DType::F32 => {
            let mut out = vec![0f32; count];
            to_f32(bytes, from, &mut out)?;
            TensorData::new(out, shape.to_vec())
        }
        DType::F16 => {
            let mut out = vec![0u16; count];
            to_f16(bytes, from, &mut out)?;
            TensorData::new(out.reinterpret_into::<f16>(), shape.to_vec())
        }
        DType::BF16 => {
            let mut out = vec![0u16; count];
            to_bf16(bytes, from, &mut out)?;
            TensorData::new(out.reinterpret_into::<bf16>(), shape.to_vec())
        }
        _ if from != to => return None,
        DType::I64 => copy::<i64>(bytes, shape),
        DType::I32 => copy::<i32>(bytes, shape),
        DType::I16 => copy::<i16>(bytes, shape),
        DType::I8 => copy::<i8>(bytes, shape),
        DType::U64 => copy::<u64>(bytes, shape),
        DType::U32 => copy::<u32>(bytes, shape),
        DType::U16 => copy::<u16>(bytes, shape),
        DType::U8 => copy::<u8>(bytes, shape),
        // Any byte but 0 is true, so that no file can make an invalid `bool`.
        DType::Bool(_) => TensorData::new(bytes.iter().map(|b| *b != 0).collect(), shape.to_vec()),
        _ => return None,
    })
}

fn to_f64(bytes: &[u8], from: DType, out: &mut [f64]) -> Option<()> {
    match from {
        DType::F64 => convert(bytes, out, |s: &[f64], d| d.copy_from_slice(s)),
        DType::F32 => convert(bytes, out, |s: &[f32], d| each(s, d, |x| f64::from(*x))),
        DType::F16 => convert(bytes, out, |s: &[u16], d| {
            s.reinterpret_cast::<f16>().convert_to_f64_slice(d);
        }),
        DType::BF16 => convert(bytes, out, |s: &[u16], d| {
            each(s, d, |x| f64::from(bf16_bits_to_f32(*x)));
        }),
        _ => return None,
    }
    Some(())
}

fn to_f32(bytes: &[u8], from: DType, out: &mut [f32]) -> Option<()> {
    match from {
        DType::F64 => convert(bytes, out, |s: &[f64], d| each(s, d, |x| *x as f32)),
        DType::F32 => convert(bytes, out, |s: &[f32], d| d.copy_from_slice(s)),
        DType::F16 => convert(bytes, out, |s: &[u16], d| {
            s.reinterpret_cast::<f16>().convert_to_f32_slice(d);
        }),
        DType::BF16 => convert(bytes, out, |s: &[u16], d| {
            each(s, d, |x| bf16_bits_to_f32(*x));
        }),
        _ => return None,
    }
    Some(())
}

/// `out` receives the bits.
fn to_f16(bytes: &[u8], from: DType, out: &mut [u16]) -> Option<()> {
    match from {
        DType::F64 => convert(bytes, out, |s: &[f64], d| {
            d.reinterpret_cast_mut::<f16>().convert_from_f64_slice(s);
        }),
        DType::F32 => convert(bytes, out, |s: &[f32], d| {
            d.reinterpret_cast_mut::<f16>().convert_from_f32_slice(s);
        }),
        DType::F16 => convert(bytes, out, |s: &[u16], d| d.copy_from_slice(s)),
        DType::BF16 => convert(bytes, out, |s: &[u16], d| {
            each(s, d, |x| f16::from_f32(bf16_bits_to_f32(*x)).to_bits());
        }),
        _ => return None,
    }
    Some(())
}

/// `out` receives the bits.
fn to_bf16(bytes: &[u8], from: DType, out: &mut [u16]) -> Option<()> {
    match from {
        DType::F64 => convert(bytes, out, |s: &[f64], d| {
            d.reinterpret_cast_mut::<bf16>().convert_from_f64_slice(s);
        }),
        DType::F32 => convert(bytes, out, |s: &[f32], d| {
            d.reinterpret_cast_mut::<bf16>().convert_from_f32_slice(s);
        }),
        DType::F16 => convert(bytes, out, |s: &[u16], d| {
            each(s, d, |x| {
                bf16::from_f32(f16::from_bits(*x).to_f32()).to_bits()
            });
        }),
        DType::BF16 => convert(bytes, out, |s: &[u16], d| d.copy_from_slice(s)),
        _ => return None,
    }
    Some(())
}

fn copy<T: Pod + Element>(bytes: &[u8], shape: &[usize]) -> TensorData {
    let mut out = vec![T::zeroed(); bytes.len() / size_of::<T>()];
    convert(bytes, &mut out, |s: &[T], d| d.copy_from_slice(s));
    TensorData::new(out, shape.to_vec())
}

/// A bf16 is the upper half of an f32, NaN payloads included.
fn bf16_bits_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

fn each<S, T>(source: &[S], target: &mut [T], f: impl Fn(&S) -> T) {
    for (t, s) in target.iter_mut().zip(source) {
        *t = f(s);
    }
}

/// Applies `f` to aligned chunks of `bytes` read as `S` and the matching chunks of `out`.
fn convert<S: Pod, T: Send>(bytes: &[u8], out: &mut [T], f: impl Fn(&[S], &mut [T]) + Sync) {
    out.par_chunks_mut(CHUNK)
        .zip(bytes.par_chunks(CHUNK * size_of::<S>()))
        .for_each(|(target, raw)| match bytemuck::try_cast_slice(raw) {
            Ok(source) => f(source, target),
            // The header of a foreign file may have any length, and its tensors any alignment.
            Err(_) => {
                let mut aligned = vec![S::zeroed(); target.len()];
                bytemuck::cast_slice_mut(&mut aligned).copy_from_slice(raw);
                f(&aligned, target);
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_u16() -> Vec<u8> {
        (0..=u16::MAX).flat_map(u16::to_le_bytes).collect()
    }

    fn same(a: f32, b: f32) -> bool {
        (a.is_nan() && b.is_nan()) || a.to_bits() == b.to_bits()
    }

    #[test]
    fn every_half_value_widens_exactly_and_comes_back() {
        let bytes = all_u16();
        let shape = [1 << 16];
        for dtype in [DType::F16, DType::BF16] {
            let wide = cast(&bytes, dtype, DType::F32, &shape).expect("floats convert");
            let wider = cast(&bytes, dtype, DType::F64, &shape).expect("floats convert");
            let values = wide.as_slice::<f32>().expect("f32");
            for (bits, value) in (0..=u16::MAX).zip(values) {
                let expected = match dtype {
                    DType::F16 => f16::from_bits(bits).to_f32(),
                    _ => bf16::from_bits(bits).to_f32(),
                };
                assert!(
                    same(*value, expected),
                    "{dtype:?} {bits:#06x}: {value} != {expected}"
                );
            }
            for back in [&wide, &wider] {
                let back = cast(back.as_bytes(), back.dtype(), dtype, &shape).expect("floats");
                for (a, b) in back.as_bytes().chunks(2).zip(bytes.chunks(2)) {
                    let a = cast(a, dtype, DType::F32, &[1]).expect("float");
                    let b = cast(b, dtype, DType::F32, &[1]).expect("float");
                    let (a, b) = (a.as_slice::<f32>(), b.as_slice::<f32>());
                    assert!(same(a.expect("f32")[0], b.expect("f32")[0]));
                }
            }
        }
    }

    #[test]
    fn narrowing_rounds_to_nearest_even_and_keeps_special_values() {
        let tiny = f32::from_bits(1);
        let cases = [
            // A tie goes to the even neighbour, just above a tie goes up.
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            // Subnormals, overflow to infinity, infinities, signed zero.
            (tiny, 0x0000),
            (f32::from_bits(0x0001_8000), 0x0002),
            (f32::MAX, 0x7f80),
            (f32::INFINITY, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
            (-0.0, 0x8000),
        ];
        for (value, bits) in cases {
            let out = cast(&value.to_le_bytes(), DType::F32, DType::BF16, &[1]).expect("floats");
            assert_eq!(
                out.as_slice::<bf16>().expect("bf16")[0].to_bits(),
                bits,
                "{value:e}"
            );
        }
        let nan = cast(&f32::NAN.to_le_bytes(), DType::F32, DType::BF16, &[1]).expect("floats");
        assert!(nan.as_slice::<bf16>().expect("bf16")[0].is_nan());
        // Smallest f16 subnormal is 2^-24; half of it is a tie with zero.
        for (value, bits) in [
            (2f32.powi(-24), 1u16),
            (2f32.powi(-25), 0),
            (65520.0, 0x7c00),
        ] {
            let out = cast(&value.to_le_bytes(), DType::F32, DType::F16, &[1]).expect("floats");
            assert_eq!(
                out.as_slice::<f16>().expect("f16")[0].to_bits(),
                bits,
                "{value:e}"
            );
        }
    }

    #[test]
    fn alignment_and_length_do_not_matter() {
        let count = CHUNK * 2 + 17;
        let values: Vec<f32> = (0..count).map(|i| i as f32 * 0.25 - 1000.0).collect();
        let mut bytes = vec![0u8; 3];
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let out = cast(&bytes[3..], DType::F32, DType::F32, &[count]).expect("same type");
        assert_eq!(out.as_slice::<f32>().expect("f32"), values);
        let empty = cast(&[], DType::BF16, DType::F32, &[0, 4]).expect("empty");
        assert_eq!(empty.num_elements(), 0);
    }

    #[test]
    fn integers_only_convert_to_themselves() {
        let bytes: Vec<u8> = [7i64, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
        let same = cast(&bytes, DType::I64, DType::I64, &[2]).expect("same type");
        assert_eq!(same.as_slice::<i64>().expect("i64"), [7, -1]);
        assert!(cast(&bytes, DType::I64, DType::F32, &[2]).is_none());
        assert!(cast(&bytes, DType::I64, DType::I32, &[2]).is_none());
    }
}
