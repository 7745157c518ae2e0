//! Pictures kept on disk: never stale, never torn, never above their size.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::cell::Cell;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use sha2::{Digest, Sha256};
use vtb_data::PictureCache;
use vtb_data::image_io::{self, ImageOptions};
use vtb_data::picture_cache::{CacheCounts, CacheKey, PIXELS};

fn noise(seed: u32) -> RgbImage {
    let mut state = seed;
    RgbImage::from_fn(40, 30, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb([state as u8, (state >> 9) as u8, (state >> 18) as u8])
    })
}

/// Asks for a picture; returns it and whether it had to be made.
fn ask(cache: &PictureCache, key: CacheKey, seed: u32) -> (RgbImage, bool) {
    let made = Cell::new(false);
    let make = || {
        made.set(true);
        Ok::<_, Infallible>(noise(seed))
    };
    (cache.get_or_make(key, make).unwrap(), made.get())
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(entries(&path)),
            false => found.push(path),
        }
    }
    found
}

fn bytes(dir: &Path) -> u64 {
    entries(dir)
        .iter()
        .map(|p| p.metadata().unwrap().len())
        .sum()
}

#[test]
fn a_picture_is_made_once_and_again_when_anything_changes() {
    let dir = tempfile::tempdir().unwrap();
    let key = CacheKey::new(b"file", "448 pixels");
    for run in 0..2 {
        let cache = PictureCache::open(dir.path(), 1 << 20).unwrap();
        assert_eq!(ask(&cache, key, 1), (noise(1), run == 0));
        assert_eq!(ask(&cache, key, 1), (noise(1), false));
    }
    let cache = PictureCache::open(dir.path(), 1 << 20).unwrap();
    for (content, geometry) in [
        (&b"filf"[..], "448 pixels"),
        (b"file", "447 pixels"),
        (b"s", "448 pixelfile"),
        (b"", "448 pixelsfile"),
    ] {
        let other = CacheKey::new(content, geometry);
        assert_eq!(ask(&cache, other, 2), (noise(2), true));
    }
    let counts = CacheCounts {
        hits: 0,
        misses: 4,
        damaged: 0,
    };
    assert_eq!(cache.counts(), counts);
}

#[test]
fn damaged_entries_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = PictureCache::open(dir.path(), 1 << 20).unwrap();
    let key = CacheKey::new(b"file", "");
    ask(&cache, key, 1);
    let path = entries(dir.path()).remove(0);
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bad in [&good[..good.len() - 1], &good[..3], b"", &flipped] {
        fs::write(&path, bad).unwrap();
        assert_eq!(ask(&cache, key, 1), (noise(1), true));
        assert_eq!(fs::read(&path).unwrap(), good);
    }
    assert_eq!(cache.counts().damaged, 4);
    // Of another key, under this name.
    ask(&cache, CacheKey::new(b"other", ""), 2);
    let other = entries(dir.path())
        .into_iter()
        .find(|p| *p != path)
        .unwrap();
    fs::copy(other, &path).unwrap();
    assert_eq!(ask(&cache, key, 1), (noise(1), true));
}

#[test]
fn a_failure_to_make_is_handed_on_and_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = PictureCache::open(dir.path(), 1 << 20).unwrap();
    let key = CacheKey::new(b"file", "");
    assert_eq!(cache.get_or_make(key, || Err("broken")), Err("broken"));
    assert!(entries(dir.path()).is_empty());
}

#[test]
fn the_size_is_kept_and_the_least_recently_used_go() {
    let dir = tempfile::tempdir().unwrap();
    let one = noise(1).len() as u64 + 56;
    let limit = 20 * one;
    let cache = PictureCache::open(dir.path(), limit).unwrap();
    let key = |i: u32| CacheKey::new(&i.to_le_bytes(), "");
    ask(&cache, key(0), 0);
    // Long ago, but used since.
    let first = entries(dir.path()).remove(0);
    let hour = std::time::Duration::from_secs(3600);
    let old = |path: &Path| {
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - hour)
            .unwrap();
    };
    for i in 1..10 {
        ask(&cache, key(i), i);
    }
    entries(dir.path()).iter().for_each(|path| old(path));
    assert!(!ask(&cache, key(0), 0).1);
    for i in 10..200 {
        ask(&cache, key(i), i);
        let found = bytes(dir.path());
        assert!(
            found <= limit + limit / 16 + one,
            "{found} of {limit} after {i}"
        );
        if i == 28 {
            assert!(
                first.exists(),
                "what was used last went before what was used long ago"
            );
            assert!(ask(&cache, key(1), 1).1);
        }
    }
    assert!(entries(dir.path()).len() > 10, "more went than had to");
    // Larger than all of it: not kept, and nothing goes for it.
    let before = entries(dir.path()).len();
    let tiny = PictureCache::open(dir.path(), one / 2).unwrap();
    ask(&tiny, key(1000), 1);
    assert_eq!(entries(dir.path()).len(), before);
}

#[test]
fn many_may_write_and_remove_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let one = noise(1).len() as u64 + 56;
    std::thread::scope(|scope| {
        for user in 0..4u32 {
            let path = dir.path();
            // Each has its own view of the folder, as processes have.
            scope.spawn(move || {
                let cache = PictureCache::open(path, 12 * one).unwrap();
                for round in 0..150u32 {
                    let i = (round * 7 + user * 3) % 30;
                    let found = ask(&cache, CacheKey::new(&i.to_le_bytes(), ""), i).0;
                    assert!(found == noise(i), "picture {i} is another");
                }
                assert_eq!(cache.counts().damaged, 0);
            });
        }
    });
    assert!(bytes(dir.path()) <= 12 * one + 4 * (one + one));
    assert!(entries(dir.path()).iter().all(|p| p.extension().is_none()));
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_costs_time_only() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(PictureCache::open(&file, 100).is_err());
    let cache = PictureCache::open(dir.path(), 1 << 20).unwrap();
    fs::remove_dir_all(dir.path().join("pictures-1")).unwrap();
    fs::write(dir.path().join("pictures-1"), b"").unwrap();
    let key = CacheKey::new(b"file", "");
    assert_eq!(ask(&cache, key, 3), (noise(3), true));
    assert_eq!(ask(&cache, key, 3), (noise(3), true));
}

/// If this fails because a decoder gives other pixels now, raise `PIXELS` and put the new hash here: entries of before
/// are then left behind.
#[test]
fn the_version_goes_with_the_pixels() {
    let jpeg = include_bytes!("fixtures/photo.jpg");
    let png = include_bytes!("fixtures/palette.png");
    let mut hash = Sha256::new();
    for bytes in [&jpeg[..], png] {
        let image = image_io::decode(bytes, &ImageOptions::default()).unwrap();
        hash.update(image.as_raw());
    }
    let found: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        (PIXELS, found.as_str()),
        (
            1,
            "d1202e406a41a99a516c6d7596e816fc8611425234553d205d3f5a426a9e70c2"
        )
    );
}
