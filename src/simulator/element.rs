//! XML as a test reads it, which is strictly.

/// An element, its children in order of their names: the samples have them in any order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// Panics where the text is not well-formed. Attributes do not occur.
    pub(super) fn parse(text: &str) -> Element {
        let text = match text.trim().strip_prefix("<?xml") {
            Some(rest) => rest.split_once("?>").expect("a declaration ends").1,
            None => text,
        };
        let (root, rest) = Element::first(text.trim());
        assert_eq!(rest, "", "only the root");
        root
    }

    fn first(text: &str) -> (Element, &str) {
        let rest = text.strip_prefix('<').expect("a tag");
        let (name, mut rest) = rest.split_once('>').expect("a tag ends");
        assert!(name.chars().all(char::is_alphanumeric), "{name}");
        let end = format!("</{name}>");
        let mut element = Element {
            name: name.into(),
            text: String::new(),
            children: Vec::new(),
        };
        loop {
            let at = rest.find('<').expect("an element ends");
            element.text.push_str(rest[..at].trim());
            rest = &rest[at..];
            if let Some(rest) = rest.strip_prefix(&end) {
                element.children.sort();
                assert!(element.text.is_empty() || element.children.is_empty());
                return (element, rest);
            }
            let (child, after) = Element::first(rest);
            element.children.push(child);
            rest = after;
        }
    }
}
