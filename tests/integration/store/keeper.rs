//! Who keeps the rows has changed, and there is much to be marked.

use super::*;
use crate::support::stack::patiently;

#[tokio::test(flavor = "multi_thread")]
async fn marking_what_is_not_finished_may_take_longer_than_anybody_waits_for_a_connection() {
    let (store, database) = store().await;
    let submission = devices("light", 3, AfterCheck::Stop);
    store.submit(&ANYONE, &submission, None).await.unwrap();
    store.close().await;
    // As with a million applies.
    let slowly = "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN PERFORM pg_sleep(7); RETURN NULL; END $$;
                  CREATE TRIGGER slowly BEFORE UPDATE OF restored ON applies
                  FOR EACH STATEMENT EXECUTE FUNCTION slowly();
                  UPDATE keeper SET timeline = '00FFFFFF'";
    sqlx::raw_sql(slowly).execute(&database.pool).await.unwrap();

    let promoted = Store::new(database.url().parse().unwrap(), 2, "test");
    patiently(async { while promoted.check_schema().await.is_err() {} }).await;

    let marked = "SELECT restored FROM applies";
    let marked = sqlx::query_scalar::<_, bool>(marked).fetch_all(&database.pool);
    assert_eq!(marked.await.unwrap(), [true]);
}
