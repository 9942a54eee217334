//! The one HTTP client of the box: JSON and files from the site plane, over TLS 1.3 to the pinned root.
//!
//! Each request has a connection of its own: there are few of them, TLS resumes, and nothing has to be known about the state of a
//! connection that a router on the way may have forgotten.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::UplinkError;
use crate::wire::uplink::Refusal;

/// Where the site plane is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudUrl {
    text: String,
    host: String,
    port: u16,
    name: ServerName<'static>,
}

impl CloudUrl {
    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

impl FromStr for CloudUrl {
    type Err = UplinkError;

    fn from_str(text: &str) -> Result<Self, UplinkError> {
        let error = || UplinkError::BadUrl(text.chars().take(200).collect());
        let uri: Uri = text.parse().map_err(|_| error())?;
        let authority = uri.authority().ok_or_else(error)?;
        let only_host_and_port = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        if uri.scheme_str() != Some("https") || !only_host_and_port {
            return Err(error());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| error())?;
        Ok(Self { text: text.trim_end_matches('/').to_owned(), port: authority.port_u16().unwrap_or(443), host, name })
    }
}

/// Asks one cloud, as one site or as nobody yet.
#[derive(Clone)]
pub struct Client {
    url: CloudUrl,
    tls: TlsConnector,
}

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// A file may take long over a thin line, as long as something comes.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
const JSON_LIMIT: u64 = 1 << 20;

impl Client {
    /// A client for this cloud; `tls` says whom it trusts and who it is.
    #[must_use]
    pub fn new(url: CloudUrl, tls: ClientConfig) -> Self {
        Self { url, tls: TlsConnector::from(Arc::new(tls)) }
    }

    /// Fetches a JSON value.
    ///
    /// # Errors
    /// When the cloud can't be reached, refuses, or answers something else.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, UplinkError> {
        self.json(Method::GET, path, Bytes::new()).await
    }

    /// Sends a JSON value and reads the answer.
    ///
    /// # Errors
    /// When the cloud can't be reached, refuses, or answers something else.
    pub async fn post<Q: Serialize, A: DeserializeOwned>(&self, path: &str, question: &Q) -> Result<A, UplinkError> {
        // The messages of the site plane are structs of strings and numbers, which always serialise.
        let body = serde_json::to_vec(question).unwrap_or_default();
        self.json(Method::POST, path, Bytes::from(body)).await
    }

    /// Fetches a file of `size` octets.
    ///
    /// # Errors
    /// When the cloud can't be reached or refuses, when the file is longer or shorter, or when nothing comes for half a minute.
    pub async fn download(&self, path: &str, size: u64) -> Result<Bytes, UplinkError> {
        let body = self.within(ANSWER_LIMIT, self.request(Method::GET, path, Bytes::new())).await??;
        let bytes = self.read(body, size).await?;
        match u64::try_from(bytes.len()) {
            Ok(length) if length == size => Ok(bytes),
            _ => Err(self.bad_answer(format!("{} octets instead of {size} for {path}", bytes.len()))),
        }
    }

    async fn json<A: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<A, UplinkError> {
        let exchange = async {
            let answer = self.request(method, path, body).await?;
            self.read(answer, JSON_LIMIT).await
        };
        let bytes = self.within(ANSWER_LIMIT, exchange).await??;
        serde_json::from_slice(&bytes).map_err(|error| self.bad_answer(format!("{path}: {error}")))
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Incoming, UplinkError> {
        let address = self.url.address();
        let stream = self
            .within(CONNECT_LIMIT, TcpStream::connect((self.url.host.as_str(), self.url.port)))
            .await?
            .map_err(|source| UplinkError::Unreachable { address: address.clone(), source })?;
        // Requests are small and wait for their answer: the delay that joins small writes only costs time. It is an optimisation.
        drop(stream.set_nodelay(true));
        let stream = self
            .within(CONNECT_LIMIT, self.tls.connect(self.url.name.clone(), stream))
            .await?
            .map_err(|error| UplinkError::from_tls(&address, error))?;
        let broken = |error| UplinkError::from_http(&address, error);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(http::header::HOST, address.as_str())
            .header(http::header::USER_AGENT, concat!("fairlead-edge/", env!("CARGO_PKG_VERSION")))
            .header(http::header::CONNECTION, "close");
        if method == Method::POST {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(|error| self.bad_answer(format!("{path}: {error}")))?;
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            // The request only knows that the connection ended; the connection knows why, as when the server sent an alert.
            Err(error) => {
                return Err(match self.within(CONNECT_LIMIT, connection).await? {
                    Ok(Err(cause)) => broken(cause),
                    _ => broken(error),
                });
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = self.read(response.into_body(), JSON_LIMIT).await?;
        let refusal = serde_json::from_slice::<Refusal>(&body).unwrap_or_else(|_| Refusal {
            error: String::from_utf8_lossy(&body).trim().chars().take(200).collect(),
            hint: "see the cloud's log".to_owned(),
        });
        Err(UplinkError::Refused { status, error: refusal.error, hint: refusal.hint })
    }

    async fn read(&self, mut body: Incoming, limit: u64) -> Result<Bytes, UplinkError> {
        let address = self.url.address();
        let mut bytes = BytesMut::new();
        while let Some(frame) = self.within(SILENCE_LIMIT, body.frame()).await? {
            let frame = frame.map_err(|error| UplinkError::from_http(&address, error))?;
            let Ok(data) = frame.into_data() else { continue };
            bytes.extend_from_slice(&data);
            if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
                return Err(self.bad_answer(format!("more than {limit} octets")));
            }
        }
        Ok(bytes.freeze())
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Result<T, UplinkError> {
        tokio::time::timeout(limit, work).await.map_err(|_| UplinkError::TimedOut { address: self.url.address(), seconds: limit.as_secs() })
    }

    fn bad_answer(&self, what: String) -> UplinkError {
        UplinkError::BadAnswer { address: self.url.address(), what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_https_with_host_and_port_alone() {
        let address = |text: &str| text.parse::<CloudUrl>().map(|url| url.address()).ok();
        assert_eq!(address("https://198.51.100.10:8444"), Some("198.51.100.10:8444".to_owned()));
        assert_eq!(address("https://cloud.example/"), Some("cloud.example:443".to_owned()));
        assert_eq!(address("https://[2001:db8::1]:8444"), Some("[2001:db8::1]:8444".to_owned()));
        for text in
            ["", "http://cloud.example", "cloud.example:8444", "https://", "https://a b", "https://x/y", "https://u@x", "https://x?y"]
        {
            assert_eq!(address(text), None, "{text}");
        }
    }
}
