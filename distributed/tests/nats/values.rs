//! What comes out of an engine is what went in, or is refused when it is put.

use std::collections::BTreeMap;
use std::fmt::Debug;

use distributed::Error;
use serde::{Deserialize, Serialize};

use crate::server::{DEADLINE, Server};

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i8, Option<u8>),
    Named { name: Option<String> },
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Nothing;

fn comes_out<T: Serialize + for<'d> Deserialize<'d> + Debug + PartialEq>(
    server: &Server,
    values: &[T],
) {
    let queue = server.client().queue::<T>("tasks").expect("it is there");
    for value in values {
        queue
            .put(value)
            .unwrap_or_else(|error| panic!("{value:?}: {error:?}"));
        let got = queue.get_timeout(DEADLINE);
        assert_eq!(&got.expect("it is there"), value);
    }
}

fn is_refused<T: Serialize + for<'d> Deserialize<'d> + Debug>(
    server: &Server,
    values: &[T],
    why: &str,
) {
    let queue = server.client().queue::<T>("tasks").expect("it is there");
    for value in values {
        match queue.put(value) {
            Err(Error::Json { source, .. }) => {
                assert!(source.to_string().contains(why), "{value:?}: {source}");
            }
            other => panic!("{value:?}: {other:?}"),
        }
    }
    assert!(queue.is_empty().expect("it answers"));
}

#[test]
fn a_value_comes_out_as_it_went_in() {
    let Some(server) = Server::start() else {
        return;
    };
    server.client_with("tasks");
    comes_out(&server, &[i128::MIN, -1, 0, i128::MAX]);
    comes_out(&server, &[0, u128::MAX]);
    // The third is one that a fast reader of decimals takes for its neighbour.
    let floats = [0.1 + 0.2, -0.0, 31.245_270_191_439_438, 5e-324, f64::MAX];
    comes_out(&server, &floats);
    comes_out(&server, &[f32::MIN_POSITIVE, 0.1, f32::MAX]);
    comes_out(
        &server,
        &["", "\0", "\u{1f980} \"quoted\"\n", "中文"].map(String::from),
    );
    comes_out(&server, &[None, Some(3)]);
    comes_out(&server, &[Some(vec![None, Some(Some(1))])]);
    comes_out(&server, &[Nothing]);
    comes_out(&server, &[BTreeMap::from([(1, Some('x')), (2, None)])]);
    comes_out(&server, &[vec![0_u8, 127, 255]]);
    comes_out(
        &server,
        &[
            Shape::Point,
            Shape::Circle(1.5),
            Shape::Line(-1, None),
            Shape::Named { name: None },
        ],
    );
}

#[test]
fn a_float_that_json_does_not_have_is_refused_wherever_it_is() {
    let Some(server) = Server::start() else {
        return;
    };
    server.client_with("tasks");
    is_refused(&server, &[f64::NAN], "there is no NaN in JSON");
    is_refused(&server, &[f32::INFINITY, f32::NEG_INFINITY], "inf in JSON");
    is_refused(&server, &[(1, vec![Some(f64::NAN)])], "NaN");
    is_refused(&server, &[Shape::Circle(f64::NAN)], "NaN");
    is_refused(
        &server,
        &[BTreeMap::from([("x".to_string(), f64::NAN)])],
        "NaN",
    );
}

#[test]
fn a_some_that_would_come_out_as_none_is_refused() {
    let Some(server) = Server::start() else {
        return;
    };
    server.client_with("tasks");
    is_refused(&server, &[Some(None::<u8>)], "come out as None");
    is_refused(&server, &[Some(())], "come out as None");
    is_refused(&server, &[Some(Nothing)], "come out as None");
    is_refused(&server, &[vec![Some(Some(None::<u8>))]], "come out as None");
    is_refused(
        &server,
        &[Some(serde_json::Value::Null)],
        "come out as None",
    );
}
