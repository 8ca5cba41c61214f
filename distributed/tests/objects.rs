//! The objects of Python's `SyncManager`, asked by CPython of every version here.

use distributed::Server;

use support::{python, pythons, run};

mod support;

fn server() -> Server {
    let builder = Server::builder().sync_manager();
    builder
        .serve("127.0.0.1:0", b"abc")
        .expect("a port is free")
}

/// A case of `objects.py` says of our server what it says of CPython's own.
#[track_caller]
fn answers_as_pythons_own_server(case: &str) {
    for (version, path) in pythons() {
        let said = run(python(&path, "objects.py").args(["own", case]));
        assert_eq!(said, "ok\n", "{version}, its own server");
        let server = server();
        let address = server.address().to_string();
        let said = run(python(&path, "objects.py").args([&address, case]));
        assert_eq!(said, "ok\n", "{version}");
    }
}

#[test]
fn a_dict_answers_as_pythons_own() {
    answers_as_pythons_own_server("dicts");
}

#[test]
fn a_list_answers_as_pythons_own() {
    answers_as_pythons_own_server("lists");
}

#[test]
fn a_namespace_a_value_and_an_array_answer_as_pythons_own() {
    answers_as_pythons_own_server("values");
}
