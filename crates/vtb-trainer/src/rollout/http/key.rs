//! The key of a server: read from the environment, never shown.

use std::fmt;

use super::error::HttpFault;

/// A secret that goes into the header of requests and nowhere else.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key as it stands behind `Bearer`.
    ///
    /// # Errors
    /// [`HttpFault::Setting`] naming `source` if a header cannot hold it.
    pub fn new(text: &str, source: &str) -> Result<Self, HttpFault> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(HttpFault::Setting {
                key: source.to_owned(),
                message: "is no key: it must be visible ASCII without spaces".into(),
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// The key in the environment variable `name`, if it is set and not empty.
    ///
    /// # Errors
    /// As [`ApiKey::new`].
    pub fn from_env(name: &str) -> Result<Option<Self>, HttpFault> {
        let found = std::env::var_os(name).filter(|value| !value.is_empty());
        let text = found.map(|value| value.to_string_lossy().into_owned());
        text.map(|text| Self::new(&text, name)).transpose()
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// `text` without the key, should a server repeat it.
    pub(super) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = ApiKey::new(" sk-secret\n", "KEY").unwrap();
        assert_eq!(key.header(), "Bearer sk-secret");
        assert!(!format!("{key:?}").contains("secret"));
        assert_eq!(key.redact("bad sk-secret!"), "bad [key]!");
        for bad in ["", "  ", "a b", "a\nb", "ä"] {
            let fault = ApiKey::new(bad, "KEY").unwrap_err();
            assert!(fault.to_string().starts_with("`KEY`"), "{fault}");
            assert!(bad.trim().is_empty() || !fault.to_string().contains(bad));
        }
    }
}
