//! XML answers as a tree: of the query protocol and of S3. Names lose their namespaces, since AWS's documents never mix two.

use roxmltree::Node;

/// An element: its name, its own text, its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Without a namespace.
    pub name: String,
    /// The text directly inside, joined; white space at the ends is dropped.
    pub text: String,
    /// In the document's order.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document. A document type declaration is refused, and with it entities that expand.
    pub(super) fn parse(document: &str) -> Result<Element, roxmltree::Error> {
        Ok(Element::of(roxmltree::Document::parse(document)?.root_element()))
    }

    fn of(node: Node<'_, '_>) -> Element {
        let text: String = node.children().filter(Node::is_text).filter_map(|text| text.text()).collect();
        let children = node.children().filter(Node::is_element).map(Element::of).collect();
        Element { name: node.tag_name().name().to_owned(), text: text.trim().to_owned(), children }
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of that name; `None` when there is none, or it is empty.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The items of a list, as the query protocol writes one: `<Stacks><member>…</member></Stacks>`.
    pub fn members(&self, list: &str) -> impl Iterator<Item = &Element> {
        self.child(list).into_iter().flat_map(|list| &list.children)
    }

    /// The first element of that name, at any depth.
    pub fn find(&self, name: &str) -> Option<&Element> {
        if self.name == name { Some(self) } else { self.children.iter().find_map(|child| child.find(name)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_texts_are_found() {
        let document =
            r#"<R xmlns="urn:a"><Stacks><member><Name> one </Name><Reason/></member><member><Name>t&amp;wo</Name></member></Stacks></R>"#;
        let root = Element::parse(document).unwrap();
        let names: Vec<_> = root.members("Stacks").map(|stack| stack.text_of("Name")).collect();
        assert_eq!(names, [Some("one"), Some("t&wo")]);
        assert_eq!(root.members("Stacks").next().unwrap().text_of("Reason"), None);
        assert_eq!(root.find("Name").unwrap().text, "one");
        assert_eq!(root.members("Absent").count(), 0);
    }

    #[test]
    fn documents_that_expand_are_refused() {
        assert!(Element::parse(r#"<!DOCTYPE a [<!ENTITY x "xx">]><a>&x;</a>"#).is_err());
        assert!(Element::parse("<a><b></a>").is_err());
    }
}
