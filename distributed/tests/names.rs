//! The names under which a server has what clients open.

use distributed::{Builder, Client, Error, ObjectType, QueueOptions, Server};

/// Why nothing is served under such names.
#[track_caller]
fn assert_refused(builder: Builder, name: &str, why: &str) {
    match builder.serve("127.0.0.1:0", b"abc") {
        Err(error @ Error::Name { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&format!("`{name}`")), "{text}");
            assert!(text.contains(why), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_things_of_one_name_are_refused() {
    let rules = QueueOptions::new("tasks").maxsize(3);
    let twice = Server::builder().queue(rules).queue("tasks");
    assert_refused(twice, "tasks", "twice");
    let both = Server::builder()
        .queue("tasks")
        .object("tasks", ObjectType::Dict);
    assert_refused(both, "tasks", "twice");
    let objects = Server::builder()
        .object("settings", ObjectType::Dict)
        .object("settings", ObjectType::List);
    assert_refused(objects, "settings", "twice");
}

#[test]
fn a_name_that_no_client_could_open_is_refused() {
    assert_refused(Server::builder().queue(""), "", "at least one character");
    assert_refused(
        Server::builder().queue("#INFO"),
        "#INFO",
        "another first character",
    );
    let object = Server::builder().object("#x", ObjectType::Dict);
    assert_refused(object, "#x", "another first character");
}

#[test]
fn the_name_of_a_queue_that_the_server_makes_itself_is_refused() {
    let tasks = QueueOptions::new("tasks").redeliver(true);
    let dead = Server::builder().queue("tasks.dead").queue(tasks);
    assert_refused(dead, "tasks.dead", "dead letters of `tasks`");
    let replies = Server::builder().queue("results").queue("results@me");
    assert_refused(replies, "results@me", "`results`");
    // Alone they are names as others are.
    let alone = Server::builder().queue("tasks.dead").queue("results@me");
    assert!(alone.serve("127.0.0.1:0", b"abc").is_ok());
}

#[test]
fn an_object_is_no_queue_and_is_not_opened_as_one() {
    let types = [
        ObjectType::Dict,
        ObjectType::List,
        ObjectType::Lock,
        ObjectType::Set,
    ];
    for (number, object) in types.into_iter().enumerate() {
        let server = Server::builder().object("settings", object);
        let server = server.serve("127.0.0.1:0", b"abc").expect("a port is free");
        let client = Client::connect(server.address(), b"abc").expect("it serves");
        let refused = client.queue::<u32>("settings").expect_err("it is no queue");
        let text = refused.to_string();
        assert!(
            text.contains("an object of another type"),
            "{number}: {text}"
        );
    }
}
