//! Requests: redirects followed by hand, the token kept to its host, failures told apart, patience with a bound.

use std::io::Read;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::HeaderMap;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

use super::Watch;
use super::address::Address;
use super::error::{HubError, Result, printable};
use super::patience::{Failure, Patience, Refusal, Trouble};
use super::settings::{HubSettings, ProxyAddress};

/// Redirects of one request.
const MOST_REDIRECTS: usize = 10;
/// Largest file of certificates.
const AUTHORITIES_LIMIT: u64 = 16 << 20;
/// Largest JSON answer.
const JSON_LIMIT: u64 = 32 << 20;
/// Largest text of a refusal that is looked at.
const REFUSAL_LIMIT: u64 = 4096;

/// Sends requests as the settings say.
pub(super) struct Client {
    settings: HubSettings,
    endpoint: Address,
    direct: Agent,
    http: Option<Agent>,
    https: Option<Agent>,
}

/// An answer that is no redirect.
pub(super) struct Reply {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Body,
    pub(super) address: String,
}

impl Client {
    pub(super) fn new(settings: HubSettings) -> Result<Self> {
        let endpoint = Address::parse(&settings.endpoint).ok_or_else(|| HubError::Setting {
            name: "HF_ENDPOINT".into(),
            reason: "is no address".into(),
        })?;
        let roots = authorities(&settings)?;
        let agent = |proxy: Option<&ProxyAddress>| -> Result<Agent> {
            let proxy = proxy.map(|address| Proxy::new(&address.0)).transpose();
            let proxy = proxy.map_err(|_| HubError::Setting {
                name: "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY".into(),
                reason: "is no address of a proxy (http://host:port or socks5://host:port)".into(),
            })?;
            Ok(build_agent(&settings, proxy, roots.clone()))
        };
        let proxied =
            |address: &Option<ProxyAddress>| address.as_ref().map(|a| agent(Some(a))).transpose();
        Ok(Self {
            endpoint,
            direct: agent(None)?,
            http: proxied(&settings.http_proxy)?,
            https: proxied(&settings.https_proxy)?,
            settings,
        })
    }

    pub(super) fn settings(&self) -> &HubSettings {
        &self.settings
    }

    /// One request for `url`, from byte `from` on, redirects followed. A body that is read through `Reply::json` or
    /// `Reply::bytes` must be complete within six time-outs.
    pub(super) fn get(&self, url: &str, from: u64) -> std::result::Result<Reply, Trouble> {
        let answer = |address: &Address, reason: &str| {
            Trouble::End(HubError::Answer {
                address: address.shown(),
                reason: reason.to_owned(),
            })
        };
        let mut at = Address::parse(url)
            .ok_or_else(|| answer(&self.endpoint, "an address of it cannot be read"))?;
        for _ in 0..=MOST_REDIRECTS {
            if !at.secure() && self.endpoint.secure() {
                return Err(answer(
                    &at,
                    "the hub redirects to an address without encryption, which is not followed",
                ));
            }
            let reply = self.send(&at, from)?;
            if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(reply);
            }
            let next = reply
                .header("location")
                .and_then(|location| at.join(location));
            at = next.ok_or_else(|| answer(&at, "redirects to something that is no address"))?;
        }
        Err(answer(&at, "redirects without end"))
    }

    fn send(&self, at: &Address, from: u64) -> std::result::Result<Reply, Trouble> {
        let proxied = match at.secure() {
            true => &self.https,
            false => &self.http,
        };
        let proxied = proxied
            .as_ref()
            .filter(|_| !at.is_among(&self.settings.no_proxy));
        let agent = proxied.unwrap_or(&self.direct);
        let mut request = agent.get(at.uri()).header("accept-encoding", "identity");
        if let Some(token) = self.token_for(at) {
            request = request.header("authorization", token);
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        match request.call() {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Ok(Reply {
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body,
                    address: at.shown(),
                })
            }
            Err(fault) => Err(trouble(at.shown(), &fault)),
        }
    }

    /// The token goes to the endpoint alone, and never unencrypted over a network.
    fn token_for(&self, at: &Address) -> Option<String> {
        let safe = at.secure() || at.loopback();
        let token = self.settings.token.as_ref()?;
        (safe && at.same_origin(&self.endpoint)).then(|| token.header())
    }

    /// Which token was used and where one is looked for, for messages about refusals.
    pub(super) fn token_note(&self) -> String {
        match &self.settings.token {
            Some(_) if !self.endpoint.secure() && !self.endpoint.loopback() => {
                "the token was not sent, since HF_ENDPOINT is not encrypted (https)".to_owned()
            }
            Some(token) => format!("the token of {} was sent", token.source()),
            None => "no token was sent; one is taken from HF_TOKEN, the file of HF_TOKEN_PATH or $HF_HOME/token, where \
                     `hf auth login` writes it"
                .to_owned(),
        }
    }

    /// A JSON answer, tried up to `attempts` times, and its link to the next page.
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        url: &str,
        attempts: u32,
        watch: &dyn Watch,
    ) -> std::result::Result<(T, Option<String>), Failure> {
        let mut patience = Patience::new(self.settings.backoff, attempts);
        loop {
            let found = self.get(url, 0).and_then(|reply| {
                let next = reply.next_page();
                let address = reply.address.clone();
                let text = reply.ok()?.bytes(JSON_LIMIT)?;
                let parsed = serde_json::from_slice(&text).map_err(|fault| {
                    let reason = format!(
                        "is not the JSON that a hub sends: {}",
                        printable(&fault.to_string())
                    );
                    Trouble::End(HubError::Answer { address, reason })
                });
                Ok((parsed?, next))
            });
            match found {
                Ok((found, next)) => return Ok((found, self.checked_page(next)?)),
                Err(trouble) => patience.wait(trouble, watch)?,
            }
        }
    }

    /// A further page must be on the same host.
    fn checked_page(&self, next: Option<String>) -> Result<Option<String>> {
        let Some(next) = next else { return Ok(None) };
        match self.endpoint.join(&next) {
            Some(page) if page.same_origin(&self.endpoint) => Ok(Some(page.uri().to_string())),
            _ => Err(HubError::Answer {
                address: self.endpoint.shown(),
                reason: "the next page of a listing is on another host".into(),
            }),
        }
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, of at most `limit` bytes.
    pub(super) fn bytes(self, limit: u64) -> std::result::Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let body = self.body.into_with_config().limit(u64::MAX).reader();
        let read = body.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|fault| Trouble::Again {
            address: self.address.clone(),
            reason: printable(&fault.to_string()),
            after: None,
        })?;
        match bytes.len() as u64 > limit {
            true => Err(Trouble::End(HubError::Answer {
                address: self.address,
                reason: format!("the answer has more than {limit} bytes"),
            })),
            false => Ok(bytes),
        }
    }

    /// This reply where its status is one of success.
    pub(super) fn ok(self) -> std::result::Result<Self, Trouble> {
        match self.status {
            200..=299 => Ok(self),
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                let after = self
                    .header("retry-after")
                    .and_then(|text| text.trim().parse().ok());
                Err(Trouble::Again {
                    reason: format!("status {}", self.status),
                    after: after.map(Duration::from_secs),
                    address: self.address,
                })
            }
            _ => {
                let named = |name: &str| self.header(name).map(printable).unwrap_or_default();
                let (status, address, code) =
                    (self.status, self.address.clone(), named("x-error-code"));
                let mut message = named("x-error-message");
                if message.is_empty() {
                    let json = self.bytes(REFUSAL_LIMIT).ok();
                    let json: Option<serde_json::Value> =
                        json.and_then(|text| serde_json::from_slice(&text).ok());
                    let text = json.as_ref().and_then(|json| json.get("error")?.as_str());
                    message = text.map(printable).unwrap_or_default();
                }
                Err(Trouble::Refused(Refusal {
                    status,
                    code,
                    message,
                    address,
                }))
            }
        }
    }

    /// The target of `Link: <...>; rel="next"`.
    fn next_page(&self) -> Option<String> {
        let links = self.header("link")?;
        let next = links
            .split(',')
            .find(|link| link.contains("rel=\"next\""))?;
        let (_, rest) = next.split_once('<')?;
        Some(rest.split_once('>')?.0.to_owned())
    }
}

fn build_agent(settings: &HubSettings, proxy: Option<Proxy>, roots: RootCerts) -> Agent {
    let wait = Some(settings.timeout);
    // Redirects are followed here, so that every hop is looked at.
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(proxy)
        .user_agent(concat!("vtb/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .timeout_resolve(wait)
        .timeout_connect(wait)
        .timeout_send_request(wait)
        .timeout_recv_response(wait)
        .timeout_per_read(wait)
        .timeout_per_write(wait)
        .build()
        .into()
}

fn authorities(settings: &HubSettings) -> Result<RootCerts> {
    let Some(path) = &settings.authorities else {
        return Ok(RootCerts::WebPki);
    };
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| HubError::io(path, "open", e))?;
    let read = file.take(AUTHORITIES_LIMIT).read_to_end(&mut pem);
    read.map_err(|e| HubError::io(path, "read", e))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(HubError::Setting {
            name: "REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE".into(),
            reason: format!("{} holds no certificate in PEM", path.display()),
        }),
        false => Ok(RootCerts::new_with_certs(&certificates)),
    }
}

/// Only what cannot change by itself ends at once.
fn trouble(address: String, fault: &ureq::Error) -> Trouble {
    let reason = printable(&fault.to_string());
    match fault {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => {
            Trouble::End(HubError::Answer {
                address,
                reason: format!(
                    "{reason}; behind a proxy that replaces certificates, name its authority in SSL_CERT_FILE"
                ),
            })
        }
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Trouble::End(HubError::Answer { address, reason })
        }
        _ => Trouble::Again {
            address,
            reason,
            after: None,
        },
    }
}
