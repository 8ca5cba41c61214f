use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, fs, io};

use async_nats::rustls::crypto::ring;
use async_nats::rustls::pki_types::pem::{self, PemObject};
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::sign::CertifiedKey;
use async_nats::{ConnectOptions, ServerAddr};
use nkeys::{KeyPair, KeyPairType};
use url::Url;

use crate::{Error, Result};

/// Where an engine listens and who we are to it, as a URL says both.
///
/// Shown, it is without what is secret.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) servers: Vec<ServerAddr>,
    /// Keeps the queues of several programs on one engine apart.
    pub(super) namespace: String,
    /// Where the server tells how it writes to disk, if it does.
    pub(super) monitor: Option<String>,
    scheme: String,
    hosts: String,
    user: String,
    password: Option<String>,
    credentials: Option<PathBuf>,
    nkey: Option<PathBuf>,
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Without one in the URL.
const NAMESPACE: &str = "tm";

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address> {
        // The secret may be anywhere in a text that is no URL, so the text is not repeated.
        let wrong = |reason: &str| Error::Address(reason.to_string());
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("it has no ://"))?;
        let host_start = rest.rfind('@').map_or(0, |at| at + 1);
        let hosts_end = rest[host_start..]
            .find(['/', '?'])
            .map_or(rest.len(), |end| host_start + end);
        let hosts: Vec<&str> = rest[host_start..hosts_end].split(',').collect();
        // A list of hosts is ours; the rest is a URL's business.
        let single = format!(
            "{scheme}://{}{}{}",
            &rest[..host_start],
            hosts[0],
            &rest[hosts_end..]
        );
        let url = Url::parse(&single).map_err(|error| wrong(&error.to_string()))?;
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(wrong("a host is empty"));
        }
        let namespace = match url.path().trim_matches('/') {
            "" => NAMESPACE.to_string(),
            name => name.to_string(),
        };
        let plain = |char: char| char.is_ascii_alphanumeric() || char == '_';
        if !namespace.chars().all(plain) {
            return Err(wrong("its path, a namespace, has more than A-Z a-z 0-9 _"));
        }
        let servers = hosts.iter().map(|host| {
            let server = format!("{scheme}://{host}").parse::<ServerAddr>();
            server.map_err(|error| wrong(&error.to_string()))
        });
        let mut address = Address {
            servers: servers.collect::<Result<_>>()?,
            namespace,
            monitor: None,
            scheme: scheme.to_string(),
            hosts: hosts.join(","),
            user: decode(url.username()),
            password: url.password().map(decode),
            credentials: None,
            nkey: None,
            authority: None,
            certificate: None,
            key: None,
        };
        for (option, value) in url.query_pairs() {
            let path = || Some(PathBuf::from(value.as_ref()));
            match option.as_ref() {
                "monitor" => address.monitor = Some(value.into_owned()),
                "creds" => address.credentials = path(),
                "nkey" => address.nkey = path(),
                "ca" => address.authority = path(),
                "cert" => address.certificate = path(),
                "key" => address.key = path(),
                other => {
                    let known = "monitor, creds, nkey, ca, cert, key";
                    return Err(wrong(&format!("there is no option {other}, only {known}")));
                }
            }
        }
        match (&address.certificate, &address.key) {
            (Some(_), None) => Err(wrong("its option cert needs key, a file")),
            (None, Some(_)) => Err(wrong("its option key needs cert, a file")),
            _ => Ok(address),
        }
    }
}

/// A name or a secret of an address, without its percent signs.
fn decode(text: &str) -> String {
    // What a form decodes, once nothing in it has a meaning of its own.
    let text = text
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    let mut pairs = url::form_urlencoded::parse(text.as_bytes());
    pairs.next().map_or_else(String::new, |(key, _)| key.into())
}

impl Address {
    /// Where each client of the namespace answers that it is connected.
    pub(super) fn clients_subject(&self) -> String {
        format!("{}.clients", self.namespace)
    }

    /// The options of the client that say who we are.
    pub(super) async fn identify(&self, mut options: ConnectOptions) -> Result<ConnectOptions> {
        match &self.password {
            Some(password) => {
                options = options.user_and_password(self.user.clone(), password.clone());
            }
            None if !self.user.is_empty() => options = options.token(self.user.clone()),
            None => {}
        }
        if let Some(file) = &self.credentials {
            let attempt = format!("read the credentials from {}", file.display());
            let read = options.credentials_file(file).await;
            options = read.map_err(Error::io(attempt))?;
        }
        if let Some(file) = &self.nkey {
            options = options.nkey(user_seed(file)?);
        }
        if let Some(file) = &self.authority {
            certificates(file)?;
            options = options.add_root_certificates(file.clone());
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            check_pair(certificate, key)?;
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(options.require_tls(self.is_encrypted()))
    }

    /// Whether we insist on encryption. Whoever names certificates does, as in NATS's own tools.
    pub(super) fn is_encrypted(&self) -> bool {
        self.scheme == "tls" || self.authority.is_some() || self.certificate.is_some()
    }

    pub(super) fn has_authority(&self) -> bool {
        self.authority.is_some()
    }

    pub(super) fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// How we say who we are, in words without a secret; none if we do not.
    pub(super) fn identity(&self) -> Vec<String> {
        let file = |what: &str, file: &Option<PathBuf>| {
            let file = file.as_ref()?.display();
            Some(format!("{what} {file}"))
        };
        let spoken = match (&self.password, self.user.as_str()) {
            (Some(_), _) => Some("our user and password".to_string()),
            (None, "") => None,
            (None, _) => Some("our token".to_string()),
        };
        let ways = [
            spoken,
            file("the credentials of", &self.credentials),
            file("the nkey of", &self.nkey),
            file("the certificate of", &self.certificate),
        ];
        ways.into_iter().flatten().collect()
    }
}

/// The client reads these files again with each connection, and says little of what is wrong with
/// them; so they are looked at before.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let attempt = format!("read a certificate from {}", file.display());
    let text = fs::read(file).map_err(Error::io(&attempt))?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.and_then(|found| match found.is_empty() {
        true => Err(pem::Error::NoItemsFound),
        false => Ok(found),
    });
    found.map_err(|error| unusable(attempt, error))
}

fn check_pair(certificate: &Path, key: &Path) -> Result<()> {
    let chain = certificates(certificate)?;
    let attempt = format!("read a private key from {}", key.display());
    let text = fs::read(key).map_err(Error::io(&attempt))?;
    let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|error| unusable(attempt, error))?;
    let pair = CertifiedKey::from_der(chain, secret, &ring::default_provider());
    let attempt = || {
        let (certificate, key) = (certificate.display(), key.display());
        format!("use the certificate of {certificate} with the key of {key}")
    };
    pair.map_err(|error| unusable(attempt(), error)).map(|_| ())
}

/// The seed of a user: alone in its file, or between lines of other kinds.
fn user_seed(file: &Path) -> Result<String> {
    let attempt = format!("read the nkey from {}", file.display());
    let text = fs::read_to_string(file).map_err(Error::io(&attempt))?;
    let mut seeds = text.lines().map(str::trim).filter(|line| {
        let key = KeyPair::from_seed(line);
        key.is_ok_and(|key| key.key_pair_type() == KeyPairType::User)
    });
    let missing = "it has no line with the seed of a user, SU...";
    let seed = seeds.next().map(String::from);
    seed.ok_or_else(|| unusable(attempt, missing))
}

fn unusable(attempt: String, reason: impl ToString) -> Error {
    Error::Io {
        attempt,
        source: io::Error::new(io::ErrorKind::InvalidData, reason.to_string()),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.hosts)?;
        match self.namespace.as_str() {
            NAMESPACE => Ok(()),
            namespace => write!(f, "/{namespace}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for text in [
            "nats://bob:secret@a:4222,b:4223/render?creds=/secret/file",
            "nats://secret@a:4222,b:4223/render",
        ] {
            assert_eq!(parse(text).to_string(), "nats://a:4222,b:4223/render");
        }
    }

    #[test]
    fn a_password_is_decoded() {
        let address = parse("nats://bob:p%40ss+w%2Fo@a");
        assert_eq!(
            (address.user.as_str(), address.password.as_deref()),
            ("bob", Some("p@ss+w/o"))
        );
    }

    #[test]
    fn half_of_a_client_certificate_is_refused() {
        for (half, other) in [("cert", "key"), ("key", "cert")] {
            let text = format!("tls://a?{half}=/secret");
            let error = text.parse::<Address>().err().map(|error| error.to_string());
            let error = error.unwrap_or_else(|| panic!("{text} is taken for an address"));
            assert!(error.contains(&format!("{half} needs {other}")), "{error}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for text in [
            "secret",
            "nats://",
            "nats://a,,b",
            "nats://secret@a,b:port",
            "nats://a/secret.x",
            "nats://a?pass=secret",
        ] {
            let error = text.parse::<Address>().err().map(|error| error.to_string());
            let error = error.unwrap_or_else(|| panic!("{text} is taken for an address"));
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
