//! Files built byte by byte: those that torch writes, and those that it does not.

use super::*;

/// An archive of uncompressed members, as torch writes it. A member may claim another length than it has.
fn archive(members: &[(&str, &[u8], usize)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes, claimed) in members {
        let at = file.len() as u32;
        // Version, flags, method, time, date; a checksum of 0 is none.
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fields.extend([0; 4]);
        fields.extend((*claimed as u32).to_le_bytes());
        fields.extend((*claimed as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0; 2]);
        file.extend(ZIP);
        file.extend(&fields);
        file.extend(name.as_bytes());
        file.extend(*bytes);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, length) = (file.len() as u32, directory.len() as u32);
    let count = (members.len() as u16).to_le_bytes();
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count);
    file.extend(count);
    file.extend(length.to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend([0; 2]);
    file
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![b'X'];
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".as_slice(), &items.concat(), b"t"].concat()
}

fn numbers(values: &[i32]) -> Vec<u8> {
    let item = |v: &i32| [b"J".as_slice(), &v.to_le_bytes()].concat();
    tuple(&values.iter().map(item).collect::<Vec<_>>())
}

fn int(value: i32) -> Vec<u8> {
    [b"J".as_slice(), &value.to_le_bytes()].concat()
}

/// A call of `_rebuild_tensor_v2` on the storage `0`.
fn tensor(kind: &str, stored: i32, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let class = format!("ctorch\n{kind}\n").into_bytes();
    let id = [text("storage"), class, text("0"), text("cpu"), int(stored)];
    let arguments = [
        [tuple(&id), b"Q".to_vec()].concat(),
        int(offset),
        numbers(shape),
        numbers(strides),
        vec![0x89],
        b"ccollections\nOrderedDict\n)R".to_vec(),
    ];
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(),
        tuple(&arguments),
        b"R".to_vec(),
    ]
    .concat()
}

/// An ordered dictionary.
fn dictionary(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items = entries
        .iter()
        .flat_map(|(key, value)| [text(key), value.clone()].concat());
    let items: Vec<u8> = items.collect();
    [b"ccollections\nOrderedDict\n)R(".as_slice(), &items, b"u"].concat()
}

fn program(value: Vec<u8>) -> Vec<u8> {
    [b"\x80\x02".as_slice(), &value, b"."].concat()
}

/// Six numbers of storage `0`.
fn storage() -> Vec<u8> {
    (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

/// Opens a file of these bytes, which lies on the disk until the source is read.
fn open_bytes(bytes: &[u8]) -> (tempfile::TempDir, Result<PthSource, NnError>) {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("weights.pth");
    std::fs::write(&path, bytes).expect("write");
    let opened = PthSource::open(&path);
    (dir, opened)
}

fn open_program(program: &[u8]) -> (tempfile::TempDir, Result<PthSource, NnError>) {
    let storage = storage();
    open_bytes(&archive(&[
        ("a/data.pkl", program, program.len()),
        ("a/data/0", &storage, storage.len()),
        ("a/version", b"3\n", 2),
    ]))
}

#[track_caller]
fn refused(bytes: &[u8], part: &str) {
    let (_dir, opened) = open_bytes(bytes);
    let error = opened.expect_err("refused").to_string();
    assert!(
        error.contains("weights.pth") && error.contains(part),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn tensors_come_in_any_type_and_from_views() {
    let float =
        |offset, shape: &[i32], strides: &[i32]| tensor("FloatStorage", 6, offset, shape, strides);
    let parameter = [
        b"ctorch._utils\n_rebuild_parameter\n".to_vec(),
        tuple(&[
            float(0, &[6], &[1]),
            vec![0x88],
            b"ccollections\nOrderedDict\n)R".to_vec(),
        ]),
        b"R".to_vec(),
    ];
    let entries = [
        ("whole", float(0, &[2, 3], &[3, 1])),
        ("turned", float(0, &[3, 2], &[1, 3])),
        ("part", float(4, &[2], &[1])),
        ("one", float(5, &[], &[])),
        ("parameter", parameter.concat()),
    ];
    let (_dir, opened) = open_program(&program(dictionary(&entries)));
    let source = opened.expect("opens");
    assert_eq!(
        source.names(),
        ["one", "parameter", "part", "turned", "whole"]
    );
    let floats = |name: &str| {
        let data = source.load(name).expect("loads");
        assert_eq!(
            Some(data.shape().to_vec()),
            source.info(name).map(|i| i.shape)
        );
        data.as_slice::<f32>().expect("f32").to_vec()
    };
    assert_eq!(floats("whole"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(floats("turned"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(floats("part"), [4.0, 5.0]);
    assert_eq!(floats("one"), [5.0]);
    assert_eq!(floats("parameter").len(), 6);
    let half = source.load_as("part", DType::BF16).expect("casts");
    assert_eq!(half.dtype(), DType::BF16);
    assert!(source.load_as("part", DType::I64).is_err());
    assert!(matches!(source.load("none"), Err(NnError::Missing { .. })));

    let halves = tensor("BFloat16Storage", 12, 0, &[12], &[1]);
    let (_dir, opened) = open_program(&program(dictionary(&[("half", halves)])));
    let source = opened.expect("opens");
    assert_eq!(source.info("half").map(|i| i.dtype), Some(DType::BF16));
    let wide = source.load_as("half", DType::F32).expect("casts");
    // The upper halves of 0.0 to 5.0 are every second value.
    assert_eq!(wide.as_slice::<f32>().expect("f32")[3], 1.0);
}

#[test]
fn a_wrapper_is_taken_off_and_plain_values_do_not_matter() {
    let w = tensor("FloatStorage", 6, 0, &[6], &[1]);
    let inner = dictionary(&[("a.w", w.clone())]);
    for wrapper in WRAPPERS {
        let outer = dictionary(&[("step", int(7)), (wrapper, inner.clone())]);
        let (_dir, opened) = open_program(&program(outer));
        assert_eq!(opened.expect("opens").names(), ["a.w"]);
    }
    let two = dictionary(&[("model_state", inner), ("b", w)]);
    let (_dir, opened) = open_program(&program(two));
    assert_eq!(opened.expect("opens").names(), ["b", "model_state.a.w"]);
}

#[test]
fn calls_are_not_made_and_are_named() {
    let w = tensor("FloatStorage", 6, 0, &[6], &[1]);
    let dir = tempfile::tempdir().expect("dir");
    let trace = dir.path().join("trace");
    let command = text(&format!("touch {}", trace.display()));
    let calls = [
        (
            "posix.system",
            [
                b"cposix\nsystem\n".to_vec(),
                tuple(std::slice::from_ref(&command)),
                b"R".to_vec(),
            ]
            .concat(),
        ),
        (
            "os.system",
            [
                text("os"),
                text("system"),
                vec![0x93],
                tuple(std::slice::from_ref(&command)),
                b"R".to_vec(),
            ]
            .concat(),
        ),
        (
            "builtins.eval",
            [
                b"cbuiltins\neval\n".to_vec(),
                tuple(std::slice::from_ref(&command)),
                vec![0x81],
            ]
            .concat(),
        ),
        ("subprocess.Popen", b"csubprocess\nPopen\n)\x81}b".to_vec()),
        (
            "torch.hub.load",
            [
                b"ctorch.hub\nload\n".to_vec(),
                tuple(&[command]),
                b"R".to_vec(),
            ]
            .concat(),
        ),
        ("numpy.dtype", b"cnumpy\ndtype\n".to_vec()),
    ];
    for (name, call) in calls {
        let inside = dictionary(&[("w", w.clone()), ("x", call.clone())]);
        let (_file, opened) = open_program(&program(inside));
        let error = opened.expect_err("refused").to_string();
        assert!(error.contains(&format!("`{name}`")), "{error}");
        assert!(error.contains("nothing of it was run"), "{error}");
        let (_file, opened) = open_program(&program(call));
        assert!(opened.expect_err("refused").to_string().contains(name));
    }
    assert!(!trace.exists());
}

#[test]
fn what_a_tensor_claims_is_held_against_its_storage() {
    let claims: [(i32, i32, &[i32], &[i32]); 7] = [
        (6, 0, &[7], &[1]),
        (6, 5, &[2], &[1]),
        (6, 0, &[2, 3], &[4, 1]),
        (6, -1, &[1], &[1]),
        (6, 0, &[-1], &[1]),
        (6, 0, &[2, 3], &[1]),
        (6, 0, &[i32::MAX, i32::MAX, i32::MAX], &[0, 0, 0]),
    ];
    for (stored, offset, shape, strides) in claims {
        let t = tensor("FloatStorage", stored, offset, shape, strides);
        let (_dir, opened) = open_program(&program(dictionary(&[("w", t)])));
        let error = opened.expect_err("refused").to_string();
        assert!(error.contains("weights.pth"), "{error}");
    }
    // One number, repeated to more than the file.
    let t = tensor("FloatStorage", 6, 0, &[1 << 20], &[0]);
    let (_dir, opened) = open_program(&program(dictionary(&[("w", t)])));
    let error = opened.expect_err("refused").to_string();
    assert!(
        error.contains("`w`") && error.contains("more than a file"),
        "{error}"
    );
    let t = tensor("FloatStorage", 6, 0, &[1; 17], &[1; 17]);
    let (_dir, opened) = open_program(&program(dictionary(&[("w", t)])));
    assert!(opened.is_err());
    // The program says more than the archive has.
    let t = tensor("FloatStorage", 600, 0, &[100], &[1]);
    let (_dir, opened) = open_program(&program(dictionary(&[("w", t)])));
    let source = opened.expect("the file is larger");
    let error = source.load("w").expect_err("short").to_string();
    assert!(
        error.contains("weights.pth") && error.contains('w'),
        "{error}"
    );
    for kind in ["QInt8Storage", "ComplexFloatStorage", "Nonsense"] {
        let t = tensor(kind, 6, 0, &[6], &[1]);
        let (_dir, opened) = open_program(&program(dictionary(&[("w", t)])));
        let error = opened.expect_err("refused").to_string();
        assert!(error.contains(kind), "{error}");
    }
}

#[test]
fn archives_that_lie_are_errors() {
    let w = program(dictionary(&[(
        "w",
        tensor("FloatStorage", 6, 0, &[6], &[1]),
    )]));
    let storage = storage();
    refused(b"", "no archive of torch");
    refused(b"<!DOCTYPE html>", "no archive of torch");
    refused(
        b"version https://git-lfs.github.com/spec/v1\n",
        "git lfs pull",
    );
    refused(
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
        "before 1.6",
    );
    refused(&archive(&[("a/data/0", &storage, 24)]), "data.pkl");
    // A program that is said to be longer than the file, and than any; and one that is.
    let lying = archive(&[("a/data.pkl", &w, w.len() + 1000)]);
    refused(&lying, "cannot be read");
    refused(
        &archive(&[("a/data.pkl", &w, u32::MAX as usize - 1)]),
        "safetensors",
    );
    let long = vec![b'N'; MAX_PROGRAM as usize + 1];
    refused(
        &archive(&[("a/data.pkl", &long, long.len())]),
        "safetensors",
    );
    let big = archive(&[("a/data.pkl", &w, w.len()), ("a/byteorder", b"big", 3)]);
    refused(&big, "ig-endian");
    // A storage that is not there, or is shorter than the program says.
    let missing = archive(&[("a/data.pkl", &w, w.len())]);
    let short = archive(&[("a/data.pkl", &w, w.len()), ("a/data/0", &storage[..8], 8)]);
    for bytes in [missing, short] {
        let (_dir, opened) = open_bytes(&bytes);
        let error = opened
            .expect("opens")
            .load("w")
            .expect_err("absent")
            .to_string();
        assert!(
            error.contains("weights.pth") && error.contains("'w'"),
            "{error}"
        );
    }
    let whole = archive(&[("a/data.pkl", &w, w.len()), ("a/data/0", &storage, 24)]);
    for cut in [5, 40, whole.len() / 2, whole.len() - 30, whole.len() - 1] {
        refused(&whole[..cut], "cannot be read");
    }
}

#[test]
fn programs_that_make_no_sense_are_errors() {
    let nested = [vec![b']'; 5000], vec![b'a'; 4999]].concat();
    // Every round doubles the value: 2⁴⁰ copies.
    let mut bomb = b"]q\0".to_vec();
    for _ in 0..40 {
        bomb.extend(b"h\0h\0\x86q\0");
    }
    let programs: [Vec<u8>; 12] = [
        Vec::new(),
        b".".to_vec(),
        program(b"R".to_vec()),
        program(b"h\x07".to_vec()),
        program(b"}(K\x01u".to_vec()),
        program(b"X\xff\xff\xff\xffab".to_vec()),
        program(b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fab".to_vec()),
        program(b"\x82\x01".to_vec()),
        program(b"\xff".to_vec()),
        program(b"]".to_vec()),
        program(nested),
        program(bomb),
    ];
    for program in programs {
        let (_dir, opened) = open_program(&program);
        let error = opened.expect_err("refused").to_string();
        assert!(error.contains("weights.pth"), "{error}");
    }
    let (_dir, opened) = open_program(&program(b"}".to_vec()));
    assert!(
        opened
            .expect_err("empty")
            .to_string()
            .contains("no tensors")
    );
    let w = program(dictionary(&[(
        "w",
        tensor("FloatStorage", 6, 0, &[6], &[1]),
    )]));
    for cut in 0..w.len() {
        let (_dir, opened) = open_program(&w[..cut]);
        assert!(opened.is_err(), "{cut}");
    }
}

#[test]
fn the_ending_says_which_kind_of_file_it_is() {
    let (dir, opened) = open_program(&program(dictionary(&[(
        "w",
        tensor("FloatStorage", 6, 0, &[6], &[1]),
    )])));
    let source = opened.expect("opens");
    let path = dir.path().join("copy.safetensors");
    crate::checkpoint::save_safetensors(&path, &source, &BTreeMap::new()).expect("saves");
    for path in [path, dir.path().join("weights.pth")] {
        let source = open_source(&path).expect("opens");
        assert_eq!(source.names(), ["w"]);
        assert_eq!(source.load("w").expect("loads").num_elements(), 6);
    }
    assert!(open_source(dir.path().join("none.pth")).is_err());
}
