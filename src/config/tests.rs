//! What settings files mean, and what is wrong with those that mean nothing.

use super::*;

const EXAMPLE: &str = include_str!("../../.scrum.example.toml");

fn pairs(items: &[(&str, &str)]) -> Pairs {
    items.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_example_documents_every_key_with_its_default() {
    let example: Table = EXAMPLE.parse().expect("the example is TOML");
    assert_eq!(example, schema(), "the example and the schema differ");
}

#[test]
fn every_key_of_the_example_has_a_comment_above_it() {
    let mut commented = false;
    for line in EXAMPLE.lines() {
        let is_key = !line.is_empty() && !line.starts_with(['#', '[']);
        assert!(!is_key || commented, "{line:?} has no comment above it");
        commented = line.starts_with('#');
    }
}

#[test]
fn later_sources_win() {
    let file = "[tasks]\nlease = \"1h\"\nretries_max = 5\n[train]\ncheck = [\"true\"]\n";
    let git = pairs(&[("scrum.tasks.retriesmax", "7"), ("scrum.train.check", r#"["sh", "a b.sh"]"#)]);
    let environment = pairs(&[("SCRUM_TASKS_RETRIES_MAX", "9")]);
    let settings = settings(Some(file), &git, &environment).expect("good settings");
    assert_eq!(settings.tasks.lease, Seconds(3600));
    assert_eq!(settings.tasks.retries_max, 9);
    assert_eq!(settings.train.check, ["sh", "a b.sh"]);
    assert_eq!(settings.locks, LockSettings::default());
}

#[test]
fn unknown_keys_name_the_nearest() {
    let error = settings(Some("[train]\nchek = []\n"), &Pairs::new(), &Pairs::new()).expect_err("misspelt");
    assert_eq!(error.to_string(), ".scrum.toml has the unknown key train.chek (did you mean train.check?)");
    let error = settings(Some("[trian]\n"), &Pairs::new(), &Pairs::new()).expect_err("misspelt");
    assert_eq!(error.to_string(), ".scrum.toml has the unknown key trian (did you mean train?)");
    let error = settings(Some("[zzz]\n"), &Pairs::new(), &Pairs::new()).expect_err("unlike any");
    assert_eq!(error.to_string(), ".scrum.toml has the unknown key zzz");
}

#[test]
fn checks_have_names_and_some_have_to_be_passed() {
    let read = |text: &str| settings(Some(text), &Pairs::new(), &Pairs::new());
    let two = "[train.checks.unit]\nrun = [\"true\"]\n[train.checks.lint]\nrun = [\"true\"]\nrequired = false\n";
    let checks = read(two).expect("good settings").train.checks;
    assert_eq!(checks.into_values().map(|check| check.required).collect::<Vec<_>>(), [false, true]);
    for (text, says) in [
        ("[train]\ncheck = [\"true\"]\n[train.checks.unit]\nrun = [\"true\"]\n", "give it a name"),
        ("[train.checks.unit]\nrun = [\"true\"]\nrequired = false\n", "none of them is required"),
        ("[train.checks.unit]\n", "unit has nothing to run"),
        ("[train.checks.\"a\\u001bb\"]\nrun = [\"true\"]\n", "is no name of a check"),
        ("[train.checks.unit]\nrun = [\"true\"]\nneeded = true\n", "needed"),
    ] {
        let error = read(text).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn numbers_out_of_their_range_are_refused_with_the_range() {
    let main = Branch::parse("main").unwrap();
    let read = |text: &str| settings_of(&main, Some(text), &Pairs::new(), &Pairs::new());
    read("[train]\ntolerate = 4\nwindow_step = 0\nwindow_divisor = 100\n").expect("good settings");
    for (text, says) in [
        ("[train]\ntolerate = 99\n", "train.tolerate: 99 is not within 0 to 4"),
        ("[trains.main]\ntolerate = 5\n", "trains for main: train.tolerate: 5 is not within 0 to 4"),
        ("[train]\nwindow_step = 101\n", "train.window_step: 101 is not within 0 to 100"),
        ("[train]\nwindow_divisor = 0\n", "train.window_divisor: 0 is not within 1 to 100"),
    ] {
        assert_eq!(read(text).expect_err(says).to_string(), says);
    }
    let window = read("[train]\nwindow_step = 3\nwindow_divisor = 4\n").unwrap().train.policy().window;
    let train = crate::domain::Train::new(main);
    assert_eq!((window.grown(&train, 2), window.shrunk(&train)), (26, 5));
}

#[test]
fn what_makes_no_sense_is_refused_by_its_key() {
    let main = Branch::parse("main").expect("a branch");
    let no_time = "0s is no time to run in: nothing would ever pass";
    let (into, every) = ("it has to be text, such as \"main\"", "it has to be text, such as \"1h\"");
    for (text, says) in [
        ("[train]\ntimeout = \"0s\"\n", format!("train.timeout: {no_time}")),
        ("[train]\naffected_timeout = \"0s\"\n", format!("train.affected_timeout: {no_time}")),
        ("[train.checks.a]\nrun = [\"b\"]\ntimeout = \"0s\"\n", format!("train.checks.a.timeout: {no_time}")),
        ("[trains.\"m*\"]\ntimeout = \"0s\"\n", format!("trains for main: train.timeout: {no_time}")),
        ("[trains.\"a/*\"]\ninto = 5\n", format!("trains.\"a/*\": into is 5: {into}")),
        ("[trains.\"a/*\"]\nevery = 5\n", format!("trains.\"a/*\": every is 5: {every}")),
    ] {
        let error = settings_of(&main, Some(text), &Pairs::new(), &Pairs::new()).expect_err(&says);
        assert_eq!(error.to_string(), says);
    }
}

#[test]
fn a_bad_value_names_its_source() {
    let error = settings(None, &pairs(&[("scrum.tasks.lease", "soon")]), &Pairs::new()).expect_err("no length");
    assert!(error.to_string().starts_with("scrum.tasks.lease: \"soon\" is not a length of time"), "{error}");
}
