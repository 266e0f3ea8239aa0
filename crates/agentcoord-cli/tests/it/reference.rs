//! The reference in the documentation is the one that the binary prints.

use crate::terminal::Repository;

#[test]
fn reference_in_the_documentation_is_current() {
    let said = Repository::new().terminal().run(&["help", "reference"]);
    assert_eq!(said.exit, 0, "{}", said.stderr);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == said.stdout, "docs/cli.md is not current: agentcoord help reference > docs/cli.md");
}
