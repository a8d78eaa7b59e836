//! Settings as an administrator sets them: layers, origins, sentences.

use std::fmt::Write as _;

use dripfeed::model::settings::{SettingKey, SettingsLayer};
use dripfeed::service::assign::Target;
use dripfeed::service::groups;
use dripfeed::service::settings::{Layers, Whose, explain, list, set, unset};

use crate::jobs::{WS, active_package, assign_to, say_inventory, say_prolog};
use crate::util::TestApp;

fn key(name: &str) -> SettingKey {
    name.parse().expect("a key")
}

fn layer(text: &str) -> SettingsLayer {
    let pairs = text.split_whitespace().map(|pair| {
        let (name, value) = pair.split_once('=').expect("key=value");
        (key(name), value.parse().expect("a number"))
    });
    SettingsLayer(pairs.collect())
}

/// `configuration | by hand | group … | computer` → a line for each layer that says something, the winner marked.
fn table(name: &str, layers: &str) -> String {
    let one = |value: &str| {
        let value = value.trim();
        if value.is_empty() { SettingsLayer::default() } else { layer(&format!("{name}={value}")) }
    };
    let parsed: Vec<SettingsLayer> = layers.split('|').map(one).collect();
    let [configured, global, groups @ .., computer] = parsed.as_slice() else { panic!("three layers at least") };
    let groups = groups.iter().zip(["east", "west"]).map(|(layer, name)| (name.to_owned(), layer.clone())).collect();
    let layers = Layers { configured: configured.clone(), global: global.clone(), groups, computer: computer.clone() };
    let explanation = layers.explain(key(name));
    let mut text = format!("{name} {}\n", explanation.value);
    for part in explanation.parts.iter().filter(|part| part.value.is_some()) {
        let mark = if part.wins { '*' } else { ' ' };
        writeln!(text, "{mark} {} {}: {}", part.layer, part.value.expect("filtered"), part.why).expect("text");
    }
    assert_eq!(explanation.parts.iter().filter(|part| part.wins).count(), 1, "{text}");
    text
}

#[test]
fn every_layer_says_why_it_wins_or_does_not() {
    let cases = [
        ("DOWNLOAD_FRAG_LATENCY", "||"),
        ("DOWNLOAD_FRAG_LATENCY", "5||"),
        ("DOWNLOAD_FRAG_LATENCY", "5|0|"),
        ("DOWNLOAD_FRAG_LATENCY", "|5|7|9|"),
        ("DOWNLOAD_FRAG_LATENCY", "|5|7|9|3"),
        ("DOWNLOAD_FRAG_LATENCY", "|5|7|0"),
        ("DOWNLOAD_TIMEOUT", "||7|3|"),
        ("DOWNLOAD", "|0|1|1"),
        ("DOWNLOAD", "||0|1|1"),
        ("DOWNLOAD", "||0|0|0"),
        ("DOWNLOAD", "||1|0"),
        ("DOWNLOAD", "0||1"),
        ("FREQUENCY", "|-1|7|3"),
        ("FREQUENCY", "|0|2|5"),
        ("PROLOG_FREQ", "|12|8|4|"),
        ("PROLOG_FREQ", "|12|8|20"),
    ];
    let text: Vec<String> = cases.iter().map(|(name, layers)| table(name, layers)).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    DOWNLOAD_FRAG_LATENCY 10
    * default 10: in force: nothing is set

    DOWNLOAD_FRAG_LATENCY 5
    * configuration 5: in force: nothing nearer to the computer is set
      default 10: holds where nothing is set

    DOWNLOAD_FRAG_LATENCY 0
    * global 0: in force: nothing nearer to the computer is set
      configuration 5: what is set by hand goes before the configuration
      default 10: holds where nothing is set

    DOWNLOAD_FRAG_LATENCY 9
      group east 7: another group's is as large or larger
    * group west 9: in force: the largest of the groups
      global 5: what is nearer to the computer goes before it
      default 10: holds where nothing is set

    DOWNLOAD_FRAG_LATENCY 3
    * computer 3: in force: the computer's own
      group east 7: the computer's own goes before its groups
      group west 9: the computer's own goes before its groups
      global 5: what is nearer to the computer goes before it
      default 10: holds where nothing is set

    DOWNLOAD_FRAG_LATENCY 7
      computer 0: 0 says nothing here: only a value for every computer can be 0
    * group east 7: in force: the largest of the groups
      global 5: what is nearer to the computer goes before it
      default 10: holds where nothing is set

    DOWNLOAD_TIMEOUT 3
      group east 7: another group's is as small or smaller
    * group west 3: in force: the smallest of the groups
      default 30: holds where nothing is set

    DOWNLOAD 0
      computer 1: off for every computer is final
      group east 1: a group can only switch off
    * global 0: in force: off for every computer is final
      default 1: holds where nothing is set

    DOWNLOAD 0
      computer 1: off in any group goes before the computer's own
    * group east 0: in force: off in any group is off
      group west 1: a group can only switch off
      default 1: holds where nothing is set

    DOWNLOAD 0
      computer 0: off in any group goes before the computer's own
    * group east 0: in force: off in any group is off
      group west 0: another group is off already
      default 1: holds where nothing is set

    DOWNLOAD 0
    * computer 0: in force: the computer's own
      group east 1: a group can only switch off
      default 1: holds where nothing is set

    DOWNLOAD 0
      computer 1: off for every computer is final
    * configuration 0: in force: off for every computer is final
      default 1: holds where nothing is set

    FREQUENCY 3
    * computer 3: in force: the smallest of computer and groups
      group east 7: a smaller one of computer and groups holds
      global -1: what is nearer to the computer goes before it
      default 1: holds where nothing is set

    FREQUENCY 2
      computer 5: a smaller one of computer and groups holds
    * group east 2: in force: the smallest of computer and groups
      global 0: what is nearer to the computer goes before it
      default 1: holds where nothing is set

    PROLOG_FREQ 4
      group east 8: another group's is as small or smaller
    * group west 4: in force: the smallest of the groups
      global 12: what is nearer to the computer goes before it
      default 24: holds where nothing is set

    PROLOG_FREQ 20
    * computer 20: in force: the computer's own
      group east 8: the computer's own goes before its groups
      global 12: what is nearer to the computer goes before it
      default 24: holds where nothing is set
    ");
}

#[test]
fn what_is_set_by_hand_is_told_to_the_agent_and_can_be_taken_back() {
    let mut test = TestApp::new();
    test.app.configured = layer("PROLOG_FREQ=12");
    say_inventory(&test, WS, "Debian", &[]);
    let told = |test: &TestApp| say_prolog(test, WS).prolog_freq;
    let mine = || Whose::Computer("ws042".to_owned());
    assert_eq!(told(&test), Some(12));
    let changed = set(&test.app, key("prolog_freq"), "6", Whose::Everyone).expect("set");
    assert_eq!((changed.before, changed.explanation.value), (None, 6));
    set(&test.app, key("PROLOG_FREQ"), "2", mine()).expect("set");
    assert_eq!(told(&test), Some(2));
    let overview = list(&test.app).expect("read");
    let own = overview.iter().find(|overview| overview.explanation.key == SettingKey::PrologFrequency);
    assert_eq!(own.map(|own| (own.explanation.value, own.own_values)), Some((6, 1)));
    assert_eq!(explain(&test.app, key("PROLOG_FREQ"), "WS042").expect("known").1.value, 2);
    assert_eq!(unset(&test.app, key("PROLOG_FREQ"), mine()).expect("unset").before, Some(2));
    assert_eq!(unset(&test.app, key("PROLOG_FREQ"), Whose::Everyone).expect("unset").explanation.value, 12);
    assert_eq!(told(&test), Some(12));
}

#[test]
fn what_cannot_be_set_is_told_why_and_changes_nothing() {
    let test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    let refused = |name: &str, value: &str, whose: Whose| match name.parse::<SettingKey>() {
        Ok(key) => set(&test.app, key, value, whose).expect_err("refused").to_string(),
        Err(error) => error.to_string(),
    };
    let ws = || Whose::Computer("ws042".to_owned());
    let sentences = [
        refused("DOWNLOAD_SPEED", "1", Whose::Everyone),
        refused("DOWNLOAD_PERIOD_LENGTH", "0", Whose::Everyone),
        refused("DOWNLOAD_SWITCH", "2", ws()),
        refused("FREQUENCY", "often", ws()),
        refused("FREQUENCY", "-2", ws()),
        refused("PROLOG_FREQ", "1", Whose::Computer("nobody".to_owned())),
        unset(&test.app, key("PROLOG_FREQ"), ws()).expect_err("not set").to_string(),
        unset(&test.app, key("PROLOG_FREQ"), Whose::Everyone).expect_err("not set").to_string(),
    ];
    insta::assert_snapshot!(sentences.join("\n"), @r#"
    there is no setting "DOWNLOAD_SPEED"
    DOWNLOAD_PERIOD_LENGTH cannot be "0": cycles in a period; expected a whole number from 1 to 10000 (cycles)
    DOWNLOAD cannot be "2": whether agents download and execute packages at all; expected a whole number from 0 to 1 (0 or 1)
    FREQUENCY cannot be "often": how old an inventory may be; 0 asks at every contact, -1 never asks; expected a whole number from -1 to 3650 (days)
    FREQUENCY cannot be "-2": how old an inventory may be; 0 asks at every contact, -1 never asks; expected a whole number from -1 to 3650 (days)
    there is no computer "nobody": it must have sent an inventory first (`dripfeed computer list`)
    PROLOG_FREQ is not set by hand for ws042: `dripfeed setting explain` shows where its value comes from
    PROLOG_FREQ is not set by hand for every computer: `dripfeed setting get` shows where its value comes from
    "#);
    assert!(list(&test.app).expect("read").iter().all(|overview| overview.explanation.origin().word() == "default"));
}

#[test]
fn a_pace_that_an_open_job_cannot_keep_is_warned_of() {
    let test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    say_inventory(&test, "own-2024-03-05-09-10-11", "Debian", &[]);
    // A value of its own that has nothing to do with it: it is judged by itself, and counted once.
    set(&test.app, key("PROLOG_FREQ"), "2", Whose::Computer("own".to_owned())).expect("set");
    let id = active_package(&test);
    assert_eq!(assign_to(&test, id, Target::All).planned, 2);
    let warnings = |key_name: &str, value: &str, whose: Whose| {
        let changed = set(&test.app, key(key_name), value, whose).expect("set");
        let lines: Vec<String> = changed.warnings.iter().map(|warning| format!("  {warning}")).collect();
        [vec![format!("{key_name} {value}")], lines].concat().join("\n")
    };
    let sentences = [
        warnings("DOWNLOAD_CYCLE_LATENCY", "86400", Whose::Everyone),
        warnings("DOWNLOAD_TIMEOUT", "1", Whose::Computer("own".to_owned())),
        warnings("DOWNLOAD_TIMEOUT", "1", Whose::Everyone),
        warnings("DOWNLOAD_CYCLE_LATENCY", "60", Whose::Everyone),
        warnings("DOWNLOAD", "0", Whose::Everyone),
        warnings("DOWNLOAD", "1", Whose::Everyone),
    ];
    insta::assert_snapshot!(sentences.join("\n"), @r"
    DOWNLOAD_CYCLE_LATENCY 86400
    DOWNLOAD_TIMEOUT 1
      1 open job of package 1795168800 cannot end: 1 fragments at priority 1 need 24 h (2 turns, 10 in each period of 10 cycles, and such a period takes 10.1 days), more than DOWNLOAD_TIMEOUT allows (24 h): use larger fragments, or raise DOWNLOAD_TIMEOUT
    DOWNLOAD_TIMEOUT 1
      1 open job of package 1795168800 cannot end: 1 fragments at priority 1 need 24 h (2 turns, 10 in each period of 10 cycles, and such a period takes 10.1 days), more than DOWNLOAD_TIMEOUT allows (24 h): use larger fragments, or raise DOWNLOAD_TIMEOUT
      1 open job of package 1795168800 on own cannot end: 1 fragments at priority 1 need 24 h (2 turns, 10 in each period of 10 cycles, and such a period takes 10.1 days), more than DOWNLOAD_TIMEOUT allows (24 h): use larger fragments, or raise DOWNLOAD_TIMEOUT
    DOWNLOAD_CYCLE_LATENCY 60
    DOWNLOAD 0
      2 open jobs wait until DOWNLOAD is 1 again
    DOWNLOAD 1
    ");
}

#[test]
fn a_pace_of_a_group_is_judged_for_its_members() {
    let test = TestApp::new();
    for name in ["ws042", "in1", "in2", "both", "own"] {
        say_inventory(&test, &format!("{name}-2024-03-05-09-10-11"), "Debian", &[]);
    }
    for (group, members) in [("slow", vec!["in1", "in2", "both", "own"]), ("other", vec!["both"])] {
        groups::create(&test.app, group, None, "alice").expect("made");
        let members: Vec<String> = members.into_iter().map(str::to_owned).collect();
        groups::mark(&test.app, group, &members, groups::Mark::Include).expect("members");
    }
    let id = active_package(&test);
    assert_eq!(assign_to(&test, id, Target::All).planned, 5);
    let whose = |group: &str| Whose::Group(group.to_owned());
    let change = |key_name: &str, value: &str, whose: Whose| -> Vec<String> {
        let warnings = set(&test.app, key(key_name), value, whose).expect("set").warnings;
        warnings.iter().map(|warning| warning.split(" cannot end").next().unwrap_or_default().to_owned()).collect()
    };
    change("DOWNLOAD_CYCLE_LATENCY", "60", whose("other"));
    change("DOWNLOAD_CYCLE_LATENCY", "60", Whose::Computer("own".to_owned()));
    assert_eq!(change("DOWNLOAD_TIMEOUT", "1", whose("slow")), [""; 0]);
    // The largest latency of its groups is the one in force; the computer with its own value keeps its pace.
    assert_eq!(
        change("DOWNLOAD_CYCLE_LATENCY", "86400", whose("slow")),
        [
            format!("1 open job of package {id} in group other and slow"),
            format!("2 open jobs of package {id} in group slow")
        ]
    );
    // Asked of everyone they are told of, too, and those without a group are not.
    assert_eq!(change("DOWNLOAD_FRAG_LATENCY", "10", Whose::Everyone).len(), 2);
}

#[test]
fn looking_round_is_switched_as_the_stock_server_does() {
    let test = TestApp::new();
    say_inventory(&test, WS, "Debian", &[]);
    groups::create(&test.app, "quiet", None, "alice").expect("made");
    groups::mark(&test.app, "quiet", &["ws042".to_owned()], groups::Mark::Include).expect("a member");
    let holds = || explain(&test.app, key("IPDISCOVER_SWITCH"), "ws042").expect("explained").1;
    assert_eq!((holds().value, holds().origin().word()), (1, "default"));
    // Its stock name on a computer; there it is another thing than on the server.
    let changed = set(&test.app, key("IPDISCOVER"), "2", Whose::Computer("ws042".to_owned())).expect("set");
    assert_eq!(changed.explanation.key, key("IPDISCOVER_SWITCH"));
    assert_eq!((holds().value, holds().origin().word()), (2, "computer"));
    let error = set(&test.app, key("IPDISCOVER"), "7", Whose::Computer("ws042".to_owned())).expect_err("refused");
    insta::assert_snapshot!(error, @r#"IPDISCOVER_SWITCH cannot be "7": whether a computer looks round in its network; expected a whole number from 0 to 2 (0 never, 1 if elected, 2 always)"#);
    set(&test.app, key("IPDISCOVER"), "0", Whose::Group("quiet".to_owned())).expect("set");
    assert_eq!((holds().value, holds().origin().word()), (0, "group"), "a group's 0 is final");
    set(&test.app, key("IPDISCOVER"), "7", Whose::Everyone).expect("as many as one likes");
    for name in ["REGISTRY", "IPDISCOVER_MAX_ALIVE"] {
        let error = set(&test.app, key(name), "1", Whose::Computer("ws042".to_owned())).expect_err("refused");
        assert!(error.to_string().contains("is the server's alone"), "{error}");
    }
}
