//! How scripts read and write records: made from the records' own fields, and spelled out, because a loop over names would
//! cost several times as much.

use crate::record::{head, with_all_records};
use crate::table::Record;

/// The text that fills the table `shapes` of the prelude: for each kind of record `read`, by the number of stored fields or for
/// any, which gets where reading ended and then the fields; `copy`; and `pack`.
pub(super) fn text() -> String {
    macro_rules! shapes {
        ($($record:ty),+ $(,)?) => { [$(shape::<$record>()),+].concat() };
    }
    with_all_records!(shapes)
}

fn shape<R: Record>() -> String {
    let (all, usual) = (R::FIELDS, &R::FIELDS[..R::USUAL]);
    let rare: Vec<String> = R::FIELDS[R::USUAL..].iter().map(|field| format!("r.{field} ~= nil")).collect();
    let mut text = format!("\nshapes.{} = {{read = {{}}}}\n", R::TABLE.name());
    let mut define = |what: &str, body: &str| text.push_str(&format!("shapes.{}.{what} = {body}\n", R::TABLE.name()));
    let reader = |fields: &[&str]| format!("function(_, {}) return {} end", fields.join(", "), table(fields, ""));
    define("read.any", &reader(all));
    if !rare.is_empty() {
        define(&format!("read[{}]", usual.len()), &reader(usual));
    }
    let either = |of: &dyn Fn(&[&str]) -> String| {
        if rare.is_empty() {
            return format!("function(r) return {} end", of(all));
        }
        format!("function(r) if {} then return {} end return {} end", rare.join(" or "), of(all), of(usual))
    };
    define("copy", &either(&|fields| table(fields, "r.")));
    define("pack", &either(&packed));
    text
}

/// A table constructor, which makes the table as large as it has to be.
fn table(fields: &[&str], from: &str) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("{field} = {from}{field}")).collect();
    format!("{{{}}}", fields.join(", "))
}

fn packed(fields: &[&str]) -> String {
    let begin: String = head(fields.len()).iter().map(|byte| format!("\\{byte:03}")).collect();
    format!("'{begin}' .. cmsgpack.pack(r.{})", fields.join(", r."))
}
