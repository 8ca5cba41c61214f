//! Who we are to a server: each way of saying so, the right one and a wrong one.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::errors::failure;
use crate::server::{DEADLINE, Server};

/// A client of this URL can do what a client does.
fn works(url: &str) {
    let client = distributed::connect(url).unwrap_or_else(|error| panic!("{url}: {error:?}"));
    client.create("tasks").expect("a queue");
    let tasks = client.queue::<u32>("tasks").expect("it is there");
    tasks.put(&34).expect("it is taken");
    assert_eq!(tasks.get_timeout(DEADLINE).expect("it is there"), 34);
}

/// What connecting fails with has these words, and the place without what else is in the URL.
fn fails(url: &str, words: &[&str]) {
    let text = failure(url);
    let (scheme, rest) = url.split_once("://").expect("it is a URL");
    let host = rest.rsplit('@').next().unwrap_or(rest);
    let host = host.split(['/', '?']).next().unwrap_or(host);
    let place = format!("connect to {scheme}://{host}: ");
    for word in words.iter().copied().chain([place.as_str()]) {
        assert!(text.contains(word), "{url}: {text}");
    }
}

/// Certificates of one authority, in files.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        Authority::named("queues")
    }

    fn named(name: &str) -> Authority {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut params = CertificateParams::new(vec![]).expect("it has no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        write(&folder, "ca.pem", &issuer.pem());
        Authority { folder, issuer }
    }

    fn file(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("text").to_string()
    }

    /// Signs for `host`; the files are NAME.pem and NAME.key.
    fn sign(&self, name: &str, host: &str) {
        let params = CertificateParams::new(vec![host.to_string()]).expect("a name");
        let key = rcgen::KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("it is signed");
        write(&self.folder, &format!("{name}.pem"), &signed.pem());
        write(&self.folder, &format!("{name}.key"), &key.serialize_pem());
    }

    /// A server with a certificate of this authority.
    fn serve(&self, host: &str, more: &str) -> Option<Server> {
        self.sign("server", host);
        let (certificate, key) = (self.file("server.pem"), self.file("server.key"));
        Server::configured(&format!(
            "jetstream {{}}\ntls {{ cert_file: \"{certificate}\", key_file: \"{key}\"\n{more} }}"
        ))
    }
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("the folder can be written to");
    path
}

#[test]
fn a_token_lets_in_and_another_does_not() {
    let Some(server) = Server::configured("jetstream {}\nauthorization { token: right }") else {
        return;
    };
    let port = server.port();
    works(&format!("nats://right@127.0.0.1:{port}"));
    let url = format!("nats://secret@127.0.0.1:{port}");
    fails(&url, &["refuses our token"]);
    let url = format!("nats://bob:secret@127.0.0.1:{port}");
    fails(&url, &["refuses our user and password"]);
    let url = format!("nats://127.0.0.1:{port}");
    fails(&url, &["who we are", "nats://TOKEN@HOST", "?creds=FILE"]);
}

#[test]
fn an_nkey_lets_in_and_another_does_not() {
    let (right, other) = (KeyPair::new_user(), KeyPair::new_user());
    let user = right.public_key();
    let configuration = format!("jetstream {{}}\nauthorization {{ users: [{{ nkey: {user} }}] }}");
    let Some(server) = Server::configured(&configuration) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder for the test");
    let url = |file: &Path| format!("nats://127.0.0.1:{}?nkey={}", server.port(), file.display());
    let seed = right.seed().expect("it has one");
    works(&url(&write(&folder, "plain", &format!("{seed}\n"))));
    works(&url(&write(&folder, "noted", &format!("# mine\n{seed}\n"))));
    let other = write(&folder, "other", &other.seed().expect("it has one"));
    let words = format!("refuses the nkey of {}", other.display());
    fails(&url(&other), &[&words]);
}

/// What NATS calls a JWT: claims of `issuer` on `subject`.
fn claims(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = encode(&json!({
        "jti": name, "iat": 1_700_000_000, "iss": issuer.public_key(), "name": name,
        "sub": subject.public_key(), "nats": nats,
    }));
    let text = format!("{header}.{claims}");
    let signature = issuer.sign(text.as_bytes()).expect("it signs");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A credentials file for a user of that account.
fn credentials(account: &KeyPair) -> String {
    let user = KeyPair::new_user();
    let nats = json!({
        "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
    });
    let jwt = claims(account, &user, "bob", &nats);
    let seed = user.seed().expect("it has one");
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[test]
fn credentials_of_a_known_account_let_in_and_others_do_not() {
    let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
    let (account, poor, other) = (
        KeyPair::new_account(),
        KeyPair::new_account(),
        KeyPair::new_account(),
    );
    let all = json!({ "type": "operator", "version": 2 });
    let operator_jwt = claims(&operator, &operator, "operator", &all);
    let of_account = |key: &KeyPair, disk: i64| {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1, "mem_storage": 0, "disk_storage": disk, "streams": disk,
            "consumer": disk,
        });
        let nats = json!({ "limits": limits, "type": "account", "version": 2 });
        let jwt = claims(&operator, key, "account", &nats);
        format!("{}: {jwt}", key.public_key())
    };
    let configuration = format!(
        "jetstream {{}}\noperator: {operator_jwt}\nsystem_account: {}\nresolver: MEMORY\n\
         resolver_preload: {{\n{}\n{}\n{}\n}}",
        system.public_key(),
        of_account(&system, 0),
        of_account(&account, -1),
        of_account(&poor, 0),
    );
    let Some(server) = Server::configured(&configuration) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder for the test");
    let url = |file: &Path| {
        format!(
            "nats://127.0.0.1:{}?creds={}",
            server.port(),
            file.display()
        )
    };
    works(&url(&write(&folder, "right.creds", &credentials(&account))));
    let file = write(&folder, "other.creds", &credentials(&other));
    let words = format!("refuses the credentials of {}", file.display());
    fails(&url(&file), &[&words]);
    // An account without storage is told of by the first call.
    let file = write(&folder, "poor.creds", &credentials(&poor));
    let client = distributed::connect(&url(&file)).expect("the account is known");
    let error = client.create("tasks").expect_err("it may have no stream");
    let text = error.to_string();
    assert!(text.contains("JetStream not enabled for account"), "{text}");
}

#[test]
fn a_server_with_a_certificate_is_believed_by_its_authority_alone() {
    let authority = Authority::new();
    let Some(server) = authority.serve("127.0.0.1", "") else {
        return;
    };
    let host = format!("127.0.0.1:{}", server.port());
    let ca = authority.file("ca.pem");
    works(&format!("tls://{host}?ca={ca}"));
    works(&format!("nats://{host}?ca={ca}"));
    // One of another name, and one that has the name and another key.
    let (other, namesake) = (Authority::named("other"), Authority::new());
    for authority in [&other, &namesake] {
        let url = format!("tls://secret@{host}?ca={}", authority.file("ca.pem"));
        fails(&url, &["do not know the authority", "?ca=FILE"]);
    }
    // Those of the system, if it has any.
    for scheme in ["tls", "nats"] {
        fails(&format!("{scheme}://secret@{host}"), &["?ca=FILE"]);
    }
}

#[test]
fn a_certificate_for_another_host_is_told_of_with_both_names() {
    let authority = Authority::new();
    let Some(server) = authority.serve("queues.example", "") else {
        return;
    };
    let url = format!(
        "tls://127.0.0.1:{}?ca={}",
        server.port(),
        authority.file("ca.pem")
    );
    fails(&url, &["not valid for name", "queues.example"]);
}

#[test]
fn a_server_that_wants_a_certificate_of_ours_gets_it_and_says_so_without() {
    let authority = Authority::new();
    let ca = authority.file("ca.pem");
    let Some(server) = authority.serve("127.0.0.1", &format!("ca_file: \"{ca}\", verify: true"))
    else {
        return;
    };
    let stranger = Authority::named("stranger");
    let url = |authority: &Authority| {
        authority.sign("client", "bob");
        let (certificate, key) = (authority.file("client.pem"), authority.file("client.key"));
        let port = server.port();
        format!("tls://127.0.0.1:{port}?ca={ca}&cert={certificate}&key={key}")
    };
    works(&url(&authority));
    let words = format!("refuses the certificate of {}", stranger.file("client.pem"));
    fails(&url(&stranger), &[&words]);
    let url = format!("tls://127.0.0.1:{}?ca={ca}", server.port());
    fails(&url, &["wants a certificate", "?cert=FILE&key=FILE"]);
}

#[test]
fn encryption_is_insisted_on_where_the_server_has_none() {
    let Some(server) = Server::start() else {
        return;
    };
    let authority = Authority::new();
    let place = format!("secret@127.0.0.1:{}", server.port());
    for scheme in ["tls", "nats"] {
        let url = format!("{scheme}://{place}?ca={}", authority.file("ca.pem"));
        fails(&url, &["encryption", "write nats://"]);
    }
    fails(&format!("tls://{place}"), &[]);
}

#[test]
fn a_file_that_is_missing_or_garbage_is_named() {
    let authority = Authority::new();
    authority.sign("a", "bob");
    authority.sign("b", "bob");
    let account = KeyPair::new_account().seed().expect("it has one");
    write(&authority.folder, "garbage", "secret\n");
    write(&authority.folder, "account", &account);
    let file = |name: &str| authority.file(name);
    // Before any server is asked.
    for (options, named) in [
        ("ca={missing}", "missing"),
        ("ca={garbage}", "garbage"),
        ("ca={a.key}", "a.key"),
        ("cert={missing}&key={a.key}", "missing"),
        ("cert={garbage}&key={a.key}", "garbage"),
        ("cert={a.pem}&key={missing}", "missing"),
        ("cert={a.pem}&key={garbage}", "garbage"),
        ("cert={a.pem}&key={b.key}", "b.key"),
        ("creds={missing}", "missing"),
        ("creds={garbage}", "garbage"),
        ("creds={a.pem}", "a.pem"),
        ("nkey={missing}", "missing"),
        ("nkey={garbage}", "garbage"),
        ("nkey={account}", "account"),
    ] {
        let folder = authority.folder.path().to_str().expect("text");
        let options = options.replace('{', &format!("{folder}/")).replace('}', "");
        let text = failure(&format!("tls://secret@127.0.0.1:1?{options}"));
        assert!(text.contains(&file(named)), "{options}: {text}");
        assert!(!text.contains(&account), "{text}");
    }
    for half in ["cert={a.pem}", "key={a.key}"] {
        let text = failure(&format!("tls://secret@127.0.0.1:1?{half}"));
        assert!(text.contains(" needs "), "{text}");
    }
}
