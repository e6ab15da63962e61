//! A tree of elements, HTML and SVG alike, that writes itself.
//!
//! Names of products, reasons of failures and settings of hosts come from outside. Whatever becomes
//! a [`Node`] is escaped when it is written, and an element can't be left open: the page is
//! well-formed, even as XML, because there is no other way to write it. The one exception is the
//! style sheet, which HTML doesn't unescape; it is part of the program.
//!
//! This instead of a crate for charts: those put colours into the picture, and this page's colours
//! are variables of its style sheet, so that one picture serves light, dark and paper.

use std::fmt::{self, Display, Formatter};

/// What stands in an element.
pub enum Node {
    /// Another one.
    Element(Element),
    /// Escaped when written.
    Text(String),
    /// Written as it is.
    Style(&'static str),
}

/// An element.
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
}

/// An empty element.
pub fn el(name: &'static str) -> Element {
    Element { name, attributes: Vec::new(), children: Vec::new() }
}

impl Element {
    /// With an attribute.
    pub fn set(mut self, name: &'static str, value: impl Display) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// With an attribute that is a coordinate or a length; a tenth of a pixel is enough.
    pub fn at(self, name: &'static str, value: f64) -> Self {
        self.set(name, coordinate(value))
    }

    /// With a class or several.
    pub fn class(self, names: impl Display) -> Self {
        self.set("class", names)
    }

    /// With text at its end.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.children.push(Node::Text(text.into()));
        self
    }

    /// With something at its end.
    pub fn with(mut self, child: impl Into<Node>) -> Self {
        self.children.push(child.into());
        self
    }

    /// With all of them at its end.
    pub fn with_all<N: Into<Node>>(mut self, children: impl IntoIterator<Item = N>) -> Self {
        self.children.extend(children.into_iter().map(Into::into));
        self
    }
}

impl From<Element> for Node {
    fn from(element: Element) -> Self {
        Self::Element(element)
    }
}

/// A coordinate as it stands in a path.
pub fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Elements of HTML that have no end.
const VOID: [&str; 4] = ["meta", "br", "hr", "wbr"];
/// Elements within lines, around which a line break would be seen.
const INLINE: [&str; 11] =
    ["a", "abbr", "b", "code", "em", "small", "span", "strong", "sup", "text", "tspan"];

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, attributes, children } = self;
        write!(f, "<{name}")?;
        for (attribute, value) in attributes {
            write!(f, " {attribute}=\"{}\"", Escaped(value))?;
        }
        if VOID.contains(name) {
            return f.write_str("/>");
        }
        f.write_str(">")?;
        for child in children {
            match child {
                Node::Element(element) => element.fmt(f)?,
                Node::Text(text) => Escaped(text).fmt(f)?,
                Node::Style(text) => f.write_str(text)?,
            }
        }
        let end = if INLINE.contains(name) { "" } else { "\n" };
        write!(f, "</{name}>{end}")
    }
}

/// Text in which nothing is markup.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // A log may hold what no page can: colours of a terminal, say.
                letter if letter.is_control() && !letter.is_whitespace() => {
                    f.write_str("\u{fffd}")?;
                }
                letter => write!(f, "{letter}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let evil = "</p><script>alert('&\"')</script>\u{1b}[31m";
        let page = el("p").set("title", evil).text(evil).to_string();
        let harmless =
            "&lt;/p&gt;&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;\u{fffd}[31m";
        assert_eq!(page, format!("<p title=\"{harmless}\">{harmless}</p>\n"));
    }

    #[test]
    fn elements_without_an_end_have_none_and_others_do() {
        let page = el("div").with(el("br")).with(el("span").class("key")).at("x", 1.0).to_string();
        assert_eq!(page, "<div x=\"1\"><br/><span class=\"key\"></span></div>\n");
        assert_eq!(coordinate(12.349), "12.3");
    }
}
