//! XSLT of contrib/xml2: what stylesheets make, and that none of them reaches a file or the network.
#![cfg(feature = "ext-xml2")]

mod common;

use common::{refused, run};
use pglite_oxide::{Pglite, QueryOptions, RowMode, extensions};
use serde_json::{Value, json};

fn opened() -> Pglite {
    Pglite::builder()
        .extension(extensions::XML2)
        .open()
        .unwrap()
}

/// A stylesheet with `body`, all prefixes declared that the tests use.
fn stylesheet(body: &str) -> String {
    format!(
        "<xsl:stylesheet version=\"1.1\" xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\" xmlns:exsl=\"http://exslt.org/common\"
           xmlns:saxon=\"http://icl.com/saxon\" xmlns:xt=\"http://www.jclark.com/xt\" xmlns:redirect=\"org.apache.xalan.xslt.extensions.Redirect\"
           extension-element-prefixes=\"exsl saxon xt redirect\">{body}</xsl:stylesheet>"
    )
}

/// What `xslt_process` makes of a document; the error's text, if it refuses.
fn transform(db: &mut Pglite, document: &str, sheet: &str) -> Result<String, String> {
    let options = QueryOptions {
        row_mode: Some(RowMode::Array),
        ..Default::default()
    };
    let sql = "SELECT xslt_process($1, $2)";
    match db.query(sql, &[json!(document), json!(sheet)], Some(&options)) {
        Ok(result) => match &result.rows[0][0] {
            Value::String(text) => Ok(text.clone()),
            other => Ok(other.to_string()),
        },
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn stylesheets_make_xml_html_and_text() {
    let mut db = opened();
    let document = "<list><item n=\"2\">b&amp;</item><item n=\"10\">a</item></list>";
    let sorted = "<xsl:for-each select=\"list/item\"><xsl:sort select=\"@n\" data-type=\"number\" order=\"descending\"/><li><xsl:value-of select=\".\"/></li></xsl:for-each>";
    let xml = stylesheet(&format!(
        "<xsl:output omit-xml-declaration=\"yes\"/><xsl:template match=\"/\"><ul>{sorted}<br/></ul></xsl:template>"
    ));
    assert_eq!(
        transform(&mut db, document, &xml).unwrap().trim_end(),
        "<ul><li>a</li><li>b&amp;</li><br/></ul>"
    );
    // HTML has elements without an end tag, and scripts that are not escaped.
    let html = stylesheet(&format!(
        "<xsl:output method=\"html\" indent=\"no\"/><xsl:template match=\"/\"><html><head><script>1 &lt; 2</script></head><body>{sorted}<br/></body></html></xsl:template>"
    ));
    let made = transform(&mut db, document, &html).unwrap();
    assert!(made.contains("<script>1 < 2</script>"), "{made}");
    assert!(
        made.contains("<li>a</li><li>b&amp;</li><br></body>"),
        "{made}"
    );
    let text = stylesheet(
        "<xsl:output method=\"text\"/><xsl:key name=\"k\" match=\"item\" use=\"@n\"/><xsl:template match=\"/\"><xsl:value-of select=\"concat(key('k', '10'), format-number(1234.5, '#,##0.00'), generate-id() != '')\"/></xsl:template>",
    );
    assert_eq!(
        transform(&mut db, document, &text).unwrap(),
        "a1,234.50true"
    );
}

/// Whatever a stylesheet names, the file keeps its secret, and no file is made: neither of the host's nor of the guest's.
#[test]
fn no_stylesheet_reaches_a_file_or_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret.xml");
    std::fs::write(&secret, "<secret>hidden words</secret>").unwrap();
    // Granted, so that the server itself could read and write it.
    let mut db = Pglite::builder()
        .grant_directory(dir.path())
        .extension(extensions::XML2)
        .open()
        .unwrap();
    let dir = dir.path().to_str().unwrap();
    run(
        &mut db,
        &format!(
            "COPY (SELECT '<secret>hidden words</secret>') TO '/tmp/secret.xml'; COPY (SELECT '<x/>') TO '{dir}/proof'"
        ),
    );
    for place in [&format!("{dir}/secret.xml"), "/tmp/secret.xml"] {
        for scheme in ["", "file://", "file:"] {
            let url = format!("{scheme}{place}");
            let copy = format!("<xsl:copy-of select=\"document('{url}')\"/>");
            let root =
                |body: &str| format!("<xsl:template match=\"/\"><o>{body}</o></xsl:template>");
            for sheet in [
                stylesheet(&root(&copy)),
                stylesheet(&root(&format!(
                    "<xsl:value-of select=\"document('{url}', /)/secret\"/>"
                ))),
                stylesheet(&format!(
                    "<xsl:include href=\"{url}\"/>{}",
                    root("<xsl:apply-templates select=\"document('')\"/>")
                )),
                stylesheet(&format!("<xsl:import href=\"{url}\"/>{}", root("none"))),
                format!(
                    "<!DOCTYPE x [<!ENTITY e SYSTEM \"{url}\">]>{}",
                    stylesheet(&root("&e;"))
                ),
            ] {
                let made = transform(&mut db, "<a/>", &sheet);
                let (Ok(said) | Err(said)) = &made;
                assert!(!said.contains("hidden"), "{sheet}: {said}");
            }
            let document = format!("<!DOCTYPE a [<!ENTITY e SYSTEM \"{url}\">]><a>&e;</a>");
            let made = transform(
                &mut db,
                &document,
                &stylesheet(&root("<xsl:value-of select=\".\"/>")),
            );
            let (Ok(said) | Err(said)) = &made;
            assert!(!said.contains("hidden"), "{said}");
        }
    }
    // XSLT 1.1's, EXSLT's and others' ways to more than one result.
    for target in [
        &format!("{dir}/made.xml"),
        &format!("file://{dir}/made.xml"),
        "/tmp/made.xml",
        &format!("{dir}/new/made.xml"),
    ] {
        for (element, attribute) in [
            ("xsl:document", "href"),
            ("exsl:document", "href"),
            ("saxon:output", "href"),
            ("saxon:output", "file"),
            ("xt:document", "href"),
            ("redirect:write", "file"),
            ("redirect:write", "select"),
        ] {
            let sheet = stylesheet(&format!(
                "<xsl:template match=\"/\"><{element} {attribute}=\"{target}\"><x/></{element}></xsl:template>"
            ));
            let _ = transform(&mut db, "<a/>", &sheet);
        }
    }
    assert!(!std::path::Path::new(dir).join("made.xml").exists());
    assert!(!std::path::Path::new(dir).join("new").exists());
    assert_eq!(
        refused(&mut db, "SELECT pg_read_file('/tmp/made.xml')"),
        "58P01"
    );
    // The same process could have: nothing but the stylesheet's rights is in the way.
    assert!(std::path::Path::new(dir).join("proof").exists());
}

/// A stylesheet that calls itself forever is an error, and the session goes on.
#[test]
fn endless_stylesheets_end() {
    let mut db = opened();
    let sheet = stylesheet(
        "<xsl:template match=\"/\"><xsl:call-template name=\"t\"/></xsl:template><xsl:template name=\"t\"><xsl:call-template name=\"t\"/></xsl:template>",
    );
    let made = transform(&mut db, "<a/>", &sheet);
    assert!(made.is_err() || made == Ok("null".to_owned()), "{made:?}");
    run(&mut db, "SELECT 1");
    // One that is no XML, and one that is no stylesheet.
    for sheet in ["<xsl:stylesheet", "<a/>"] {
        let _ = transform(&mut db, "<a/>", sheet);
        run(&mut db, "SELECT 1");
    }
}
