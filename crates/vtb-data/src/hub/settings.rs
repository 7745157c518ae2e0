//! The environment of hub access: the one place where its variables are read.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{HubError, Result, printable};

/// The public hub.
const HUB: &str = "https://huggingface.co";
/// Longest token file that is read.
const TOKEN_LIMIT: u64 = 4096;

/// An access token. It is never printed: `Debug` shows where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    value: String,
    source: String,
}

impl Token {
    /// A token and where it came from. Blanks around it are left out.
    ///
    /// # Errors
    /// [`HubError::Setting`] when it cannot stand in a header; the token is not shown.
    pub fn new(value: &str, source: &str) -> Result<Self> {
        let value = value.trim();
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(HubError::Setting {
                name: source.to_owned(),
                reason: "holds something that is no token".to_owned(),
            });
        }
        Ok(Self {
            value: value.to_owned(),
            source: source.to_owned(),
        })
    }

    /// The variable or file it came from.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.value)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(from {})", self.source)
    }
}

/// The address of a proxy, which may hold a password: `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyAddress(pub(super) String);

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyAddress(..)")
    }
}

/// Everything hub access depends on.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The cache, shared with Python.
    pub cache: PathBuf,
    /// The hub, without a slash at the end. Plain `http` is used only where it stands here.
    pub endpoint: String,
    /// The token that is sent to the endpoint, and to no other host.
    pub token: Option<Token>,
    /// Nothing is downloaded; the cache must hold what is wanted.
    pub offline: bool,
    /// Longest wait for a connection, for the head of an answer, and for each part of a body.
    pub timeout: Duration,
    /// Wait before the second attempt; doubled before each further one, up to 16 times.
    pub backoff: Duration,
    /// Proxy for `http` addresses.
    pub http_proxy: Option<ProxyAddress>,
    /// Proxy for `https` addresses.
    pub https_proxy: Option<ProxyAddress>,
    /// Hosts that are reached without a proxy: names, names with a dot before them, or `*`.
    pub no_proxy: Vec<String>,
    /// Certificates of authorities to trust instead of the built-in ones, in PEM.
    pub authorities: Option<PathBuf>,
}

impl HubSettings {
    /// Reads the process environment.
    ///
    /// # Errors
    /// As [`HubSettings::from_lookup`].
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(&|name| std::env::var_os(name))
    }

    /// Reads the variables through `lookup`; empty ones count as absent.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` | the cache |
    /// | `HF_HOME` | holds `hub` and `token`; else `$XDG_CACHE_HOME/huggingface`, `~/.cache/huggingface` |
    /// | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` | the token |
    /// | `HF_TOKEN_PATH` | file with the token; else `$HF_HOME/token` |
    /// | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | send no token |
    /// | `HF_ENDPOINT` | another hub |
    /// | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | download nothing |
    /// | `HF_HUB_DOWNLOAD_TIMEOUT` | seconds, 10 |
    /// | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | proxies, also in lower case |
    /// | `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE` | authorities to trust |
    ///
    /// # Errors
    /// [`HubError::Setting`] naming the variable; [`HubError::Io`] for a token file that cannot be read.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Self> {
        let env = Env(lookup);
        let home = env.home();
        let cache = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]
            .iter()
            .find_map(|name| env.path(name))
            .or_else(|| Some(home.as_ref()?.join("hub")));
        let cache = cache.ok_or_else(|| {
            let reason = "is not set, and neither are HF_HOME and HF_HUB_CACHE; set one to say where the cache is";
            setting("HOME", reason)
        })?;
        let all = env.proxy("ALL_PROXY");
        Ok(Self {
            cache,
            endpoint: endpoint(env.text("HF_ENDPOINT")?)?,
            token: token(&env, home.as_deref())?,
            offline: env.flag("HF_HUB_OFFLINE") || env.flag("TRANSFORMERS_OFFLINE"),
            timeout: timeout(env.text("HF_HUB_DOWNLOAD_TIMEOUT")?)?,
            backoff: Duration::from_millis(500),
            http_proxy: env.proxy("HTTP_PROXY").or_else(|| all.clone()),
            https_proxy: env.proxy("HTTPS_PROXY").or(all),
            no_proxy: env
                .either("NO_PROXY")
                .unwrap_or_default()
                .split(',')
                .map(|host| host.trim().to_ascii_lowercase())
                .filter(|host| !host.is_empty())
                .collect(),
            authorities: ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]
                .iter()
                .find_map(|name| env.path(name)),
        })
    }
}

struct Env<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Env<'_> {
    fn get(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        let text = self.get(name).map(OsString::into_string).transpose();
        text.map_err(|_| setting(name, "is not UTF-8 text"))
    }

    /// A path; `~/` at its begin is the home directory.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.get(name)?);
        match (path.strip_prefix("~"), self.get("HOME")) {
            (Ok(rest), Some(home)) => Some(Path::new(&home).join(rest)),
            _ => Some(path),
        }
    }

    /// As Python reads it.
    fn flag(&self, name: &str) -> bool {
        let value = self.get(name).and_then(|v| v.into_string().ok());
        value.is_some_and(|v| ["1", "ON", "YES", "TRUE"].contains(&v.to_ascii_uppercase().as_str()))
    }

    /// A variable that is also known in lower case, which wins.
    fn either(&self, name: &str) -> Option<String> {
        let found = self
            .get(&name.to_ascii_lowercase())
            .or_else(|| self.get(name));
        found.and_then(|v| v.into_string().ok())
    }

    fn proxy(&self, name: &str) -> Option<ProxyAddress> {
        self.either(name).map(ProxyAddress)
    }

    /// `HF_HOME`, or what stands for it.
    fn home(&self) -> Option<PathBuf> {
        self.path("HF_HOME").or_else(|| {
            let own = || Some(PathBuf::from(self.get("HOME")?).join(".cache"));
            let cache = self.path("XDG_CACHE_HOME").or_else(own)?;
            Some(cache.join("huggingface"))
        })
    }
}

fn setting(name: &str, reason: impl Into<String>) -> HubError {
    HubError::Setting {
        name: name.to_owned(),
        reason: reason.into(),
    }
}

fn endpoint(text: Option<String>) -> Result<String> {
    let Some(text) = text else {
        return Ok(HUB.to_owned());
    };
    let text = text.trim().trim_end_matches('/');
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:[]".contains(&b);
    match rest {
        Some(rest) if !rest.is_empty() && rest.bytes().all(plain) => Ok(text.to_owned()),
        // A name and password before the host would end up in messages.
        Some(rest) if rest.contains('@') => Err(setting(
            "HF_ENDPOINT",
            "must not hold a user name; use HF_TOKEN",
        )),
        _ => {
            let text = printable(text);
            Err(setting(
                "HF_ENDPOINT",
                format!("`{text}` is no address; write https://host or http://host:port"),
            ))
        }
    }
}

fn timeout(text: Option<String>) -> Result<Duration> {
    let Some(text) = text else {
        return Ok(Duration::from_secs(10));
    };
    match text.trim().parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => {
            let text = printable(&text);
            Err(setting(
                "HF_HUB_DOWNLOAD_TIMEOUT",
                format!("`{text}` is no number of seconds above 0"),
            ))
        }
    }
}

fn token(env: &Env<'_>, home: Option<&Path>) -> Result<Option<Token>> {
    if env.flag("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
        return Ok(None);
    }
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(text) = env.text(name)?.filter(|t| !t.trim().is_empty()) {
            return Token::new(&text, name).map(Some);
        }
    }
    let named = env.path("HF_TOKEN_PATH");
    let Some(path) = named.clone().or_else(|| Some(home?.join("token"))) else {
        return Ok(None);
    };
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(TOKEN_LIMIT).read_to_string(&mut text));
    match read {
        Ok(_) if text.trim().is_empty() => Ok(None),
        Ok(_) => Token::new(&text, &path.display().to_string()).map(Some),
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(fault) => Err(HubError::io(&path, "read the token", fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<HubSettings> {
        HubSettings::from_lookup(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_is_found_as_python_finds_it() {
        let cache = |variables: &[(&str, &str)]| read(variables).unwrap().cache;
        let home = ("HOME", "/h");
        assert_eq!(cache(&[home]), Path::new("/h/.cache/huggingface/hub"));
        let xdg = ("XDG_CACHE_HOME", "/x");
        assert_eq!(cache(&[home, xdg]), Path::new("/x/huggingface/hub"));
        let hf = ("HF_HOME", "~/hf");
        assert_eq!(cache(&[home, xdg, hf]), Path::new("/h/hf/hub"));
        let hub = ("HF_HUB_CACHE", "/c");
        assert_eq!(cache(&[home, xdg, hf, hub]), Path::new("/c"));
        assert_eq!(cache(&[hub]), Path::new("/c"));
        assert_eq!(
            cache(&[("HF_HUB_CACHE", ""), home]),
            Path::new("/h/.cache/huggingface/hub")
        );
        let text = read(&[]).unwrap_err().to_string();
        assert!(text.contains("HF_HOME"), "{text}");
    }

    #[test]
    fn the_token_is_found_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        assert_eq!(read(&[("HF_HOME", home)]).unwrap().token, None);
        std::fs::write(dir.path().join("token"), "hf_from_home\n").unwrap();
        let of = |variables: &[(&str, &str)]| read(variables).unwrap().token.unwrap();
        let kept = of(&[("HF_HOME", home)]);
        assert_eq!(kept.header(), "Bearer hf_from_home");
        let other = dir.path().join("other");
        std::fs::write(&other, "hf_from_path").unwrap();
        let path = ("HF_TOKEN_PATH", other.to_str().unwrap());
        assert_eq!(
            of(&[("HF_HOME", home), path]).header(),
            "Bearer hf_from_path"
        );
        let direct = of(&[("HF_HOME", home), path, ("HF_TOKEN", " hf_direct\n")]);
        assert_eq!(
            (direct.header().as_str(), direct.source()),
            ("Bearer hf_direct", "HF_TOKEN")
        );
        let silent = read(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]);
        assert_eq!(silent.unwrap().token, None);

        let secret = ("HF_TOKEN", "hf_secret");
        let proxy = ("HTTPS_PROXY", "http://user:password@proxy:1");
        let shown = format!("{:?}", read(&[("HF_HOME", home), secret, proxy]).unwrap());
        assert!(
            !shown.contains("hf_secret") && !shown.contains("password"),
            "{shown}"
        );
        let fault = read(&[("HF_HOME", home), ("HF_TOKEN", "hf_sec ret")]).unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("hf_sec"), "{fault}");
        let missing = read(&[("HF_HOME", home), ("HF_TOKEN_PATH", "/nowhere/token")]);
        assert!(missing.unwrap_err().to_string().contains("/nowhere/token"));
    }

    #[test]
    fn endpoints_timeouts_and_flags() {
        let home = ("HOME", "/h");
        let plain = read(&[home]).unwrap();
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert_eq!(
            (plain.timeout, plain.offline),
            (Duration::from_secs(10), false)
        );
        let other = read(&[home, ("HF_ENDPOINT", "http://127.0.0.1:9/sub/")]).unwrap();
        assert_eq!(other.endpoint, "http://127.0.0.1:9/sub");
        for bad in [
            "ftp://host",
            "host",
            "https://",
            "https://user:secret@host",
            "https://a b",
        ] {
            let text = read(&[home, ("HF_ENDPOINT", bad)]).unwrap_err().to_string();
            assert!(
                text.contains("HF_ENDPOINT") && !text.contains("secret"),
                "{text}"
            );
        }
        for (value, offline) in [
            ("1", true),
            ("true", true),
            ("YES", true),
            ("0", false),
            ("no", false),
        ] {
            assert_eq!(
                read(&[home, ("HF_HUB_OFFLINE", value)]).unwrap().offline,
                offline
            );
        }
        for bad in ["0", "-1", "soon", "inf", "nan"] {
            assert!(
                read(&[home, ("HF_HUB_DOWNLOAD_TIMEOUT", bad)]).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn proxies_in_either_case() {
        let all = [
            ("HOME", "/h"),
            ("ALL_PROXY", "socks5://all"),
            ("https_proxy", "http://low"),
            ("HTTPS_PROXY", "http://high"),
            ("NO_PROXY", " .local, Host ,"),
        ];
        let found = read(&all).unwrap();
        assert_eq!(found.https_proxy.unwrap().0, "http://low");
        assert_eq!(found.http_proxy.unwrap().0, "socks5://all");
        assert_eq!(found.no_proxy, [".local", "host"]);
    }
}
