//! The configurations of five real deployments, and of the same five whose applications keep their own sessions, each
//! started from the very file that is shipped, with nothing but variables of the environment in place of addresses,
//! certificates, secrets and the time to drain. One module each; what several of them claim stands in `claims.rs` and
//! `kept.rs`. docs/deployments.md says which test holds which claim.

mod claims;
mod figures;
mod fixed_week;
mod fixed_week_legacy;
mod intranet;
mod intranet_legacy;
mod kept;
mod offline_app;
mod offline_app_legacy;
mod place;
mod separate_front_end;
mod separate_front_end_legacy;
mod theirs;
mod working_day;
mod working_day_legacy;

/// The table in the documents names tests; each must be there, in the module that it says.
#[test]
fn every_test_that_the_table_of_claims_names_is_there() {
    let root = env!("CARGO_MANIFEST_DIR");
    let table = std::fs::read_to_string(format!("{root}/docs/deployments.md")).expect("the table is there");
    let mut seen = 0;
    for cell in table
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`'))
    {
        let Some((module, test)) = cell.split_once("::") else {
            continue;
        };
        let file = format!("{root}/tests/it/{module}.rs");
        let source = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{cell}: there is no {file}"));
        assert!(source.contains(&format!("fn {test}(")), "{cell} is named and not there");
        seen += 1;
    }
    assert!(seen > 90, "only {seen} tests are named");
}
