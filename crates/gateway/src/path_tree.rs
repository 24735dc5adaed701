//! From a path to a resource: a literal segment before `{name}` before `{name+}`, as API Gateway chooses
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-settings-method-request.html>).

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

/// Resources by their paths; `T` is what a resource holds.
#[derive(Debug)]
pub(crate) struct PathTree<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    here: Option<Arc<T>>,
    literals: BTreeMap<String, Node<T>>,
    parameter: Option<(String, Box<Node<T>>)>,
    greedy: Option<(String, Arc<T>)>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Node { here: None, literals: BTreeMap::new(), parameter: None, greedy: None }
    }
}

/// Path parameters with their values, decoded.
pub(crate) type PathParameters = Vec<(String, String)>;

impl<T> PathTree<T> {
    /// A tree of resources: path (`/orders/{order}`) and what is there.
    pub(crate) fn new(resources: impl IntoIterator<Item = (String, T)>) -> PathTree<T> {
        let mut root = Node::default();
        for (path, resource) in resources {
            root.insert(path.split('/').filter(|segment| !segment.is_empty()), Arc::new(resource));
        }
        PathTree { root }
    }

    /// The resource for a path as it came, undecoded, with its parameters. A parameter never stands for an empty segment, for one that is not UTF-8, or for
    /// one that leads out of its place (`..`, also behind an encoded slash): backends resolve those in different ways.
    pub(crate) fn find(&self, path: &str) -> Option<(&Arc<T>, PathParameters)> {
        let segments: Vec<&str> = match path.strip_prefix('/').unwrap_or(path) {
            "" => Vec::new(),
            path => path.split('/').collect(),
        };
        let mut parameters = Vec::new();
        let found = self.root.find(&segments, &mut parameters)?;
        Some((found, parameters))
    }
}

impl<T> Node<T> {
    fn insert<'a>(&mut self, mut segments: impl Iterator<Item = &'a str>, resource: Arc<T>) {
        let Some(segment) = segments.next() else {
            self.here = Some(resource);
            return;
        };
        match parameter_name(segment) {
            None => self.literals.entry(segment.to_owned()).or_default().insert(segments, resource),
            Some(name) => match name.strip_suffix('+') {
                Some(name) => self.greedy = Some((name.to_owned(), resource)),
                None => self.parameter.get_or_insert_with(|| (name.to_owned(), Box::default())).1.insert(segments, resource),
            },
        }
    }

    fn find(&self, segments: &[&str], parameters: &mut PathParameters) -> Option<&Arc<T>> {
        let Some((first, rest)) = segments.split_first() else { return self.here.as_ref() };
        if let Some(found) = self.literals.get(*first).and_then(|node| node.find(rest, parameters)) {
            return Some(found);
        }
        let before = parameters.len();
        if let Some((name, node)) = &self.parameter
            && let Some(value) = decoded(first)
        {
            parameters.push((name.clone(), value));
            if let Some(found) = node.find(rest, parameters) {
                return Some(found);
            }
            parameters.truncate(before);
        }
        let (name, resource) = self.greedy.as_ref()?;
        let values: Option<Vec<String>> = segments.iter().map(|segment| decoded(segment)).collect();
        parameters.push((name.clone(), values?.join("/")));
        Some(resource)
    }
}

/// `order` of `{order}`.
pub(crate) fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn decoded(segment: &str) -> Option<String> {
    let value = percent_decode_str(segment).decode_utf8().ok()?;
    (!value.is_empty() && !leads_out(&value)).then(|| value.into_owned())
}

/// Whether a part of a path, decoded, could name another place than the one where it stands: backends resolve dots, also behind an encoded slash, and end texts
/// at NUL.
pub(crate) fn leads_out(value: &str) -> bool {
    value.contains('\0') || value.split(['/', '\\']).any(|part| matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let resources =
            ["/", "/orders", "/orders/{order}", "/orders/{order}/lines", "/orders/new", "/files/{path+}", "/orders/{order}/{rest+}"];
        let tree = PathTree::new(resources.map(|path| (path.to_owned(), path)));
        let found = match tree.find(path) {
            None => "none".to_owned(),
            Some((resource, parameters)) => {
                parameters.iter().fold(String::from(**resource), |text, (name, value)| format!("{text} {name}={value}"))
            }
        };
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn the_most_exact_resource_is_found() {
        check("/", "/");
        check("/orders", "/orders");
        check("/orders/new", "/orders/new");
        check("/orders/7", "/orders/{order} order=7");
        check("/orders/7/lines", "/orders/{order}/lines order=7");
        check("/orders/7/notes/3", "/orders/{order}/{rest+} order=7 rest=notes/3");
        check("/orders/new/lines", "/orders/{order}/lines order=new");
        check("/files/a/b.txt", "/files/{path+} path=a/b.txt");
        check("/files", "none");
        check("/nothing", "none");
    }

    #[test]
    fn parameters_are_decoded_and_never_lead_out() {
        check("/orders/a%20b%C3%A9", "/orders/{order} order=a bé");
        check("/orders/a%2Fb", "/orders/{order} order=a/b");
        for path in [
            "/files/../x",
            "/files/a/%2e%2e/x",
            "/files/a%2f..%2fx",
            "/files/..%5cx",
            "/orders/%FF",
            "/orders//lines",
            "/files/a//b",
            "/files/%00",
        ] {
            check(path, "none");
        }
    }
}
