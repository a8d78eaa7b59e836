//! Series in the form of a deployment, on their pages, and by the API.

use super::*;

#[test]
fn the_form_makes_a_series_and_changes_it() {
    let test = TestApp::new();
    let (package, _) = story(&test);
    let served = Served::start(test);
    let form = format!("package={package}&who=where&where=name%20starts%20with%20a&again=week&on=friday&on=monday");
    let form = format!("{form}&at=06%3A30&zone=UTC");
    let part = served.post("/deployments/preview", &form).text();
    for wanted in ["Every monday, friday at 06:30 (UTC)", "1 computer would get it", "Start the series"] {
        assert!(part.contains(wanted), "lacks {wanted:?}:\n{part}");
    }
    assert!(!part.contains("comes later"), "a run is for those who are there");
    let started = served.post("/deployments", &form);
    assert!(started.status == 303 && started.head.contains("/series/1"), "{}", started.head);
    for (wrong, wanted) in [
        (format!("package={package}&who=all&again=week"), "tick the days of the week"),
        (format!("package={package}&who=all&again=hours&every=0"), "out of bounds"),
        (format!("package={package}&who=all&again=days&zone=Nowhere"), "knows no time zone"),
        (format!("package={package}&who=all&again=days&schedule=2027-01-31T22%3A00"), "is one moment"),
    ] {
        let answer = served.post("/deployments", &wrong);
        assert_eq!(answer.status, 422, "{wrong}");
        assert!(answer.text().to_lowercase().contains(wanted), "{wrong}: {}", answer.text());
    }
    let page = served.page("/series/1").text();
    for wanted in ["Every monday, friday at 06:30 (UTC)", "No run yet", "name starts with a", "mia"] {
        assert!(page.contains(wanted), "lacks {wanted:?}:\n{page}");
    }
    assert!(served.page("/series").text().contains("/series/1"));
    assert!(served.page("/deployments").text().contains("Again and again"));
    let change = served.page("/deployments/new?series=1").text();
    for wanted in ["Change series 1", "value=\"friday\" checked", "value=\"06:30\"", "Save the series"] {
        assert!(change.contains(wanted), "lacks {wanted:?}:\n{change}");
    }
    let saved =
        served.post("/deployments", &format!("package={package}&who=all&again=hours&every=6&zone=UTC&series=1"));
    assert!(saved.status == 303 && saved.head.contains("/series/1"), "{}", saved.head);
    assert!(served.page("/series/1").text().contains("Every 6 hours"));
    for (path, wanted) in
        [("run", "Run 1"), ("pause", "When it would come"), ("resume", "Pause"), ("end", "It has ended")]
    {
        assert_eq!(served.post(&format!("/series/1/{path}"), "").status, 303, "{path}");
        let page = served.page("/series/1").text();
        assert!(page.contains(wanted), "{path} lacks {wanted:?}:\n{page}");
    }
    assert!(served.page("/deployments/2").text().contains("run 1 of series 1"));
    assert_eq!((served.page("/series/9").status, served.page("/series/x").status), (404, 404));
}

#[test]
fn programs_make_series_and_see_their_runs() {
    let test = TestApp::new();
    let (package, _) = story(&test);
    let served = Served::start(test);
    let asked = |repeat: &str| {
        let number = package.number();
        format!(
            r#"{{"deployment":{{"package":{number},"all":true}},"repeat":"{repeat}","time_zone":"UTC","starts_at":"2999-01-31"}}"#
        )
    };
    let (status, made) = served.api("POST", "/series", &asked("every day at 22:00"));
    assert_eq!((status, &made["stage"], &made["target"]), (201, &"active".into(), &"all".into()), "{made}");
    assert_eq!(made["next"][0], "2999-01-31T22:00:00Z");
    assert_eq!((&made["owner"], &made["selected"]), (&"mia".into(), &serde_json::json!([])));
    assert_eq!(served.api("POST", "/series", &asked("daily")).0, 422);
    assert_eq!(served.api("GET", "/series", "").1["items"].as_array().map(Vec::len), Some(1));
    let (status, changed) = served.api("PUT", "/series/1", &asked("every month on the last day at 12:00"));
    assert_eq!((status, &changed["next"][1]), (200, &"2999-02-28T12:00:00Z".into()), "{changed}");
    let (status, run) = served.api("POST", "/series/1/run", "");
    assert_eq!((status, &run["run"], &run["planned"]), (200, &1.into(), &2.into()), "{run}");
    let deployment = run["deployments"][0].as_i64().expect("a number");
    let (_, one) = served.api("GET", &format!("/deployments/{deployment}"), "");
    assert_eq!(one["run"], serde_json::json!({ "series": 1, "run": 1 }), "{one}");
    let (_, runs) = served.api("GET", "/series/1/runs", "");
    assert_eq!(runs["items"][0]["deployments"][0]["computers"]["pending"], 2, "{runs}");
    assert_eq!(served.api("POST", "/series/1/pause", "").0, 204);
    assert_eq!(served.api("POST", "/series/1/pause", "").0, 409);
    assert_eq!(served.api("POST", "/series/1/resume", "").0, 204);
    assert_eq!(served.api("DELETE", "/series/1", "").0, 204);
    assert_eq!(served.api("GET", "/series/1", "").1["stage"], "ended");
    assert_eq!(served.api("GET", "/series/9", "").0, 404);
    assert_eq!(served.api("GET", "/overview", "").1["paused_series"], serde_json::json!([]));
}
