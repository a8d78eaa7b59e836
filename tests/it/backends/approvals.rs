//! What waits until others have agreed, on both back ends.

use dripfeed::model::access::Scope;
use dripfeed::model::gates::Gates;
use dripfeed::model::{ApprovalId, Consent, JobOptions, UnixTime, Verdict, Vote};
use dripfeed::store::approvals;
use dripfeed::store::deployments;
use dripfeed::store::jobs;
use dripfeed::store::series::{self, Owner, RunTarget, What, When};
use dripfeed::store::terms::KnownTerms;

use super::database::{Database, write};
use super::for_each_backend;
use super::functions::{NOW, add_computer, add_package, later};

for_each_backend!(an_approval_is_asked_for_voted_on_and_let_go, what_waits_is_found_from_its_jobs_and_in_lists);

fn vote(account: &str, at: UnixTime) -> Vote {
    Vote {
        at,
        account: account.to_owned(),
        via: "console".to_owned(),
        verdict: Verdict::Approved,
        reason: "ü".to_owned(),
        voided_at: None,
    }
}

fn an_approval_is_asked_for_voted_on_and_let_go(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let id = approvals::ask(conn, "anna", 4210, 2, None, NOW)?;
        let small = approvals::ask(conn, "anna", 3, 1, Some(10), NOW)?;
        let read = |conn: &mut _, id| approvals::find(conn, id).map(|found| found.expect("it is there"));
        let one = read(conn, id)?;
        assert_eq!((one.consent, one.reach, one.asked_at), (Consent::Waits, 4210, NOW));
        assert_eq!(one.awaited.to_string(), "waits for approval: 0 of 2, asked for by anna");
        assert_eq!(read(conn, small)?.consent, Consent::NotAsked);
        assert!(!approvals::outgrown(conn, small, 9, later(1))?);
        assert!(approvals::outgrown(conn, small, 10, later(1))?);
        assert!(!approvals::outgrown(conn, small, 11, later(2))?, "asked once");
        let asked = read(conn, small)?;
        assert_eq!((asked.consent, asked.reach, asked.asked_at), (Consent::Waits, 10, later(1)));

        approvals::add_vote(conn, id, &vote("bea", NOW))?;
        approvals::add_vote(conn, id, &vote("carl", later(1)))?;
        approvals::add_vote(conn, small, &vote("bea", NOW))?;
        assert_eq!(approvals::votes(conn, id)?, [vote("bea", NOW), vote("carl", later(1))]);
        approvals::set_given(conn, id, 2)?;
        assert_eq!(read(conn, id)?.awaited.given, 2);
        approvals::let_go(conn, small, later(3))?;
        approvals::let_go(conn, small, later(4))?;
        assert_eq!(read(conn, small)?.consent, Consent::LetGo(later(3)), "the first moment stays");
        assert_eq!(approvals::void(conn, "bea", later(5))?, [id], "what was let go stays as it was");
        assert_eq!(approvals::void(conn, "bea", later(6))?, []);
        let voided: Vec<_> = approvals::votes(conn, id)?.into_iter().map(|vote| vote.voided_at).collect();
        assert_eq!(voided, [Some(later(5)), None]);
        assert_eq!(approvals::find(conn, ApprovalId(99))?, None);
        Ok(())
    });
}

fn what_waits_is_found_from_its_jobs_and_in_lists(database: &Database) {
    let store = database.open();
    write(&store, |conn| {
        let computer = add_computer(conn, "ws-1")?;
        let (one, two) = (add_package(conn, "tool")?, add_package(conn, "other")?);
        let asked = approvals::ask(conn, "anna", 2, 1, None, NOW)?;
        let mut ids = Vec::new();
        for package in [one, two] {
            let id = deployments::create(conn, package, false, &JobOptions::default(), "anna", NOW)?;
            approvals::set_of_deployment(conn, id, asked)?;
            let line = deployments::find(conn, id)?.expect("it is there");
            assert!(line.awaits_approval && line.deployment.approval == Some(asked));
            assert_eq!(jobs::plan(conn, &line.deployment, &[computer], NOW)?, 1);
            ids.push(id);
        }
        deployments::bind(conn, &ids)?;
        let free = deployments::create(conn, one, true, &JobOptions::default(), "anna", NOW)?;
        assert!(!deployments::find(conn, free)?.expect("it is there").awaits_approval);
        let gate = |conn: &mut _| -> Result<Vec<Option<String>>, dripfeed::store::StoreError> {
            let open = jobs::open_of_computer(conn, computer, &KnownTerms::default())?;
            Ok(open.into_iter().map(|open| open.awaited.map(|awaited| awaited.to_string())).collect())
        };
        let waits = Some("waits for approval: 0 of 1, asked for by anna".to_owned());
        assert_eq!(gate(conn)?, [waits.clone(), waits]);
        assert_eq!(approvals::waiting_deployments(conn, 10)?, [ids[0]], "of each act the first");
        deployments::cancel(conn, ids[0], later(1))?;
        assert_eq!(approvals::waiting_deployments(conn, 10)?, [ids[1]]);

        let when = When { rule: "every hour".parse().expect("a rule"), zone: "UTC".to_owned(), starts_at: NOW };
        let owner = Owner { user: None, scope: Scope::ALL };
        let what = What {
            packages: vec![one],
            in_order: false,
            target: RunTarget::All,
            post_command: None,
            gates: Gates::default(),
            wake: false,
        };
        let series = series::create(conn, &what, &when, later(9), &owner, "anna", NOW)?;
        assert_eq!(series::going_on(conn)?.len(), 1);
        let of_series = approvals::ask(conn, "anna", 2, 1, None, NOW)?;
        approvals::set_of_series(conn, series, Some(of_series))?;
        assert_eq!(series::find(conn, series)?.expect("it is there").approval, Some(of_series));
        assert_eq!((approvals::series_of(conn, of_series)?, approvals::series_of(conn, asked)?), (Some(series), None));
        assert_eq!(approvals::waiting_series(conn, 10)?, [series]);

        approvals::let_go(conn, asked, later(2))?;
        approvals::let_go(conn, of_series, later(2))?;
        assert_eq!(gate(conn)?, [None, None]);
        assert_eq!(approvals::waiting_deployments(conn, 10)?, []);
        assert_eq!(approvals::waiting_series(conn, 10)?, []);
        Ok(())
    });
}
