//! Groups and queries: who is a member and why, what members get, and that the database and the query itself agree.

mod agreement;
mod stories;

use crate::util::process::Site;

#[test]
fn a_query_may_come_as_json_and_a_group_shows_both_forms() {
    let site = Site::new();
    site.serve().stop();
    let tree =
        r#"{"all":[{"compare":{"field":"os","operator":"contains","value":"debian"}},{"not":{"has_package":7}}]}"#;
    site.run(&["group", "create", "json", "--where", tree]).ok();
    let shown = site.json("group show json");
    assert_eq!(shown["query_tree"], serde_json::from_str::<serde_json::Value>(tree).expect("JSON"));
    site.run(&["group", "create", "text", "--where", shown["query"].as_str().expect("a text")]).ok();
    assert_eq!(site.json("group show text")["query_tree"], shown["query_tree"]);
    site.run(&["computer", "list", "--where", r#"{"any":[]}"#]).refused();
}
