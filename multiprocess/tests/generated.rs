//! Generated values of types with every serde attribute: each comes out as it was, or is refused
//! where it enters, with `serde_json` as the judge.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use multiprocess::{Connection, Error, Pool, Process, Queue, Serializable, pipe};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[macro_use]
mod support;

use support::SOON;

tests![generated_values_come_out_as_they_were_or_are_refused];

/// How many values are generated.
const CASES: u64 = 100_000;

/// One value of so many crosses by a pool too, and one by a process.
const POOL_EVERY: u64 = 50;
const PROCESS_EVERY: u64 = 2000;

/// A generator of numbers, with the size that the value may still grow by.
struct Random {
    state: u64,
    size: u64,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    /// A number of parts, which the value can still afford.
    fn parts(&mut self) -> u64 {
        let parts = self.below(5).min(self.size);
        self.size -= parts;
        parts
    }
}

trait Generate: Sized {
    fn generate(random: &mut Random) -> Self;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Generate for $type {
            fn generate(random: &mut Random) -> Self {
                let wide = u128::from(random.next()) << 64 | u128::from(random.next());
                match random.below(6) {
                    0 => 0,
                    1 => <$type>::MAX,
                    2 => <$type>::MIN,
                    3 => random.below(256) as $type,
                    _ => (wide >> random.below(128)) as $type,
                }
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);

impl Generate for bool {
    fn generate(random: &mut Random) -> Self {
        random.below(2) == 0
    }
}

impl Generate for () {
    fn generate(_: &mut Random) -> Self {}
}

impl Generate for char {
    fn generate(random: &mut Random) -> Self {
        let letters = ['a', '\0', '"', '\\', 'é', '囧', '\u{10ffff}', '\n'];
        letters[random.below(letters.len() as u64) as usize]
    }
}

impl Generate for String {
    fn generate(random: &mut Random) -> Self {
        match random.below(8) {
            0 => "x".repeat(random.below(300) as usize),
            1 => random.next().to_string(),
            2 => ["kind", "value", "old", "$serde_json::private::Number"][random.below(4) as usize]
                .to_string(),
            _ => (0..random.below(8))
                .map(|_| char::generate(random))
                .collect(),
        }
    }
}

impl<T: Generate> Generate for Option<T> {
    fn generate(random: &mut Random) -> Self {
        if random.size == 0 || random.below(3) == 0 {
            return None;
        }
        random.size -= 1;
        Some(T::generate(random))
    }
}

impl<T: Generate> Generate for Box<T> {
    fn generate(random: &mut Random) -> Self {
        Box::new(T::generate(random))
    }
}

macro_rules! collections {
    ($($name:ident<$($parameter:ident: $bound:path),*> of $item:ty),* $(,)?) => {$(
        impl<$($parameter: Generate + $bound),*> Generate for $name<$($parameter),*> {
            fn generate(random: &mut Random) -> Self {
                let parts = random.parts();
                (0..parts).map(|_| <$item>::generate(random)).collect()
            }
        }
    )*};
}

collections! {
    Vec<T: Sized> of T, VecDeque<T: Sized> of T, BTreeMap<K: Ord, V: Sized> of (K, V),
    HashMap<K: HashKey, V: Sized> of (K, V),
}

trait HashKey: std::hash::Hash + Eq {}
impl<T: std::hash::Hash + Eq> HashKey for T {}

macro_rules! tuples {
    ($(($($item:ident),*)),*) => {$(
        impl<$($item: Generate),*> Generate for ($($item,)*) {
            fn generate(random: &mut Random) -> Self {
                ($($item::generate(random),)*)
            }
        }
    )*};
}

tuples!((A), (A, B), (A, B, C));

impl<T: Generate, const N: usize> Generate for [T; N] {
    fn generate(random: &mut Random) -> Self {
        std::array::from_fn(|_| T::generate(random))
    }
}

impl Generate for Duration {
    fn generate(random: &mut Random) -> Self {
        Self::new(
            random.next() >> random.below(64),
            random.below(1_000_000_000) as u32,
        )
    }
}

impl Generate for Value {
    fn generate(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::Null,
            1 => Self::Bool(bool::generate(random)),
            2 => u64::generate(random).into(),
            3 => i64::generate(random).into(),
            4 => (f64::from(i32::generate(random)) / 4.0).into(),
            5 => Self::String(String::generate(random)),
            6 => Self::Array(Vec::generate(random)),
            _ => Self::Object(
                BTreeMap::<String, Value>::generate(random)
                    .into_iter()
                    .collect(),
            ),
        }
    }
}

/// Numbers that are compared by their bits, since one that is none is not itself.
macro_rules! floats {
    ($($name:ident($type:ty, $bits:ty)),*) => {$(
        #[derive(Serialize, Deserialize, Clone, Copy)]
        #[serde(transparent)]
        struct $name($type);

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.to_bits() == other.0.to_bits()
            }
        }

        impl Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} {:x}", self.0, self.0.to_bits())
            }
        }

        impl Generate for $name {
            fn generate(random: &mut Random) -> Self {
                Self(<$type>::from_bits(<$bits>::generate(random)))
            }
        }
    )*};
}

floats!(F32(f32, u32), F64(f64, u64));

/// Defines a type with its attributes, and how its values are generated.
macro_rules! generated {
    ($(#[$meta:meta])* struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)?
    }) => {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        $(#[$meta])*
        struct $name { $($(#[$field_meta])* $field: $type),* }

        impl Generate for $name {
            fn generate(random: &mut Random) -> Self {
                Self { $($field: <$type>::generate(random)),* }
            }
        }
    };
    ($(#[$meta:meta])* enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident
            $(($($item:ty),*))?
            $({ $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })?),* $(,)?
    }) => {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        $(#[$meta])*
        enum $name {
            $($(#[$variant_meta])* $variant
                $(($($item),*))?
                $({ $($(#[$field_meta])* $field: $type),* })?),*
        }

        impl Generate for $name {
            fn generate(random: &mut Random) -> Self {
                let variants: &[fn(&mut Random) -> Self] = &[$(
                    |_random| Self::$variant
                        $(($(<$item>::generate(_random)),*))?
                        $({ $($field: <$type>::generate(_random)),* })?
                ),*];
                // A value that may not grow is of the first variant, which holds no other.
                match random.size {
                    0 => variants[0](random),
                    _ => {
                        random.size -= 1;
                        variants[random.below(variants.len() as u64) as usize](random)
                    }
                }
            }
        }
    };
}

generated! {
    struct Plain { flag: bool, number: u16, text: String, letter: char, unit: (), pair: (i8, u64) }
}

generated! {
    struct Skipping {
        #[serde(skip_serializing_if = "Option::is_none")]
        maybe: Option<u8>,
        count: u8,
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        list: Vec<i32>,
        #[serde(default, skip_serializing_if = "is_zero")]
        zero: u32,
        last: Option<String>,
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

generated! {
    /// Not to be read again if the number is skipped.
    struct Forgetful {
        #[serde(skip_serializing_if = "is_zero")]
        number: u32,
        other: u32,
    }
}

generated! {
    #[serde(rename_all = "kebab-case")]
    struct Renamed {
        #[serde(rename = "type")]
        kind: String,
        some_words: u8,
        #[serde(alias = "old")]
        new: i64,
        #[serde(with = "seconds")]
        pause: Duration,
        time: Duration,
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}.{}", time.as_secs(), time.subsec_nanos()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let parts = text.split_once('.');
        let time = parts
            .and_then(|(secs, nanos)| Some(Duration::new(secs.parse().ok()?, nanos.parse().ok()?)));
        time.ok_or_else(|| serde::de::Error::custom("no time"))
    }
}

generated! {
    struct Flat {
        first: u8,
        #[serde(flatten)]
        inner: Skipping,
        #[serde(flatten)]
        rest: Rest,
    }
}

generated! {
    struct FlatChoice {
        last: Option<String>,
        #[serde(flatten)]
        choice: Internal,
    }
}

/// Names that no field has.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(transparent)]
struct Rest(BTreeMap<String, Value>);

impl Generate for Rest {
    fn generate(random: &mut Random) -> Self {
        let parts = random.parts();
        let entry =
            |random: &mut Random| (format!("rest {}", random.below(9)), Value::generate(random));
        Self((0..parts).map(|_| entry(random)).collect())
    }
}

generated! {
    enum External {
        Unit,
        Newtype(Box<External>),
        Tuple(u8, Option<i64>),
        Struct { x: F32, list: Vec<External> },
        Wide(i128),
    }
}

generated! {
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Internal { Unit, Struct { wide: u64, letter: char }, Newtype(Plain2) }
}

generated! {
    struct Plain2 { number2: i16, text2: String, bytes2: Vec<u8> }
}

generated! {
    #[serde(tag = "kind", content = "value")]
    enum Adjacent { Unit, Newtype(Box<Adjacent>), Tuple(String, F64), Struct { x: Untagged } }
}

generated! {
    #[serde(untagged)]
    enum Untagged {
        Flag(bool),
        Number(i64),
        Text(String),
        List(Vec<Untagged>),
        Named { name: String, value: Box<Untagged> },
        Map(BTreeMap<u16, External>),
    }
}

generated! {
    struct Keys {
        pairs: BTreeMap<(u8, i8), String>,
        letters: BTreeMap<char, u8>,
        flags: BTreeMap<Option<bool>, Vec<u16>>,
        numbers: HashMap<i128, Option<Option<u8>>>,
    }
}

generated! {
    struct Numbers {
        bytes: Vec<u8>,
        packed: VecDeque<i16>,
        singles: Vec<F32>,
        doubles: [F64; 3],
        nested: Vec<Vec<u64>>,
        wide: (u128, i128),
        maybe: Option<Option<()>>,
    }
}

generated! {
    struct All {
        a: Box<External>,
        b: Adjacent,
        c: Untagged,
        d: Option<Flat>,
        g: Option<FlatChoice>,
        e: Vec<Renamed>,
        f: Value,
    }
}

/// Where values of a type cross, and how often they did.
struct Ways<T> {
    queue: Queue<T>,
    ends: (Connection<T, T>, Connection<T, T>),
}

impl<T: Serializable + Generate + PartialEq + Debug + 'static> Ways<T> {
    fn new() -> Self {
        Self {
            queue: Queue::new().unwrap(),
            ends: pipe().unwrap(),
        }
    }

    /// A value comes out of the queue and of the pipe as it was, or is refused by both.
    fn cross(&self, seed: u64, pool: Option<&Pool>) {
        let generate = || {
            let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            T::generate(&mut Random { state, size: 30 })
        };
        let value = generate();
        let text = serde_json::to_string(&value).ok();
        let judged = text.and_then(|text| serde_json::from_str::<T>(&text).ok());
        let is_borne = judged.is_some_and(|judged| judged == value);
        match self.queue.put(&value) {
            Ok(()) => {
                let got = self
                    .queue
                    .try_get()
                    .unwrap_or_else(|e| panic!("{seed}: {e}: {value:?}"));
                assert_eq!(got, value, "{seed}");
                self.ends.0.send(&value).unwrap();
                assert_eq!(self.ends.1.recv_timeout(SOON).unwrap(), value, "{seed}");
                if let Some(pool) = pool {
                    assert_eq!(pool.apply(|value: T| value, generate()).unwrap(), value);
                }
                if seed.is_multiple_of(PROCESS_EVERY) {
                    let process = Process::spawn_with(|value: T| value, generate()).unwrap();
                    assert_eq!(process.join().unwrap(), value);
                }
            }
            Err(Error::Serial { reason, .. }) => {
                assert!(
                    !is_borne,
                    "{seed}: JSON bears {value:?}, and it was refused: {reason}"
                );
                assert!(self.queue.is_empty() && !reason.is_empty());
                assert!(self.ends.0.send(&value).is_err(), "{seed}");
            }
            Err(error) => panic!("{seed}: {error}"),
        }
    }
}

macro_rules! ways {
    ($pool:expr, $($type:ty),* $(,)?) => {{
        let kinds: Vec<Box<dyn Fn(u64, Option<&Pool>)>> = vec![$({
            let ways = Ways::<$type>::new();
            Box::new(move |seed, pool| ways.cross(seed, pool))
        }),*];
        for seed in 0..CASES {
            let pool = seed.is_multiple_of(POOL_EVERY).then_some($pool);
            kinds[(seed / 7 + seed) as usize % kinds.len()](seed, pool);
        }
    }};
}

fn generated_values_come_out_as_they_were_or_are_refused() {
    let pool = Pool::new(2).unwrap();
    ways!(
        &pool, Plain, Skipping, Forgetful, Renamed, Flat, External, Internal, Adjacent, Untagged,
        Keys, Numbers, All, Value, F32, F64, i128, Option<Option<External>>, Vec<Untagged>,
        (Plain, Skipping), BTreeMap<String, All>, Vec<u8>, Vec<Option<i16>>, (u8, ()),
    );
    pool.join().unwrap();
}

fn main() {
    support::main(TESTS);
}
