//! Hub access: its cache, token and address.

use std::ffi::OsString;
use std::path::PathBuf;

use super::report::{Report, Status};

/// Says what the programs would use, and returns where the cache lies.
#[cfg(not(feature = "hub"))]
pub(super) fn look(
    report: &mut Report,
    _lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    let hint = "build with the default features to name models and data on the hub";
    report.bad(Status::Warn, "hub", "access", "not built in", hint);
    None
}

/// Says what the programs would use, and returns where the cache lies.
#[cfg(feature = "hub")]
pub(super) fn look(
    report: &mut Report,
    lookup: &dyn Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    use vtb_data::hub::HubSettings;

    let settings = match HubSettings::from_lookup(lookup) {
        Ok(settings) => settings,
        Err(fault) => {
            let hint = "set or remove it; names on the hub cannot be used before";
            report.bad(Status::Warn, "hub", "settings", fault.to_string(), hint);
            return None;
        }
    };
    let offline = if settings.offline {
        " (offline: nothing is downloaded)"
    } else {
        ""
    };
    report.ok("hub", "address", format!("{}{offline}", settings.endpoint));
    match &settings.token {
        Some(token) => report.ok("hub", "token", format!("set, from {}", token.source())),
        None => report.bad(
            Status::Warn,
            "hub",
            "token",
            "none",
            "only gated and private repositories need one: HF_TOKEN=..., or `hf auth login`",
        ),
    }
    let cache = settings.cache;
    let told = match walk::measure(&cache) {
        Some(found) => format!("{}: {found}", cache.display()),
        None => format!("{}: not there yet", cache.display()),
    };
    report.ok("hub", "cache", told);
    Some(cache)
}

#[cfg(feature = "hub")]
mod walk {
    use std::fs;
    use std::path::Path;

    use crate::plan::gib;

    /// Files that are counted at most, so that a look stays one.
    const MOST: usize = 200_000;

    /// Models, data sets and bytes of a cache; `None` where there is none.
    pub(super) fn measure(cache: &Path) -> Option<String> {
        let (mut models, mut sets, mut bytes, mut files) = (0, 0, 0, 0);
        for entry in fs::read_dir(cache).ok()?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            models += usize::from(name.starts_with("models--"));
            sets += usize::from(name.starts_with("datasets--"));
            // Snapshots are links to blobs, where links can be made.
            let blobs = fs::read_dir(entry.path().join("blobs"));
            for blob in blobs.into_iter().flatten().flatten() {
                files += 1;
                if files > MOST {
                    break;
                }
                bytes += blob.metadata().map_or(0, |m| m.len());
            }
        }
        let more = if files > MOST { " at least" } else { "" };
        Some(format!(
            "{models} models, {sets} data sets,{more} {}",
            gib(bytes)
        ))
    }
}

#[cfg(all(test, feature = "hub"))]
mod tests {
    use super::*;

    fn table(variables: &[(&str, &str)]) -> (String, Option<PathBuf>) {
        let mut report = Report::default();
        let cache = look(&mut report, &|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        });
        assert!(report.usable(), "the hub is never needed");
        (report.table(), cache)
    }

    #[test]
    fn the_cache_is_measured_and_the_token_kept_secret() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("hub/models--org--name/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::create_dir_all(dir.path().join("hub/datasets--org--rows")).unwrap();
        std::fs::write(blobs.join("a"), vec![0; 3 << 20]).unwrap();
        let home = ("HF_HOME", dir.path().to_str().unwrap());
        let (text, cache) = table(&[home, ("HF_TOKEN", "hf_secret"), ("HF_HUB_OFFLINE", "1")]);
        assert!(text.contains("1 models, 1 data sets, 3.0 MiB"), "{text}");
        assert!(text.contains("set, from HF_TOKEN") && text.contains("offline"));
        assert!(!text.contains("hf_secret"), "{text}");
        assert_eq!(cache.unwrap(), dir.path().join("hub"));
        let (text, _) = table(&[("HOME", "/nowhere")]);
        assert!(
            text.contains("not there yet") && text.contains("hf auth login"),
            "{text}"
        );
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        let (text, cache) = table(&[("HOME", "/nowhere"), ("HF_HUB_DOWNLOAD_TIMEOUT", "soon")]);
        assert!(
            text.contains("warn") && text.contains("HF_HUB_DOWNLOAD_TIMEOUT"),
            "{text}"
        );
        assert_eq!(cache, None);
    }
}
