//! What a server says when it does not take us, and how to mend that.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use async_nats::rustls::{self, AlertDescription, CertificateError};
use async_nats::{ConnectError, ConnectErrorKind};

use super::address::Address;
use crate::{CONNECT_TIME, Error};

/// Why there is no connection.
pub(super) fn refused(address: &Address, error: &ConnectError) -> Error {
    let attempt = format!("connect to {address}");
    let system = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    let encryption = system
        .and_then(io::Error::get_ref)
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let reason = match (error.kind(), encryption, system) {
        (ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication, ..) => {
            unknown(address)
        }
        (ConnectErrorKind::TimedOut, ..) => late(),
        (_, Some(error), _) => unencrypted(address, error),
        (ConnectErrorKind::Tls, _, Some(system)) if !address.has_authority() => {
            format!("{system}; instead of the system's, name an authority's file by ?ca=FILE")
        }
        (_, _, Some(system)) if address.is_encrypted() && is_end(system.kind()) => {
            format!("the server ends the encryption: {system}; {PLAIN}")
        }
        (_, _, Some(system)) => {
            let text = io::Error::new(system.kind(), system.to_string());
            let source = system.raw_os_error().map(io::Error::from_raw_os_error);
            let source = source.unwrap_or(text);
            return Error::Io { attempt, source };
        }
        _ => error.to_string(),
    };
    Error::Engine { attempt, reason }
}

/// Nobody has answered.
pub(super) fn late() -> String {
    format!("no answer within {} s", CONNECT_TIME.as_secs())
}

const PLAIN: &str = "if it has none, write nats:// without ca and cert";

fn unknown(address: &Address) -> String {
    match address.identity().join(" and ") {
        ways if ways.is_empty() => "the server wants to know who we are: write \
             nats://USER:PASSWORD@HOST or nats://TOKEN@HOST, or add ?creds=FILE or ?nkey=FILE"
            .to_string(),
        ways => format!("the server refuses {ways}"),
    }
}

/// Why there is no encryption.
fn unencrypted(address: &Address, error: &rustls::Error) -> String {
    match error {
        // The second is of an authority that has the right one's name and another key.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            "we do not know the authority that signed the server's certificate: name the file with \
             the right one's by ?ca=FILE"
                .to_string()
        }
        // What a server says to a missing certificate depends on its version.
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA,
        ) => match address.has_certificate() {
            true => unknown(address),
            false => "the server wants a certificate of ours: ?cert=FILE&key=FILE".to_string(),
        },
        rustls::Error::InvalidMessage(_) => {
            format!("the server does not answer with encryption: {PLAIN}")
        }
        other => other.to_string(),
    }
}

/// Whether it says that the server hung up.
fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}
