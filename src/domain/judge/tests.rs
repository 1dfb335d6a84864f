use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::domain::{
    ReasonCode,
    device::{judge_name, judge_nickname},
};

type Rows = Vec<(String, String)>;

/// Keys under which all names of one length meet.
#[derive(Clone, Debug, Default)]
struct Weak;

#[derive(Default)]
struct Length(u64);

impl BuildHasher for Weak {
    type Hasher = Length;

    fn build_hasher(&self) -> Length {
        Length::default()
    }
}

impl Hasher for Length {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}

/// What is said of one row.
type Said = Option<(ReasonCode, Option<Ordinal>)>;

/// The rules by themselves: of the rows that break none alone, the first of each name counts.
fn by_the_rules(rows: &Rows) -> Vec<Said> {
    let mut first_of: HashMap<&str, Ordinal> = HashMap::new();
    let judged = rows.iter().enumerate().map(|(at, (name, nickname))| {
        if let Some(reason) = judge_name(name).or_else(|| judge_nickname(nickname)) {
            return Some((reason.code, None));
        }
        let first = *first_of.entry(name).or_insert(at as Ordinal);
        (first != at as Ordinal).then_some((ReasonCode::Duplicate, Some(first)))
    });
    judged.collect()
}

/// The same by a judge to whom they come in chunks of this size, and who begins anew, from what was
/// stored, wherever `resumes` says so.
fn by_a_judge<K: BuildHasher>(
    rows: &Rows,
    keys: impl Fn() -> K,
    chunk: usize,
    mut resumes: impl FnMut() -> bool,
) -> Vec<Said> {
    let mut judge = Judge::new(keys());
    let mut stored: Vec<(String, Said)> = Vec::new();
    for rows in rows.chunks(chunk) {
        if resumes() {
            judge = Judge::new(keys());
            judge.remember(stored.iter().map(|(name, _)| name));
        }
        let first = stored.len() as Ordinal;
        // A chunk whose ordinals begin where those before it end, however small they are.
        let mut gathered = Gathered::new(0);
        for (name, nickname) in rows {
            gathered.push((name.clone(), nickname.clone()));
        }
        let suspects = judge.suspects(&gathered);
        let mut known = HashMap::new();
        for (at, (name, said)) in (0..).zip(&stored) {
            if said.is_none() && suspects.contains(name) {
                known.entry(name.clone()).or_insert(at - first);
            }
        }
        let judged = judge.judge(gathered, &known);
        assert_eq!(judged.passed(), judged.valid().count());
        let mut refused = judged.refused.iter().peekable();
        for (at, name) in (0..).zip(judged.names.clone()) {
            let said = refused.next_if(|(refused, _)| *refused == at);
            let said = said.map(|(_, why)| (why.code, why.first.map(|place| place + first)));
            stored.push((name, said));
        }
        assert_eq!(refused.next(), None);
    }
    stored.into_iter().map(|(_, said)| said).collect()
}

/// Rows of which many repeat a name, break a rule, or do both.
fn rows(random: &mut StdRng) -> Rows {
    let names = random.random_range(1..60);
    let row = |random: &mut StdRng| {
        let name = match random.random_range(0..20) {
            0 => "no".to_owned(),
            1 => "a bad name".to_owned(),
            _ => format!("light-{}", random.random_range(0..names)),
        };
        let nickname = match random.random_range(0..8) {
            0 => "x",
            1 => "nick_name",
            _ => "",
        };
        (name, nickname.to_owned())
    };
    let count = random.random_range(0..200);
    (0..count).map(|_| row(random)).collect()
}

#[test]
fn devices_fed_in_pieces_are_judged_as_they_are_at_once_however_badly_hashes_tell_names_apart() {
    let mut random = StdRng::seed_from_u64(20_261_125);
    for _ in 0..500 {
        let rows = rows(&mut random);
        let expected = by_the_rules(&rows);
        let chunk = random.random_range(1..=50);
        let mut again = random.clone();

        let strong = by_a_judge(&rows, RandomState::new, chunk, || random.random_bool(0.3));
        let weak = by_a_judge(&rows, || Weak, chunk, || again.random_bool(0.3));

        assert_eq!(strong, expected, "in chunks of {chunk}: {rows:?}");
        assert_eq!(weak, expected, "in chunks of {chunk}: {rows:?}");
    }
}

#[test]
fn a_weak_hash_suspects_names_that_a_strong_one_does_not() {
    let mut gathered = Gathered::new(0);
    gathered.push(("light-1".into(), String::new()));
    let mut next = Gathered::new(1);
    next.push(("light-2".into(), String::new()));
    let none = HashMap::new();
    let (mut strong, mut weak) = (Judge::default(), Judge::new(Weak));
    let suspects = |judge: &Judge<Weak>| judge.suspects(&next).len();

    strong.remember(&gathered.names);
    weak.judge(gathered, &none);

    assert_eq!((strong.suspects(&next).len(), suspects(&weak)), (0, 1));
}

#[test]
fn a_chunk_says_where_its_devices_are_in_the_apply() {
    let mut gathered = Gathered::new(3);
    for name in ["light-1", "no", "light-1", "light-2"] {
        gathered.push((name.into(), String::new()));
    }
    assert_eq!(gathered.next(), 30_004);
    let known = HashMap::from([("light-2".to_owned(), 7)]);

    let chunk = Judge::default().judge(gathered, &known);

    let refused = chunk.refused.iter().map(|(at, why)| (*at, why.first));
    assert_eq!(
        refused.collect::<Vec<_>>(),
        [(30_001, None), (30_002, Some(30_000)), (30_003, Some(7))]
    );
    assert_eq!(chunk.valid().collect::<Vec<_>>(), [(30_000, "light-1")]);
    assert_eq!((chunk.first(), chunk.passed()), (30_000, 1));
}

#[test]
fn nicknames_are_kept_only_where_a_device_of_the_chunk_has_one() {
    let judged = |nicknames: [&str; 2]| {
        let mut gathered = Gathered::new(0);
        for nickname in nicknames {
            gathered.push(("light-1".into(), nickname.into()));
        }
        Judge::default().judge(gathered, &HashMap::new())
    };

    assert_eq!(judged(["", ""]).nicknames, None);
    let one = judged(["", "nick_name"]);
    assert!(one.nicknames().eq(["", "nick_name"]));
    assert!(judged(["", ""]).nicknames().eq(["", ""]));
}
