//! Operations as data: the table that a request is matched against.

use http::Method;

/// One operation of a service.
#[derive(Debug, Clone)]
pub(crate) struct Operation<Id> {
    /// Which one.
    pub(crate) id: Id,
    /// Its name, which is also the IAM action's.
    pub(crate) name: &'static str,
    /// The HTTP verb.
    pub(crate) verb: Method,
    /// The path; `{…}` stands for one segment.
    pub(crate) path: &'static str,
}

/// Declares a service's operations once: the enumeration, and the table `OPERATIONS` that dispatch and the completeness test work from.
macro_rules! operations {
    ($service:ident: $($name:ident $verb:ident $path:literal;)*) => {
        /// The operations of the service that are served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $service { $($name,)* }

        /// The table that dispatch works from.
        pub(crate) const OPERATIONS: &[$crate::operation::Operation<$service>] = &[
            $($crate::operation::Operation { id: $service::$name, name: stringify!($name), verb: http::Method::$verb, path: $path },)*
        ];
    };
}

pub(crate) use operations;

/// Finds the operation for a verb and a path, with its path's parameters, percent-decoded, in order.
pub(crate) fn find<'a, Id>(table: &'a [Operation<Id>], verb: &Method, path: &str) -> Option<(&'a Operation<Id>, Vec<String>)> {
    let of_verb = table.iter().filter(|operation| operation.verb == *verb);
    of_verb.filter_map(|operation| Some((operation, parameters(operation.path, path)?))).next()
}

/// A parameter of a query, as it came, undecoded; the first of several.
pub(crate) fn query_parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// A parameter of a query, decoded; the first of several.
pub(crate) fn query_value(query: &str, name: &str) -> Option<String> {
    let value = query_parameter(query, name)?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// The page of a list that begins at an item, and the token of the next page: the number of its first item, which is each service's to change, and ours too.
pub(crate) fn page_at<T>(items: Vec<T>, begin: usize, items_max: usize) -> (Vec<T>, Option<String>) {
    let end = begin.saturating_add(items_max);
    let next = (end < items.len()).then(|| end.to_string());
    (items.into_iter().skip(begin).take(items_max).collect(), next)
}

fn parameters(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    let mut found = Vec::new();
    loop {
        match (template.next(), path.next()) {
            (None, None) => return Some(found),
            (Some(expected), Some(segment)) if expected.starts_with('{') && !segment.is_empty() => {
                let mut decoded = Vec::with_capacity(segment.len());
                decoded.extend(percent_encoding::percent_decode_str(segment));
                found.push(String::from_utf8(decoded).ok()?);
            }
            (Some(expected), Some(segment)) if expected == segment => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Operation<u8>] = &[
        Operation { id: 1, name: "One", verb: Method::GET, path: "/things/{id}" },
        Operation { id: 2, name: "Two", verb: Method::POST, path: "/things/{id}/parts/{part}" },
    ];

    fn check(verb: Method, path: &str, expected: Option<(u8, &[&str])>) {
        let found = find(TABLE, &verb, path).map(|(operation, parameters)| (operation.id, parameters));
        let expected = expected.map(|(id, parameters)| (id, parameters.iter().map(|parameter| (*parameter).to_owned()).collect()));
        assert_eq!(found, expected, "{verb} {path}");
    }

    #[test]
    fn paths_are_matched_by_segment_and_decoded() {
        check(Method::GET, "/things/a%2Fb", Some((1, &["a/b"])));
        check(Method::POST, "/things/a/parts/b", Some((2, &["a", "b"])));
        check(Method::POST, "/things/a", None);
        check(Method::GET, "/things/", None);
        check(Method::GET, "/things/a/", None);
        check(Method::GET, "/things/%FF", None);
    }
}
