//! The access file: callers, in TOML.
//!
//! What is wrong with it is told with the line and what to do, and never with anything that stands
//! in it: a token may have been written where its hash belongs.

use std::sync::Arc;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    known::{Known, certificate_name},
    token::TokenHash,
};
use crate::domain::{
    Caller, Proof, Right, Tenant,
    caller::{ProductPattern, Products, Rights, is_name},
};

/// What is wrong with an access file, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(super) struct Wrong {
    line: usize,
    what: &'static str,
}

/// The callers in the text of an access file.
pub(super) fn parse(text: &str) -> Result<Known, Wrong> {
    let text = Text(text);
    let table = DeTable::parse(text.0).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        text.wrong(
            at,
            "is not TOML, or a key stands twice; look at the quotes, brackets and commas",
        )
    })?;
    let mut known = Known::default();
    for (key, value) in table.get_ref() {
        if &**key.get_ref() != "caller" {
            return Err(text.wrong(
                key.span().start,
                "begin each caller with [[caller]]; nothing else may stand here",
            ));
        }
        for caller in list(&text, value, "begin each caller with [[caller]]")? {
            add(&text, caller, &mut known)?;
        }
    }
    match known.len() {
        0 => Err(text.wrong(
            0,
            "there is no [[caller]], so nobody could call; `registrar token NAME` makes one",
        )),
        _ => Ok(known),
    }
}

/// The text, to count lines in.
struct Text<'a>(&'a str);

impl Text<'_> {
    fn wrong(&self, at: usize, what: &'static str) -> Wrong {
        let before = self.0.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Wrong { line, what }
    }
}

type Value<'a> = Spanned<DeValue<'a>>;

/// Adds a caller with all that proves it.
fn add(text: &Text<'_>, value: &Value<'_>, known: &mut Known) -> Result<(), Wrong> {
    let start = value.span().start;
    let Some(table) = value.get_ref().as_table() else {
        return Err(text.wrong(start, "begin each caller with [[caller]]"));
    };
    let keys = [
        "name",
        "tenant",
        "rights",
        "products",
        "tokens",
        "certificates",
    ];
    for key in table.keys() {
        if !keys.contains(&&**key.get_ref()) {
            return Err(text.wrong(
                key.span().start,
                "no such key; a caller has name, tenant, rights, products, tokens and certificates",
            ));
        }
    }
    let needed = |key: &str| {
        let value = table.get(key);
        value.ok_or_else(|| text.wrong(start, "a caller needs name, tenant, rights and products"))
    };

    let name: Arc<str> = one(text, needed("name")?, |name| {
        is_name(name)
            .then(|| name.into())
            .ok_or("a name has 1 to 64 letters, digits, - _ and .")
    })?;
    if !known.add_name(&name) {
        return Err(text.wrong(
            needed("name")?.span().start,
            "another caller has this name; give each its own",
        ));
    }
    let tenant = one(text, needed("tenant")?, Tenant::parse)?;
    let rights: Rights = each(text, needed("rights")?, |right| {
        right
            .parse::<Right>()
            .map_err(|_| "the rights are submit, register, cancel, read and credentials")
    })?;
    let products: Products = each(text, needed("products")?, ProductPattern::parse)?;
    let caller = Arc::new(Caller {
        tenant,
        name,
        rights,
        products,
        proof: Proof::Open,
        peer: None,
    });

    for value in list_of(text, table, "tokens")? {
        let hash = one(text, value, |hash| {
            TokenHash::parse(hash).ok_or(
                "a token is kept as its hash, sha256: and 64 hexadecimal digits; `registrar token NAME` makes both",
            )
        })?;
        if !known.add_token(hash, &caller) {
            return Err(text.wrong(
                value.span().start,
                "this hash stands here twice; make a token for each caller",
            ));
        }
    }
    for value in list_of(text, table, "certificates")? {
        let name = one(text, value, |name| {
            certificate_name(name).ok_or(
                "a certificate is known by a name in it, written as DNS:press.example, URI:spiffe://factory/press or CN:press",
            )
        })?;
        if !known.add_certificate(name, &caller) {
            return Err(text.wrong(
                value.span().start,
                "this name stands here twice; it can prove one caller only",
            ));
        }
    }
    Ok(())
}

/// The elements of a list that may be left out.
fn list_of<'a>(
    text: &Text<'_>,
    table: &'a DeTable<'a>,
    key: &str,
) -> Result<Vec<&'a Value<'a>>, Wrong> {
    let value = table.get(key);
    value.map_or(Ok(Vec::new()), |value| list(text, value, LIST))
}

fn list<'a>(
    text: &Text<'_>,
    value: &'a Value<'a>,
    what: &'static str,
) -> Result<Vec<&'a Value<'a>>, Wrong> {
    let list = value.get_ref().as_array();
    let list = list.ok_or_else(|| text.wrong(value.span().start, what))?;
    Ok(list.iter().collect())
}

/// What each text of a list means.
fn each<T, C: FromIterator<T>>(
    text: &Text<'_>,
    value: &Value<'_>,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<C, Wrong> {
    let list = list(text, value, LIST)?;
    list.into_iter()
        .map(|value| one(text, value, &parse))
        .collect()
}

/// What one text means.
fn one<T>(
    text: &Text<'_>,
    value: &Value<'_>,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, Wrong> {
    let at = value.span().start;
    let told = value.get_ref().as_str().ok_or("must be a text in quotes");
    told.and_then(parse).map_err(|what| text.wrong(at, what))
}

const LIST: &str = "must be a list in brackets of texts in quotes, such as [\"read\"]";

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    fn caller(lines: &str) -> String {
        format!("# who\n[[caller]]\nname = \"press\"\ntenant = \"factory\"\n{lines}\n")
    }

    fn refused(text: &str) -> (usize, &'static str) {
        let Wrong { line, what } = parse(text).unwrap_err();
        (line, what)
    }

    #[test]
    fn callers_are_read_with_all_they_have() {
        let second = HASH.replace("2d71", "0000");
        let text = caller(&format!(
            "rights = [\"submit\", \"read\"]\nproducts = [\"a1*\", \"b2\"]\n\
             tokens = [\n  \"{HASH}\", # until Friday\n  \"{second}\",\n]\n\
             certificates = [\"DNS:Press.Example\"]"
        ));
        let known = parse(&text).unwrap();

        for hash in [HASH, &second] {
            let caller = known.by_token(&TokenHash::parse(hash).unwrap()).unwrap();
            assert_eq!(
                (caller.tenant.as_str(), &*caller.name),
                ("factory", "press")
            );
            assert!(caller.may(Right::Submit) && !caller.may(Right::Credentials));
            assert!(caller.products.allow("a1Bw") && !caller.products.allow("b22"));
        }
        assert!(
            known
                .by_certificate(&["DNS:press.example".into()])
                .is_some()
        );
    }

    #[test]
    fn a_caller_may_be_shut_out_by_taking_its_tokens() {
        let text = caller("rights = []\nproducts = [\"*\"]\ntokens = []");

        assert_eq!(parse(&text).unwrap().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_what_stands_there() {
        let rest = "rights = [\"read\"]\nproducts = [\"*\"]";
        for (line, lines, what) in [
            (5, "SECRET = 1", "no such key"),
            (5, "rights = [\"SECRET\"]", "the rights are"),
            (5, "rights = \"SECRET\"", "must be a list"),
            (5, "rights = [7]", "must be a text"),
            (
                6,
                "rights = []\nproducts = [\"SECRET?\"]",
                "a product pattern",
            ),
            (2, "rights = []", "needs name, tenant, rights and products"),
            (
                7,
                &format!("{rest}\ntokens = [\"SECRET\"]"),
                "kept as its hash",
            ),
            (
                7,
                &format!("{rest}\ntokens = [\"{HASH}\", \"{HASH}\"]"),
                "stands here twice",
            ),
            (
                7,
                &format!("{rest}\ncertificates = [\"SECRET\"]"),
                "known by a name",
            ),
            (
                7,
                &format!("{rest}\ncertificates = [\"CN:x\", \"CN:x\"]"),
                "stands here twice",
            ),
            (
                9,
                &format!("{rest}\n\n[[caller]]\nname = \"press\""),
                "another caller has this name",
            ),
            (
                6,
                "rights = []\nrights = [\"SECRET\"]",
                "a key stands twice",
            ),
            (5, "tokens = [\"SECRET", "is not TOML"),
        ] {
            let (at, told) = refused(&caller(lines));
            assert!(told.contains(what), "{lines}: {told}");
            assert!(!told.contains("SECRET"));
            assert_eq!(at, line, "{lines}");
        }
        assert_eq!(refused("").0, 1);
        assert!(refused("").1.contains("nobody could call"));
        assert!(refused("callers = []").1.contains("begin each caller"));
        assert!(refused("caller = 1").1.contains("begin each caller"));
        assert!(refused("caller = []").1.contains("nobody could call"));
        let bad = "[[caller]]\nname = \"a b\"\ntenant = \"x\"\nrights = []\nproducts = []";
        assert_eq!(refused(bad).0, 2);
        assert_eq!(refused(&bad.replace("a b", "a").replace('x', "x y")).0, 3);
    }
}
