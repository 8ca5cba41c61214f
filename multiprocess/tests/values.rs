//! What goes in comes out: values with every serde attribute, with `serde_json` as the judge.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::CString;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use multiprocess::{Error, Queue, Serializable};
use serde::{Deserialize, Serialize};

fn through<T: Serializable>(value: &T) -> Result<T, Error> {
    let queue = Queue::new()?;
    queue.put(value)?;
    queue.try_get()
}

/// The value comes out of a queue as it comes out of JSON, and as it was.
#[track_caller]
fn same<T: Serializable + PartialEq + Debug>(value: T) {
    let text = serde_json::to_string(&value).unwrap();
    let judged: T = serde_json::from_str(&text).unwrap();
    assert_eq!(judged, value, "JSON bears it");
    assert_eq!(through(&value).unwrap(), value);
}

/// The value comes out as it was, which JSON cannot say of it.
#[track_caller]
fn kept<T: Serializable + PartialEq + Debug>(value: T) {
    assert_eq!(through(&value).unwrap(), value);
}

/// The value is refused where it enters, and what is in the queue already stays.
#[track_caller]
fn refused<T: Serializable + Debug>(value: T, because: &str) {
    let queue = Queue::new().unwrap();
    let error = queue.put(&value).unwrap_err();
    assert!(matches!(error, Error::Serial { .. }), "{error}");
    assert!(error.to_string().contains(because), "{error}");
    assert!(queue.is_empty());
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
struct Job {
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    retries: u8,
    flags: Vec<u8>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Command {
    Start,
    #[serde(skip)]
    #[expect(dead_code, reason = "it shifts the numbers of those after it")]
    Internal,
    Stop,
    Delete(u8),
    Move {
        to: (i32, i32),
        #[serde(default, skip_serializing_if = "is_zero")]
        speed: u32,
    },
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[test]
fn a_skipped_field_or_variant_does_not_shift_what_follows() {
    same(Job {
        priority: None,
        retries: 0,
        flags: vec![0],
    });
    same(Job {
        priority: Some(3),
        retries: 200,
        flags: vec![1, 255],
    });
    same(Command::Start);
    same(Command::Stop);
    same(Command::Delete(200));
    same(Command::Move {
        to: (-1, 70_000),
        speed: 0,
    });
    same(Command::Move {
        to: (i32::MIN, i32::MAX),
        speed: 9,
    });
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "kind")]
enum Internal {
    Unit,
    Struct { x: i64, y: Option<f32> },
    Newtype(Job),
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "kind", content = "value")]
enum Adjacent {
    Unit,
    Tuple(u8, String),
    Struct { x: f64 },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum Untagged {
    Address(IpAddr),
    Number(i64),
    Text(String),
    List(Vec<Untagged>),
    Struct { x: u8, rest: Option<Box<Untagged>> },
}

#[test]
fn enums_of_every_representation_come_out() {
    same(Internal::Unit);
    same(Internal::Struct {
        x: -5,
        y: Some(0.1),
    });
    same(Internal::Newtype(Job::default()));
    same(vec![
        Adjacent::Unit,
        Adjacent::Tuple(1, "a".into()),
        Adjacent::Struct { x: 0.1 },
    ]);
    same(Untagged::Number(i64::MIN));
    same(Untagged::Address("::1".parse().unwrap()));
    same(Untagged::List(vec![
        Untagged::Text("x".repeat(100)),
        Untagged::Number(3),
        Untagged::Struct {
            x: 1,
            rest: Some(Box::new(Untagged::Number(-1))),
        },
    ]));
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum NamedOrNumbered {
    Named { name: String, value: String },
    Numbered(BTreeMap<u16, String>),
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum TextOrBytes {
    Text(String),
    Bytes(CString),
    Both { text: String, bytes: CString },
}

/// serde itself makes a text of them, if it is shown them as bytes.
#[test]
fn bytes_that_could_be_a_text_stay_bytes_in_an_untagged_enum() {
    let long = || vec![b'a'; 100_000];
    for bytes in [b"abc".to_vec(), b"\xff".to_vec(), Vec::new(), long()] {
        let bytes = CString::new(bytes).expect("there is no zero in it");
        same(TextOrBytes::Bytes(bytes.clone()));
        same(vec![TextOrBytes::Both {
            text: "abc".into(),
            bytes,
        }]);
    }
    same(TextOrBytes::Text("abc".into()));
    same(CString::new(long()).expect("there is no zero in it"));
}

/// A struct takes the number of a field for its name.
#[test]
fn numbers_as_keys_are_not_read_as_the_fields_of_another_variant() {
    let numbered = [(0, "zero"), (1, "one")].map(|(key, value)| (key, value.to_string()));
    kept(NamedOrNumbered::Numbered(BTreeMap::from(numbered)));
    let (name, value) = ("a".to_string(), "b".to_string());
    kept(NamedOrNumbered::Named { name, value });
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(rename_all = "camelCase")]
struct Everything {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    job: Job,
    #[serde(flatten)]
    more: BTreeMap<String, serde_json::Value>,
    #[serde(with = "seconds")]
    pause: Duration,
    #[serde(alias = "old", default = "seven")]
    seven: u32,
    unit: (),
    address: SocketAddr,
    letter: char,
    wide: i128,
}

fn seven() -> u32 {
    7
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&time.as_secs())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        text.parse()
            .map(Duration::from_secs)
            .map_err(serde::de::Error::custom)
    }
}

#[test]
fn renamed_flattened_and_converted_fields_come_out() {
    let more = serde_json::json!({"a": [1, -2, 0.5, null, true, {"b": "c"}], "n": u64::MAX});
    same(Everything {
        kind: "all".into(),
        job: Job::default(),
        more: serde_json::from_value(more).unwrap(),
        pause: Duration::from_secs(90),
        seven: 8,
        unit: (),
        address: "127.0.0.1:80".parse().unwrap(),
        letter: '囧',
        wide: i128::from(i64::MIN) * 2,
    });
}

#[test]
fn json_values_come_out() {
    same(serde_json::json!([1, -1, 1.5, "two", null, {"3": [], "x": {}}, u64::MAX, i64::MIN]));
    same(serde_json::Value::Null);
    same(Some(serde_json::json!(1)));
}

#[test]
fn what_json_has_no_form_for_comes_out_too() {
    kept(Some(None::<u8>));
    kept(vec![None, Some(None), Some(Some(()))]);
    kept(Some(()));
    kept(HashMap::from(
        [((1u8, -1i8), "pair"), ((2, -2), "other")].map(|(k, v)| (k, v.to_string())),
    ));
    kept(BTreeMap::from([(1.5f64.to_bits(), 'x'), (7, 'y')]));
    kept(BTreeMap::from([(Some(true), [1u16, 65535])]));
    kept([u128::MAX, 1, u128::from(u64::MAX) + 1]);
    kept([i128::MIN, -1, i128::MAX]);
    kept([f64::INFINITY, -0.0, f64::MIN_POSITIVE]);
    for bits in [0x7fc0_0001, 0xffc0_0000, 0x7f80_0001] {
        let number = through(&f32::from_bits(bits)).unwrap();
        assert_eq!(number.to_bits(), bits);
    }
    kept(serde_bytes_like::Bytes(vec![0, 127, 128, 255]));
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum WideUntagged {
    Wide(u128),
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "type")]
enum WideTagged {
    Wide { number: i128 },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct WideFlattened {
    #[serde(flatten)]
    numbers: HashMap<String, u128>,
}

#[test]
fn a_wide_integer_that_serde_does_not_keep_is_refused_with_what_mends_it() {
    let numbers = HashMap::from([("n".to_string(), u128::MAX)]);
    for refused in [
        through(&WideUntagged::Wide(u128::MAX)).map(drop),
        through(&WideTagged::Wide { number: i128::MIN }).map(drop),
        through(&WideFlattened { numbers }).map(drop),
    ] {
        let said = refused.expect_err("serde has no place for it").to_string();
        let mend = "send its text, or take serde's usual form";
        assert!(
            said.starts_with("cannot send a values::") && said.ends_with(mend),
            "{said}"
        );
    }
}

/// Writes a number and reads a truth.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "u8", from = "bool")]
struct OneWay(u8);

impl From<OneWay> for u8 {
    fn from(OneWay(number): OneWay) -> u8 {
        number
    }
}

impl From<bool> for OneWay {
    fn from(truth: bool) -> OneWay {
        OneWay(truth.into())
    }
}

#[test]
fn another_refusal_is_told_without_a_word_of_wide_integers() {
    let refused = through(&OneWay(128)).map(drop);
    let said = refused.expect_err("it is no truth").to_string();
    assert!(
        said.contains("`128`") && !said.contains("usual form"),
        "{said}"
    );
}

/// Bytes as the crates for bytes write them.
mod serde_bytes_like {
    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(PartialEq, Debug)]
    pub(crate) struct Bytes(pub(crate) Vec<u8>);

    impl Serialize for Bytes {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_bytes(&self.0)
        }
    }

    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Read;
            impl<'de> Visitor<'de> for Read {
                type Value = Bytes;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bytes")
                }

                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                    Ok(Bytes(bytes.to_vec()))
                }

                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bytes, A::Error> {
                    let mut bytes = Vec::new();
                    while let Some(byte) = seq.next_element()? {
                        bytes.push(byte);
                    }
                    Ok(Bytes(bytes))
                }
            }
            from.deserialize_byte_buf(Read)
        }
    }
}

#[test]
fn sequences_of_numbers_of_one_type_and_of_several_come_out() {
    same((0..=255).collect::<Vec<u8>>());
    same(vec![0u64, 127, 128, u64::MAX]);
    same(vec![-1i16, 300, i16::MIN]);
    same(vec![0.1f32, 1e30]);
    same(vec![Some(1u8), None, Some(200)]);
    same(Vec::<u32>::new());
    same(vec![vec![1u8], vec![], vec![200, 3]]);
    same(serde_json::json!([200, 300, "x", 70_000]));
    same(serde_json::json!([-1, 200]));
    same([7u8; 32]);
}

#[derive(Serialize, Deserialize, Debug)]
struct Forgetful {
    kept: u8,
    #[serde(skip_serializing)]
    #[expect(dead_code, reason = "only serde looks at it")]
    needed: u8,
}

#[derive(Serialize, Deserialize, Debug)]
struct Outer {
    inner: Vec<Inner>,
}

#[derive(Serialize, Deserialize, Debug)]
struct Inner {
    #[serde(serialize_with = "never")]
    secret: u8,
}

#[test]
fn vectors_of_numbers_come_out_wherever_they_stand() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Frame {
        name: String,
        bytes: Vec<u8>,
        samples: Option<Vec<f32>>,
        rows: Vec<Vec<i64>>,
        by_name: BTreeMap<String, Vec<u16>>,
        wrapped: Wrapped,
        pair: (Vec<i8>, Vec<u32>),
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Wrapped(Vec<u64>);
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(untagged)]
    enum Either {
        Numbers(Vec<u8>),
        Text { text: Vec<i32> },
    }
    same(vec![0u8, 127, 128, 255]);
    same(vec![i8::MIN, -1, 0, i8::MAX]);
    same(vec![u16::MAX, 0]);
    same(vec![i16::MIN, 7]);
    same(vec![u32::MAX, 0]);
    same(vec![i32::MIN, 7]);
    same(vec![u64::MAX, 0]);
    same(vec![i64::MIN, 7]);
    kept(vec![f32::MIN_POSITIVE, -0.0, f32::INFINITY]);
    kept(vec![f64::MIN_POSITIVE, -0.0, f64::INFINITY]);
    same(Vec::<u8>::new());
    same(vec![Some(vec![1u8]), None, Some(vec![])]);
    same(Frame {
        name: "one".to_string(),
        bytes: (0..=255).collect(),
        samples: Some(vec![0.5, -1.5]),
        rows: vec![vec![1, -2], vec![], vec![i64::MAX]],
        by_name: BTreeMap::from([("a".to_string(), vec![1, 2])]),
        wrapped: Wrapped(vec![1, u64::MAX]),
        pair: (vec![-1], vec![1]),
    });
    same(Either::Numbers(vec![1, 2]));
    same(Either::Text { text: vec![-1, 2] });
}

#[test]
fn sequences_like_a_vector_of_numbers_come_out_too() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(transparent)]
    struct One(u16);
    same(vec![One(1), One(500)]);
    same(VecDeque::from([1u8, 200]));
    same(vec![1u8, 200].into_boxed_slice());
}

fn never<S: serde::Serializer>(_: &u8, _: S) -> Result<S::Ok, S::Error> {
    Err(serde::ser::Error::custom("it is secret"))
}

#[test]
fn what_cannot_be_read_again_is_refused_where_it_enters_with_its_field() {
    let value = Forgetful { kept: 1, needed: 2 };
    assert_eq!(value.kept, 1);
    refused(value, "missing field `needed`");
    let inner = vec![Inner { secret: 1 }];
    refused(Outer { inner }, "field `inner.secret`: it is secret");
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Nested(Option<Box<Nested>>);

fn nested(depth: usize) -> Nested {
    (0..depth).fold(Nested(None), |inner, _| Nested(Some(Box::new(inner))))
}

#[test]
fn a_value_is_nested_as_deep_as_in_json_or_refused() {
    kept(nested(128));
    refused(nested(129), "nested more than 128 deep");
    refused(nested(10_000), "nested more than 128 deep");
}
