//! Nothing that an agent stored drives the terminal of whoever looks at it.

use crate::terminal::Repository;

#[test]
fn stored_escapes_are_shown_and_not_sent() {
    let repository = Repository::new();
    let (ann, ben) = (repository.terminal().agent("ann"), repository.terminal().agent("ben"));
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2Jinnocent\nerror: fake\r\u{202e}txt";
    ann.data(&["locks", "acquire", "a", "-m", evil]);
    ann.data(&["agents", "update", "--working-on", evil, "--status", evil]);
    for words in [&["locks"][..], &["locks", "show", "a"], &["agents"], &["agents", "show", "ann"], &["status"]] {
        let said = ben.run(words);
        assert!(said.stdout.contains(r"\u{1b}"), "{words:?}: {}", said.stdout);
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.stdout.contains(bad), "{words:?}: {:?}", said.stdout);
        assert!(!said.stdout.lines().any(|line| line.starts_with("error:")), "{words:?}");
    }
    let refused = ben.run(&["locks", "acquire", "a"]);
    assert_eq!(refused.exit, 4);
    assert!(!refused.stderr.contains('\u{1b}') && refused.stderr.lines().count() == 3, "{:?}", refused.stderr);
    assert_eq!(ben.data(&["locks", "show", "a"])["items"][0]["intent"], evil, "JSON has it as it is");
}
