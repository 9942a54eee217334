use super::*;

fn parse(text: &str) -> Vec<Node> {
    read(text.as_bytes(), 0, Budget::default()).unwrap()
}

fn refusal(text: &str) -> (u32, String) {
    let error = read(text.as_bytes(), 0, Budget::default()).map(drop).unwrap_err();
    (error.place.line, error.to_string())
}

fn again(text: &str) -> String {
    write(&parse(text)).text.to_string()
}

#[test]
fn a_scalar_comes_out_as_it_was_written() {
    let text = "a: 0600\nb: no\nc: 1e3\nd: 123456789012345678901234567890\ne: \"x\\u0041\"\nf: 'it''s'\ng:\nh: ~\ni: 1_000\nj: +5\nk: 0x1F\nl: \
                !!str 5\nm: 2001-12-14\nn: a b:c\n";
    assert_eq!(again(text), text);
}

#[test]
fn collections_keep_their_layout_and_get_one_indentation() {
    let text = "a: {b: 1, c: [x, \"y\", {}]}\nd:\n  - 1\n  - e: f\n    g: h\n  -\n    - i\n    - - j\n      - k\n  - []\nl: {}\n";
    let want = "a: {b: 1, c: [x, \"y\", {}]}\nd:\n    - 1\n    - e: f\n      g: h\n    - - i\n      - - j\n        - k\n    - []\nl: {}\n";
    assert_eq!(again(text), want);
}

#[test]
fn blocks_keep_their_text() {
    for text in [
        "a: |\n    one\n      two\n\n    three\n",
        "a: |-\n    one\n",
        "a: |+\n    one\n\n\nb: 1\n",
        "a: |4\n      two more\n    one\n",
        "a: >\n    folded\n    text\n\n    more\n",
        "a: >-\n    folded\n    text\n",
        "a:\n    - |\n        in a list\n        of lines\n    - b: |\n          deeper\n",
        "a: |4\n    \ttab\n",
    ] {
        assert_eq!(again(text), text);
    }
}

#[test]
fn what_is_written_reads_as_the_same() {
    for text in [
        "a: >\n  x\n   y\n  z\n\n  w\n",
        "a: |2\n    x\n   y\n",
        "a: \"one\n  two\n\n  three\\\n  four\"\nb: 'x\n\n  y'\nc: plain\n  goes on\n\n  and on\n",
        "? a\n: b\n",
        "{a: , b: [ , ]}\n".replace("[ , ]", "[~]").as_str(),
        "'a': {\"b\":1,'c':2}\n",
        "a: [\n  x,\n  y # why\n  ,z]\n# end\n",
        "a: |\n\n  late\n",
        "a: \"\\t\\x01\\u2028\"\nb: |\n  x\ty\n",
        "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n",
        "a: !!binary |\n  aGk=\nb: !!int \"5\"\n",
        "--- \na: 1\n---\n---\nb: 2\n...\n",
        "a:\n- x\n- y: 1\n  z: 2\n-\n  - q\n",
        "a: |+\n  x\n\n",
        "a: |\n  x",
        "a: >+\n  x\n\n\nb: c\n",
        "a: >2\n\n   indented first\n  x\n",
        "a: - b\n".replace("- b", "-b").as_str(),
        "\"a b\": 1\n? |\n  block key\n: 2\n",
        "a: {b: [{c: \"x\n  y\"}]}\n",
        "a: |\r\n  x\r\n  y\r\nb: >\r\n  x\r\n  y\r\n",
        "a: [!x ]\nb: {c: !y , d: [!z , e]}\n",
        "a: http://x:80/#y\nb: x#y\nc: 'a # b'\n",
    ] {
        let first = parse(text);
        let written = write(&first);
        let second = read(written.text.as_bytes(), 0, Budget::default())
            .unwrap_or_else(|error| panic!("{text:?} gave {:?}: {error}", *written.text));
        assert!(first == second, "{text:?} gave {:?}", *written.text);
        assert_eq!(written.lines.len(), written.text.lines().count(), "{text:?}");
        assert_eq!(write(&second).text, written.text, "{text:?}");
    }
}

#[test]
fn strings_of_the_program_are_read_as_what_they_are() {
    for text in [
        "",
        "yes",
        "0600",
        "1e3",
        "null",
        "~x",
        "a: b",
        "a #b",
        "- a",
        "x\ny",
        "\n",
        " x",
        "x ",
        "x\ty",
        "\u{85}",
        "*a",
        "2001-12-14",
        "a'b\"c\\",
        "x\n  y\n",
        "  x\ny",
        "{{ x }}",
        "::1",
        "tskey-auth-x",
        "/dev/sda",
        "x:",
        "\n\nx\n\n",
    ] {
        let place = Place::default();
        let node =
            Node::mapping(vec![("k", Node::string(text, place)), ("l", Node::sequence(vec![Node::string(text, place)], place))], place);
        let written = write(std::slice::from_ref(&node)).text;
        let back = parse(&written);
        assert_eq!(back[0].at(&["k"]).unwrap().as_scalar().unwrap().value(), text, "{:?}", *written);
        assert_eq!(back[0].at(&["k"]).unwrap().resolve(), Some(Resolved::String), "{:?}", *written);
        assert!(back[0] == node);
    }
}

#[test]
fn each_line_knows_where_it_is_from() {
    let mut documents = parse("a: 1\nb:\n  c: 2\n  d: |\n    x\n    y\n");
    documents.extend(read(b"e: 1\n", 1, Budget::default()).unwrap());
    let written = write(&documents);
    let lines: Vec<_> = written.lines.iter().map(|place| (place.source, place.line)).collect();
    assert_eq!(lines, [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (0, 0), (1, 1)]);
}

#[test]
fn a_key_twice_is_refused_with_both_lines() {
    let (line, message) = refusal("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n");
    assert_eq!(line, 5);
    assert_eq!(message, "the key `c` is there twice, first on line 3");
    let many: String = (0..100).map(|key| format!("k{key}: 1\n")).collect();
    assert_eq!(refusal(&format!("{many}k7: 2\n")), (101, "the key `k7` is there twice, first on line 8".to_owned()));
    assert!(refusal("a: {b: 1, 'b': 2}\n").1.contains("twice"));
    assert!(refusal("a:\n  : 1\n").1.contains("a key is empty"));
}

#[test]
fn a_tab_is_named() {
    assert_eq!(refusal("a:\n\tb: 1\n"), (2, "there is a tab where YAML takes only spaces".to_owned()));
    assert!(refusal("a:\n  b: 1\n  \tc: 1\n").1.contains("a tab"));
}

#[test]
fn bombs_are_refused_by_what_they_would_become() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ('b'..='i').zip('a'..='h') {
        bomb.push_str(&format!("{name}: &{name} [*{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}]\n"));
    }
    let (line, message) = refusal(&bomb);
    assert!(message.contains("more than 200000 values"), "{message}");
    assert!(line < 9, "{line}");
    assert!(refusal("a: &a [*a]\n").1.contains("inside of its own anchor"));
    assert!(refusal(&format!("a: {}{}\n", "[".repeat(100), "]".repeat(100))).1.contains("more than 64 deep"));
    assert!(refusal(&"[".repeat(100_000)).1.contains("deep"));
    assert!(refusal(&"- ".repeat(100_000)).1.contains("deep"));
}

#[test]
fn what_is_too_long_or_no_text_is_refused() {
    let long = vec![b'#'; (4 << 20) + 1];
    let error = read(&long, 3, Budget::default()).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "it has more than 4194304 octets, which are the most that is taken");
    assert_eq!(error.place.source, 3);
    let error = read(b"a: 1\nb: \xff\n", 0, Budget::default()).map(drop).unwrap_err();
    assert_eq!((error.place.line, error.to_string().as_str()), (2, "it is not UTF-8 text"));
}

#[test]
fn an_error_quotes_no_value() {
    for text in [
        "token: [t0ken",
        "token: \"t0ken",
        "a: b: t0ken",
        "a: *t0ken",
        "token: 't0ken' x",
        "? [t0ken]\n: 1\n",
        "%TAG !t0ken! x\n---\na: 1\n",
    ] {
        let (_, message) = refusal(text);
        assert!(!message.contains("t0ken"), "{message}");
    }
    assert_eq!(format!("{:?}", parse("a: t0ken")).matches("t0ken").count(), 0);
}
