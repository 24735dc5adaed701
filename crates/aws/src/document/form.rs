//! Documents as forms, the way in of AWS's query protocol (<https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>): `A.B=x` is a member of a member, and
//! `A.member.1=x` an item of a list.

use std::collections::BTreeMap;

use super::{DEPTH_MAX, Document, DocumentError};

/// Items of one list: a form that names more is made to exhaust memory.
const ITEMS_MAX: u32 = 10_000;

/// Reads a form. All values are texts.
///
/// # Errors
/// What is no form: a broken escape, names nested too deep, an item with no number.
pub fn from_form(form: &[u8]) -> Result<Document, DocumentError> {
    let malformed = || DocumentError("The query string contains a syntax error.".to_owned());
    let form = std::str::from_utf8(form).map_err(|_| malformed())?;
    let mut root = Branch::default();
    for pair in form.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_encoding::percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned()).map_err(|_| malformed())
        };
        let (name, value) = (decode(name)?, decode(value)?);
        if name.split('.').count() > DEPTH_MAX {
            return Err(DocumentError(format!("the parameter {name} is nested too deep")));
        }
        let mut branch = &mut root;
        for part in name.split('.') {
            branch = branch.below.entry(part.to_owned()).or_default();
        }
        branch.value = Some(value);
    }
    root.into_document()
}

/// What is known of a name so far.
#[derive(Debug, Default)]
struct Branch {
    value: Option<String>,
    below: BTreeMap<String, Branch>,
}

impl Branch {
    fn into_document(mut self) -> Result<Document, DocumentError> {
        if self.below.is_empty() {
            return Ok(self.value.map_or(Document::Members(Vec::new()), Document::Text));
        }
        if self.below.len() == 1
            && let Some(items) = self.below.remove("member")
        {
            return items.into_list();
        }
        let members = self.below.into_iter().map(|(name, branch)| Ok((name, branch.into_document()?)));
        members.collect::<Result<_, _>>().map(Document::Members)
    }

    /// In the order of their numbers, whose gaps do not count.
    fn into_list(self) -> Result<Document, DocumentError> {
        let numbered = self.below.into_iter().map(|(number, branch)| match number.parse::<u32>() {
            Ok(number @ 1..=ITEMS_MAX) => Ok((number, branch)),
            _ => Err(DocumentError(format!("a list's item has the number {number}: they go from 1 to {ITEMS_MAX}"))),
        });
        let numbered: BTreeMap<u32, Branch> = numbered.collect::<Result<_, _>>()?;
        numbered.into_values().map(Branch::into_document).collect::<Result<_, _>>().map(Document::List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_members_are_read() {
        let form = b"Action=Put&D.member.10.Name=j&D.member.2.Name=b+c&D.member.2.Value=%C3%A9&S.member.1=x&M.Stat.Period=60&Empty=";
        let document = from_form(form).unwrap();
        let items = document.member("D").unwrap().as_list().unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!((items[0].member("Name"), items[0].member("Value")), (Some(&"b c".into()), Some(&"é".into())));
        assert_eq!(document.member("S").unwrap(), &Document::list(["x"]));
        assert_eq!(document.member("M").unwrap().member("Stat").unwrap().member("Period").unwrap().as_integer(), Some(60));
        assert_eq!(document.member("Empty").unwrap().as_list(), Some(&[][..]));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let check = |form: &str, expected: &str| {
            let error = from_form(form.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("a=%ff", "syntax error");
        check("a.member.x=1", "number x");
        check("a.member.4000000000=1", "number 4000000000");
        check(&format!("{}=1", ["a"; 40].join(".")), "nested too deep");
    }
}
