//! How SQLite answers the statements of this crate: by a tree, never by reading or sorting a table.

use nexus_core::{Order, RecordsBy};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{
    connect,
    page_query::{Form, PageStatements},
    pages::{FENCED, records_sql},
    schema,
    statements::ByRows,
};

/// The steps of a plan.
async fn steps(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
        .fetch_all(connection)
        .await
        .unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn no_statement_reads_or_sorts_a_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let mut connection = connect::writer(&path, true).await.unwrap();
    schema::migrate(&mut connection, None).await.unwrap();
    let mut statements: Vec<String> = vec![
        ByRows::select_records().next(256).0.to_string(),
        ByRows::select_once_by_row().next(256).0.to_string(),
        ByRows::select_once_by_name().next(256).0.to_string(),
        ByRows::delete_records().next(64).0.to_string(),
        FENCED.to_owned(),
    ];
    for by in [
        RecordsBy::All,
        RecordsBy::Scope("".into()),
        RecordsBy::Due("".into(), 0),
        RecordsBy::DueAfter("".into(), 0),
    ] {
        statements.push(records_sql(&by, false));
        statements.push(records_sql(&by, true));
    }
    for sql in statements {
        for step in steps(&mut connection, &sql).await {
            assert!(!reads_a_table(&step), "{step}\n{sql}");
            assert!(!step.contains("TEMP B-TREE"), "{step}\n{sql}");
        }
    }
    let pages = PageStatements::new();
    let forms = [Order::Ascending, Order::Descending]
        .into_iter()
        .flat_map(|order| [false, true].map(|is_narrowed| Form { order, is_narrowed }));
    for form in forms {
        let merges = [pages.merge(form, 64), pages.merge_end(form, 64)];
        for merge in &merges {
            let merged = steps(&mut connection, merge).await;
            assert!(merged.iter().any(|step| step == "MERGE (UNION ALL)"));
        }
        let [merge, merge_end] = merges;
        for sql in [pages.everything(form), pages.scan(form), merge, merge_end] {
            for step in steps(&mut connection, &sql).await {
                assert!(!reads_a_table(&step), "{step}\n{sql}");
            }
        }
    }
}

fn reads_a_table(step: &str) -> bool {
    ["events", "records", "once", "r", "e", "s", "o", "p"]
        .iter()
        .any(|table| step == format!("SCAN {table}"))
}
