//! The rows, held against what is expected of them.

use super::*;

/// Every row that a record writes.
pub(super) async fn dump(stage: &Stage) -> Vec<String> {
    let mut all = Vec::new();
    for table in [
        "applies",
        "chunks",
        "rounds",
        "events",
        "calls",
        "listed",
        "looked_up",
    ] {
        let rows = AssertSqlSafe(format!("SELECT t::text FROM {table} AS t ORDER BY 1"));
        let rows = sqlx::query_scalar::<_, String>(rows);
        all.extend(rows.fetch_all(&stage.database.pool).await.unwrap());
    }
    all
}

pub(super) async fn compare(stage: &Stage, expected: &Expected) {
    let ApplyId(id) = expected.id;
    let (_, now) = stage.store.apply(&ANYONE, expected.id).await.unwrap();
    let standing = &expected.standing;
    assert_eq!(
        (now.status, now.revision, now.counts, now.cancelling),
        (
            standing.status,
            expected.revision,
            standing.counts,
            standing.cancelling
        )
    );
    let events = stage.store.events_after(&[(expected.id, 0)]).await.unwrap();
    assert!(
        events
            .iter()
            .map(|(_, event)| event.revision)
            .eq(1..=expected.revision)
    );
    assert_eq!(events.last().unwrap().1, now);

    let letters: String = sqlx::query_scalar(
        "SELECT string_agg(outcomes, '' ORDER BY chunk_no) FROM chunks WHERE apply_id = $1",
    )
    .bind(id)
    .fetch_one(&stage.database.pool)
    .await
    .unwrap();
    let mut counted = Counts::default();
    for letter in letters.bytes() {
        let outcome = Outcome::from_letter(letter).unwrap();
        counted.add(Outcome::ALL.map(|one| i32::from(one == outcome)));
    }
    assert_eq!(counted, now.counts);
    let outcomes = expected.outcomes.iter().map(|outcome| outcome.letter());
    assert!(
        outcomes.eq(letters.bytes()),
        "the devices of {:?}",
        expected.outcomes
    );

    let rows = sqlx::query(
        "SELECT phase, accepted, resent, upstream_apply_id, nameless, fruitless, lease IS NOT NULL AS leased,
                coalesce(due_at <= now(), false) AS due, intent_at IS NOT NULL AS intent
         FROM rounds WHERE apply_id = $1 ORDER BY round_no",
    )
    .bind(id)
    .fetch_all(&stage.database.pool)
    .await
    .unwrap();
    assert_eq!(rows.len(), expected.rounds.len());
    for (row, expected) in rows.iter().zip(&expected.rounds) {
        let round = Round {
            phase: row.get::<String, _>("phase").parse().unwrap(),
            import: expected.round.import,
            resent: row.get("resent"),
            restored: false,
            accepted: row.get("accepted"),
            upstream_apply: row.get("upstream_apply_id"),
            nameless: row.get("nameless"),
            fruitless: row.get("fruitless"),
        };
        let rests = round.phase.lane().is_none();
        assert_eq!(round, expected.round);
        assert_eq!(
            row.get::<bool, _>("leased"),
            expected.leased_by.is_some(),
            "{round:?}"
        );
        assert_eq!(row.get::<bool, _>("intent"), expected.intent, "{round:?}");
        assert!(
            rests || row.get::<bool, _>("due") == expected.due,
            "{round:?}"
        );
    }
}
