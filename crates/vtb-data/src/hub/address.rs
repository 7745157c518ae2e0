//! Addresses: where a request goes, where a redirect leads, how an address is shown.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;

/// What a part of a path may hold as it is.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One part of a path, encoded, its slashes too.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// A path, its parts encoded.
pub(super) fn path(text: &str) -> String {
    let parts: Vec<String> = text.split('/').map(part).collect();
    parts.join("/")
}

/// A parsed address of `http` or `https`.
#[derive(Debug, Clone)]
pub(super) struct Address {
    uri: Uri,
    secure: bool,
    host: String,
    port: u16,
}

impl Address {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // A name and password there would be sent, and shown.
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        let port = authority
            .port_u16()
            .unwrap_or(if secure { 443 } else { 80 });
        Some(Self {
            uri,
            secure,
            host,
            port,
        })
    }

    /// Where `location`, absolute or relative, leads from here.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        let scheme = if self.secure { "https" } else { "http" };
        let authority = self.uri.authority()?;
        if location.contains("://") && !location.starts_with('/') {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        if location.starts_with('/') {
            return Self::parse(&format!("{scheme}://{authority}{location}"));
        }
        let folder = self
            .uri
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        Self::parse(&format!("{scheme}://{authority}{folder}/{location}"))
    }

    /// Same scheme, host and port.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// Whether what is sent there is encrypted.
    pub(super) fn secure(&self) -> bool {
        self.secure
    }

    /// This machine.
    pub(super) fn loopback(&self) -> bool {
        let host = self.host.trim_matches(['[', ']']);
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Host and path: the query may hold a signature.
    pub(super) fn shown(&self) -> String {
        let authority = self.uri.authority().map_or("", |a| a.as_str());
        format!("{authority}{}", self.uri.path())
    }

    /// Whether the host is one of `hosts`, as `NO_PROXY` lists them.
    pub(super) fn is_among(&self, hosts: &[String]) -> bool {
        hosts.iter().any(|listed| {
            let bare = listed.trim_start_matches("*.").trim_start_matches('.');
            let below = self
                .host
                .strip_suffix(bare)
                .is_some_and(|rest| rest.ends_with('.'));
            listed == "*"
                || self.host == bare
                || below
                || format!("{}:{}", self.host, self.port) == *listed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(part("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(path("a b/ü#?.png"), "a%20b/%C3%BC%23%3F.png");
    }

    #[test]
    fn redirects_are_followed_from_where_one_stands() {
        let here = at("https://hub/org/name/resolve/main/a.bin?x=1");
        let to = |location: &str| here.join(location).map(|a| a.uri().to_string());
        assert_eq!(
            to("https://cdn/x?sig=2").as_deref(),
            Some("https://cdn/x?sig=2")
        );
        assert_eq!(to("//cdn/x").as_deref(), Some("https://cdn/x"));
        assert_eq!(
            to("/y?next=https://z/").as_deref(),
            Some("https://hub/y?next=https://z/")
        );
        assert_eq!(
            to("b.bin").as_deref(),
            Some("https://hub/org/name/resolve/main/b.bin")
        );
        assert_eq!(to("ftp://cdn/x"), None);
        assert_eq!(to("https://user:secret@cdn/x"), None);
        assert!(!at("https://cdn/x?sig=secret").shown().contains("secret"));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = at("https://hub/x");
        assert!(hub.same_origin(&at("https://HUB:443/y")));
        for other in [
            "http://hub/x",
            "https://hub:8443/x",
            "https://hub.evil/x",
            "https://evil/hub",
        ] {
            assert!(!hub.same_origin(&at(other)), "{other}");
        }
        assert!(at("http://[::1]:8/").loopback() && at("http://127.0.0.1/").loopback());
        assert!(!at("http://127.0.0.1.evil/").loopback());
    }

    #[test]
    fn hosts_without_a_proxy() {
        let listed = |text: &str| at("https://cdn.hub.co/x").is_among(&[text.to_owned()]);
        for yes in [
            "*",
            "hub.co",
            ".hub.co",
            "*.hub.co",
            "cdn.hub.co",
            "cdn.hub.co:443",
        ] {
            assert!(listed(yes), "{yes}");
        }
        for no in ["ub.co", "hub", "dn.hub.co", "hub.co.uk", "cdn.hub.co:80"] {
            assert!(!listed(no), "{no}");
        }
    }
}
